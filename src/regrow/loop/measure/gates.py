"""What the network hears of filters, and how its loss depends on it: sums over the examples.

Called by `loop/measure/probe` while the model runs on examples; the sums become scores in `criteria`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor

from regrow.criteria.fisher_diagonal import fisher_diagonal
from regrow.criteria.mean_activation import mean_activation
from regrow.criteria.taylor import taylor
from regrow.criteria.zero_share import zero_share
from regrow.errors import ConfigError
from regrow.loop.measure.examples import Examples
from regrow.loop.measure.places import Place, Tap, index_of, tapping

_AT_ONCE = 256
"""Examples that are run at once, at most."""


def activation_sums(
    places: Mapping[str, Sequence[Place]], counts: Mapping[str, int], examples: Examples
) -> dict[str, Tensor]:
    """Sums of absolute values, numbers of zeros, and numbers of all, of what passes at the filters' places."""
    sums = no_sums(places, counts, 3)

    def add(x: Tensor, taps: Sequence[Tap]) -> Tensor:
        _add_means(sums, taps, x, (mean_activation, zero_share))
        return x

    with tapping(places, add):
        for start, stop in examples.parts(_AT_ONCE):
            examples.run(start, stop)
    return sums


def slope_sums(
    places: Mapping[str, Sequence[Place]],
    counts: Mapping[str, int],
    examples: Examples,
    *,
    towards_mean: bool = False,
) -> dict[str, Tensor]:
    """Sums over the examples of what `taylor` and `fisher_diagonal` are means of, and the number of examples.

    `towards_mean`: a gate of 0 leaves a filter's mean over the examples that are run at once.
    """
    # Every example has a gate of 1 for each filter of each layer, so that one backward pass gives all derivatives: no
    # example may hear another.
    sums = no_sums(places, counts, 3)
    for start, stop in examples.parts(_AT_ONCE):
        with torch.enable_grad():
            gates = {
                path: torch.ones(stop - start, counts[path], dtype=torch.float64, device="cpu")
                for path in places
            }
            for gate in gates.values():
                gate.requires_grad_()
            with tapping(places, _multiplier(gates, towards_mean=towards_mean)):
                total = _total(examples, start, stop)
                # Inside the hooks: a part that is checkpointed runs once more.
                slopes = _gradients(total, list(gates.values()))
        for (path, gate), slope in zip(gates.items(), slopes, strict=True):
            each = torch.zeros_like(gate) if slope is None else slope.detach()
            means = torch.stack((taylor(each), fisher_diagonal(each)))
            sums[path] += torch.cat((means, torch.ones_like(means[:1]))) * (stop - start)
    return sums


def gradient_sums(
    places: Mapping[str, Sequence[Place]], counts: Mapping[str, int], examples: Examples
) -> dict[str, Tensor]:
    """Sums of the sizes of each example's derivative by what passes at the filters' places, and numbers of all."""
    sums = no_sums(places, counts, 2)
    for start, stop in examples.parts(_AT_ONCE):
        met: list[tuple[Tensor, Sequence[Tap]]] = []

        def meet(
            x: Tensor, taps: Sequence[Tap], *, met: list[tuple[Tensor, Sequence[Tap]]] = met
        ) -> Tensor:
            held = x if x.requires_grad else x.detach().requires_grad_()
            met.append((held, taps))
            return held.clone()  # what comes behind it may write into it in place

        with torch.enable_grad(), tapping(places, meet):
            total = _total(examples, start, stop)
            seen = list(met)  # a part that is checkpointed runs once more in the backward pass
            tensors = {id(x): x for x, _ in seen}
            found = dict(zip(tensors, _gradients(total, list(tensors.values())), strict=True))
        for x, taps in seen:
            grad = found[id(x)]
            slopes = torch.zeros_like(x) if grad is None else grad
            _add_means(sums, taps, slopes, (mean_activation,))
    return sums


def no_sums(paths: Iterable[str], counts: Mapping[str, int], rows: int) -> dict[str, Tensor]:
    """Zeros to add to, by layer: some rows of one number a filter."""
    return {
        path: torch.zeros(rows, counts[path], dtype=torch.float64, device="cpu") for path in paths
    }


def _add_means(
    sums: Mapping[str, Tensor],
    taps: Sequence[Tap],
    x: Tensor,
    means: Sequence[Callable[[Tensor], Tensor]],
) -> None:
    """Add what these are means of, channel by channel, and behind it how many values that were."""
    for path, place in taps:
        channels = x.detach().movedim(place.axis, 0).flatten(1)
        each = torch.stack([mean(channels) for mean in means]).cpu().double()
        each = each[:, index_of(place.channels, each.device)]
        passed = channels.shape[1]
        both = torch.cat((each * passed, torch.full_like(each[:1], passed)))
        sums[path].index_add_(1, index_of(place.filters, each.device), both)


def _total(examples: Examples, start: int, stop: int) -> Tensor:
    """The sum of the losses of some examples, with its gradients."""
    loss = examples.loss(examples.run(start, stop), start, stop)
    if not loss.requires_grad:
        raise ConfigError(
            "calibration_loss must depend on the model's output through torch's operations: it has no gradient (attach)"
        )
    return loss * (stop - start)


def _multiplier(
    gates: Mapping[str, Tensor], *, towards_mean: bool
) -> Callable[[Tensor, Sequence[Tap]], Tensor]:
    def multiply(x: Tensor, taps: Sequence[Tap]) -> Tensor:
        axis = taps[0][1].axis % x.ndim
        rows = len(next(iter(gates.values())))
        check_rows(x, (rows,))
        whole = torch.ones(rows, x.shape[axis], dtype=x.dtype, device=x.device)
        for path, place in taps:
            gate = gates[path][:, index_of(place.filters, torch.device("cpu"))].to(x)
            channels = index_of(place.channels, x.device)
            whole = whole.index_copy(1, channels, gate)
        shape = [1] * x.ndim
        shape[0], shape[axis] = whole.shape
        if not towards_mean:
            return x * whole.reshape(shape)
        mean = x.detach().mean([each for each in range(x.ndim) if each != axis], keepdim=True)
        return mean + (x - mean) * whole.reshape(shape)

    return multiply


def weight_gradients(weights: Mapping[str, Tensor], examples: Examples) -> dict[str, Tensor]:
    """The gradient of the mean calibration loss, in evaluation mode; what the parameters hold in ``.grad`` stays."""
    trained = {path: weight for path, weight in weights.items() if weight.requires_grad}
    sums: dict[str, Tensor] = {}
    for start, stop in examples.parts(_AT_ONCE):
        with torch.enable_grad():
            loss = examples.loss(examples.run(start, stop), start, stop)
            share = loss * ((stop - start) / examples.count)
            found = _gradients(share, list(trained.values()))
        for path, grad in zip(trained, found, strict=True):
            if grad is not None:
                sums[path] = sums[path] + grad if path in sums else grad
    return sums


def _gradients(total: Tensor, by: Sequence[Tensor]) -> Sequence[Tensor | None]:
    """None for what the total does not depend on; nothing is added to any ``.grad``."""
    return torch.autograd.grad(total, by, allow_unused=True)


def check_rows(x: Tensor, rows: tuple[int, ...]) -> None:
    """Refuse what has not the examples at axis 0."""
    if x.shape[0] not in rows:
        raise ConfigError(
            f"every layer must keep the examples at axis 0: one has {x.shape[0]} for {rows[-1]} (calibration_inputs)"
        )
