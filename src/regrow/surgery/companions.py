"""Averaged copies of a model (EMA, SWA, a teacher) are renewed with it: else they average two unrelated filters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from regrow.errors import ConfigError
from regrow.graph import Filters
from regrow.renewal import Edit
from regrow.surgery.correspondence import by_name, by_order


class Companion:
    """A copy of the model, and where its tensors are.

    A module: the copy, also inside wrappers (`AveragedModel`, timm's `ModelEmaV3`), or a copy of a part of the model.
    Or an average that is no module and holds ``shadow_params``, tensors in the order of the model's parameters
    (diffusers' `EMAModel`, torch_ema's `ExponentialMovingAverage`).
    """

    def __init__(
        self, companion: object, tensors: Mapping[str, Tensor], watched: Sequence[Filters]
    ) -> None:
        self._holder = companion
        kind = type(companion).__name__
        self._names: dict[str, str] | None = None
        self._order: list[str] = []
        # What becomes of renewed entries in an average that gives each step a weight by its count of steps: the
        # count belongs to all entries, and who was renewed is as old as the others to it. "" elsewhere.
        self.note = ""
        if isinstance(companion, nn.Module):
            wanted = list(dict.fromkeys(layer.weight for layer in watched))
            self._names = by_name(_named(companion), tensors, wanted, kind=kind)
            self.note = next((told for each in companion.modules() if (told := _counted(each))), "")
        else:
            self._order = by_order(_shadows(companion), tensors, kind=kind)
        for name, tensor in self.tensors().items():
            if tensor.is_inference():
                raise ConfigError(
                    f"a companion must be writable, and in {kind} {name} was made in inference mode: make the copy "
                    f"outside of it (attach: companions)"
                )

    def tensors(self) -> dict[str, Tensor]:
        """Its tensors by the model's names, as they are now: moving replaces buffers, and all of an average."""
        if self._names is None or not isinstance(self._holder, nn.Module):
            return dict(zip(self._order, _shadows(self._holder), strict=True))
        own = _named(self._holder)
        return {name: own[other] for name, other in self._names.items() if other in own}


def is_companion(given: object) -> bool:
    """Whether something is of a kind that can be a companion."""
    if isinstance(given, nn.Module):
        return True
    shadows = getattr(given, "shadow_params", None)
    return isinstance(shadows, (list, tuple)) and all(isinstance(each, Tensor) for each in shadows)


def _named(module: nn.Module) -> dict[str, Tensor]:
    return {
        **dict(module.named_parameters(remove_duplicate=False)),
        **dict(module.named_buffers(remove_duplicate=False)),
    }


def _shadows(average: Any) -> list[Tensor]:
    return list(average.shadow_params)


def _counted(wrapper: nn.Module) -> str:
    """What is to be said of an average by a count of its own; "" where there is none, as in a moving average."""
    kind = type(wrapper).__name__
    if getattr(wrapper, "use_warmup", False):
        return (
            f"{kind} (companions) averages by a count of all its updates: what is renewed late forgets its first "
            f"values as slowly as all others, and not as at its beginning; without use_warmup there is no such count"
        )
    if not isinstance(wrapper, AveragedModel) or _is_moving(wrapper):
        return ""
    return (
        f"{kind} (companions) averages by a count of all its updates: what is renewed keeps its first values there, "
        f"with the weight of all updates before; take a moving average (avg_fn=get_ema_avg_fn(), or "
        f"multi_avg_fn=get_ema_multi_avg_fn()), or begin to average when the recipe has ended"
    )


def _is_moving(average: AveragedModel) -> bool:
    """Whether an update has the same weight early and late."""
    weights: list[float] = []
    for count in (1, 99):
        mean, new = torch.tensor([[0.0], [1.0]], dtype=torch.float64, device="cpu")
        steps = torch.tensor(count, device="cpu")
        try:
            with torch.no_grad():
                if average.multi_avg_fn is not None:
                    average.multi_avg_fn((mean,), (new,), steps)
                elif average.avg_fn is not None:
                    mean = torch.as_tensor(average.avg_fn(mean, new, steps), device="cpu")
                else:
                    return False
        except Exception:  # a function of the user's, of which nothing is known then
            return False
        weights.append(float(mean))
    return weights[0] == weights[1]


def copy_over_(
    companion: Mapping[str, Tensor], model: Mapping[str, Tensor], edits: Iterable[Edit]
) -> None:
    """Write what was renewed in the model into a copy of it; living entries of the copy stay its own."""
    with torch.no_grad():
        for edit in edits:
            copy = companion.get(edit.name)
            if copy is None or not edit.fresh:
                continue  # an average of parameters has no running statistics, say
            mask = edit.mask.to(copy.device)
            copy.copy_(torch.where(mask, model[edit.name].to(copy.device, copy.dtype), copy))
