"""An optimizer of another package is tried out before it is trusted: on a few numbers, when it is attached.

Called by `surgery/edits` when a surgeon is made; a version that steps otherwise than its family says is refused.
"""

from __future__ import annotations

import copy
import re
import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from importlib import metadata
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from regrow.errors import OptimizerError, RegrowWarning
from regrow.surgery.correction import Correction
from regrow.surgery.optimizers import (
    FAMILIES,
    LEAVE,
    TESTED,
    ZERO,
    Family,
    Zeroed,
    bare_method,
    family_of,
    known_kind,
)
from regrow.surgery.young import begin_

_SHAPES: Final = ((3, 2, 1, 1), (3,))
_STEPS: Final = 12
_NO_GRADIENT: Final = 4
"""Of the first of the two parameters."""
_LR: Final = 0.01
"""Instead of the group's, which is 0 at the beginning of a warm-up."""
_TOLERANCE: Final = 1e-4
"""Of the way that the entries have gone: counts that some versions keep in float32 are within it."""


def tried_family(optimizer: Optimizer, *, reset_state: str = "exact") -> Family:
    """How to treat the state of an optimizer; of other packages' classes only what has been seen to be right.

    Such a class is known by its name, and its next version may compute something else under the same name. So its own
    step is run on a few numbers, with this optimizer's options: entries that are renewed between two steps must go on
    as in a parameter of their own. It costs some milliseconds, and nothing of the optimizer is touched.
    """
    family = family_of(optimizer, reset_state=reset_state)
    kind = known_kind(optimizer)
    if kind is None or kind in FAMILIES or isinstance(family, Zeroed):
        return family
    package = kind.__module__.partition(".")[0]
    distribution, first, last = TESTED[package]
    version = _version(distribution)
    called = f"{type(optimizer).__name__} of {distribution} {version or 'of an unknown version'}"
    tested = f"{first} to {last}" if first != last else first
    try:
        distance = max(_distance(optimizer, family, *kind) for kind in _kinds_of_groups(optimizer))
        found = f"differs by {distance:.1g} of what a renewed filter moves"
    except Exception as error:
        distance, found = float("inf"), f"could not be tried out ({type(error).__name__}: {error})"
    if not distance < _TOLERANCE:
        if reset_state == "zero":
            return Zeroed()
        raise OptimizerError(
            f"{called} does not step as the versions that are known do ({tested}): it {found}. {ZERO}; {LEAVE}"
        )
    # Whose steps are the known ones, while no test has seen the version.
    if version is None or not _numbers(first) <= _numbers(version) <= _numbers(last):
        warnings.warn(
            f"{called} is not among the versions that regrow is tested with ({tested}); {_STEPS} steps of it on a few "
            f"numbers were right, so that its state of renewed filters is taken to be exact",
            RegrowWarning,
            stacklevel=2,
        )
    return family


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(each) for each in re.findall(r"\d+", version)[:3])


def _kinds_of_groups(optimizer: Optimizer) -> Iterator[tuple[dict[str, Any], torch.device]]:
    """Different options of groups, each once, and where they step; without what the optimizer has counted in them."""
    seen = set[str]()
    for group in optimizer.param_groups:
        options = {key: group.get(key, value) for key, value in optimizer.defaults.items()}
        told = repr(sorted((key, repr(value)) for key, value in options.items() if key != "lr"))
        if told not in seen:
            seen.add(told)
            first = next(iter(group["params"]), torch.zeros((), device="cpu"))
            there = first.device if options.get("capturable", False) else torch.device("cpu")
            lr = options["lr"]
            options["lr"] = torch.full_like(lr, _LR) if isinstance(lr, Tensor) else _LR
            moved = {
                key: value.to(there) if isinstance(value, Tensor) else value
                for key, value in options.items()
            }
            yield moved, there


def _distance(
    optimizer: Optimizer, family: Family, options: Mapping[str, Any], there: torch.device
) -> float:
    """How far renewed entries are from those of parameters of their own, relative to the way that they go."""
    fresh = partial(_alone, optimizer, options)
    live, live_optimizer = fresh([_numbers_like(shape, 0, there) for shape in _SHAPES])
    correction = Correction(live_optimizer, family)
    parts = [fresh(live)]
    owners = [torch.zeros(shape, dtype=torch.int64, device=there) for shape in _SHAPES]
    way = furthest = 0.0
    with torch.no_grad():
        for step in range(_STEPS):
            whole = _joined([each for each, _ in parts], owners)
            grads = [0.5 * w + _numbers_like(tuple(w.shape), 100 + step, there) for w in whole]
            for parameters, own in [*parts, (live, live_optimizer)]:
                for parameter, grad in zip(parameters, grads, strict=True):
                    skips = step == _NO_GRADIENT and parameter is parameters[0]
                    parameter.grad = None if skips else grad.clone()
                if own is live_optimizer:
                    correction.before_step()
                bare_method(type(own), "step")(own)
            correction.after_step()
            after = _joined([each for each, _ in parts], owners)
            for mine, other, before, owner in zip(live, after, whole, owners, strict=True):
                gap = torch.where(owner > 0, mine - other, 0.0).abs().max()
                moved = torch.where(owner > 0, other - before, 0.0).abs().max()
                furthest, way = max(furthest, float(gap)), max(way, float(moved))
                if not bool(mine.isfinite().all()):
                    return float("inf")
            axis = {3: 0, 6: 1, 7: 0}.get(step)
            if axis is not None:
                fresh_values = [_numbers_like(shape, 200 + step, there) for shape in _SHAPES]
                for k, (parameter, owner) in enumerate(zip(live, owners, strict=True)):
                    mask = _last_of(parameter, axis)
                    parameter.copy_(torch.where(mask, fresh_values[k], parameter))
                    owner.copy_(torch.where(mask, len(parts), owner))
                    group = live_optimizer.param_groups[0]
                    begin_(
                        correction.young,
                        parameter,
                        mask,
                        optimizer=live_optimizer,
                        family=family,
                        group=group,
                        name=str(k),
                    )
                parts.append(fresh(fresh_values))
    return furthest / way if way > 0.0 else float("inf")


def _alone(
    optimizer: Optimizer, options: Mapping[str, Any], values: Sequence[Tensor]
) -> tuple[list[nn.Parameter], Optimizer]:
    """Parameters of their own, and on them an optimizer of the same class and attributes with nothing behind it."""
    parameters = [nn.Parameter(value.clone()) for value in values]
    own = {key: copy.deepcopy(value) for key, value in options.items()}
    twin = object.__new__(type(optimizer))
    # A scheduler puts a step of its own in the place of the class's: that one would step the real optimizer.
    twin.__dict__.update({key: each for key, each in vars(optimizer).items() if key != "step"})
    twin.__dict__.update(
        defaults=own,
        state=defaultdict(dict),
        param_groups=[{**own, "params": parameters}],
        _optimizer_step_pre_hooks=OrderedDict(),
        _optimizer_step_post_hooks=OrderedDict(),
    )
    return parameters, twin


def _numbers_like(shape: Sequence[int], seed: int, there: torch.device) -> Tensor:
    """Numbers that need no generator of random numbers: the training's must not be touched."""
    kind = torch.float32 if there.type == "mps" else torch.float64
    count = torch.arange(1, torch.Size(shape).numel() + 1, dtype=kind, device=there)
    return torch.sin(count * (seed + 1.7) * 1.3).reshape(tuple(shape))


def _last_of(tensor: Tensor, axis: int) -> Tensor:
    """True at the last place along an axis, or along the only one."""
    axis = min(axis, tensor.dim() - 1)
    size = tensor.shape[axis]
    last = torch.arange(size, device=tensor.device) == size - 1
    return last.reshape([size if each == axis else 1 for each in range(tensor.dim())])


def _joined(parts: Sequence[Sequence[nn.Parameter]], owners: Sequence[Tensor]) -> list[Tensor]:
    """Of each entry the value in the part that it belongs to."""
    return [
        torch.stack([part[k].detach() for part in parts]).gather(0, owner[None])[0]
        for k, owner in enumerate(owners)
    ]
