"""The judge of a wiring: it runs the network and looks, and knows nothing of how the wiring was found."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from regrow.graph import Filters, Wiring
from regrow.graph.slices import bias_mask, reader_mask, weight_mask

_Seen = dict[str, list[Tensor]]

_DRAWS = 8
"""A ReLU or a maximum may hide one draw of a filter's weights; hardly eight."""


def check_wiring(
    net: nn.Module,
    x: Tensor,
    wiring: Wiring,
    *,
    per_layer: int = 3,
    exact: bool = True,
    draws: int = _DRAWS,
) -> int:
    """Judge every layer that was followed, by some of its filters.

    Args:
        net: In evaluation mode and float64.
        x: Its input.
        wiring: What is judged.
        per_layer: How many filters of each layer.
        exact: False where more channels may be named than depend on a filter.
        draws: As `check_filter` takes it.

    Returns:
        The number of filters that were judged.
    """
    judged = 0
    for layer in wiring.layers:
        if layer.is_head or layer.refused:
            continue
        for unit in range(min(per_layer, layer.count)):
            check_filter(net, x, layer, unit, exact=exact, draws=draws)
            check_alone(net, x, layer, unit)
            judged += 1
    return judged


def check_filter(
    net: nn.Module,
    x: Tensor,
    layer: Filters,
    unit: int,
    *,
    exact: bool = True,
    draws: int = _DRAWS,
) -> None:
    """With every weight that reads it set to zero, a filter is drawn anew several times.

    Then (1) the output and the inputs of all layers that do not read it are bit-equal: no reader was missed; (2) on the
    inputs of its readers exactly the named channels change: none was named too much or too little.

    Args:
        net: In evaluation mode and float64.
        x: Its input.
        layer: What is judged.
        unit: Which filter.
        exact: False where more channels may be named than change.
        draws: How often it is drawn anew: fewer are enough where nothing hides one.
    """
    readers = {reader.path: reader for reader in layer.readers}
    changed: dict[str, set[int]] = {path: set() for path in readers}
    first: tuple[Tensor, _Seen] | None = None
    altered = copy.deepcopy(net)
    for seed in range(draws):
        redraw(altered, layer, unit, seed=seed)
        silence_readers(altered, layer, unit)
        with capturing(altered) as seen:
            output = altered(x)
        if first is None:
            first = output, seen
        assert torch.equal(output, first[0]), (
            f"{layer.path}[{unit}] reaches the output past its readers {list(readers)}"
        )
        for path, inputs in seen.items():
            for now, then in zip(inputs, first[1][path], strict=True):
                if path in readers:
                    axis = now.ndim - 1 if readers[path].kind == "linear" else 1
                    over = [other for other in range(now.ndim) if other != axis]
                    changed[path].update((now != then).sum(over).nonzero().flatten().tolist())
                else:
                    assert torch.equal(now, then), (
                        f"{path} reads {layer.path}[{unit}] and is not among {list(readers)}"
                    )
    assert first is not None
    for path, reader in readers.items():
        if path in first[1]:  # it was called as a module
            named = set(reader.channels[unit])
            right = changed[path] == named if exact else changed[path] <= named
            assert right, (
                f"{layer.path}[{unit}] -> {path}: {changed[path]} change, {named} are named"
            )


def check_alone(net: nn.Module, x: Tensor, layer: Filters, unit: int) -> None:
    """What is said to depend on this filter alone is constant while the filter gives nothing.

    The filter's weights are zero. Then its readers' channels that are `Reader.alone`, and its norms' entries, receive
    the same with other inputs, other filters and other tables of numbers (embeddings) everywhere else. Vectors, such as
    biases and scales, are a channel's own and stay as they are.

    Args:
        net: In evaluation mode and float64.
        x: Its input.
        layer: What is judged.
        unit: Which filter.
    """
    if "statistics" in layer.mixed:
        return  # the channels of a group move each other a little
    own = [
        (
            reader.path,
            {c for c, flag in zip(reader.channels[unit], reader.alone[unit], strict=True) if flag},
        )
        for reader in layer.readers
    ] + [(norm.path, set(norm.channels[unit])) for norm in layer.norms]
    runs: list[_Seen] = []
    for seed in (1, 2):
        altered = copy.deepcopy(net)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for tensor in altered.parameters():
                if sum(size > 1 for size in tensor.shape) > 1:
                    drawn = torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype)
                    tensor.copy_(tensor + drawn)
        redraw(altered, layer, unit, seed=seed, scale=0.0)
        other = torch.randn(x.shape, generator=generator, dtype=x.dtype)
        with capturing(altered, norms=True) as seen:
            altered(other)
        runs.append(seen)
    kinds = {reader.path: reader.kind for reader in layer.readers} | {
        norm.path: norm.kind for norm in layer.norms
    }
    for path, channels in own:
        for first, second in zip(*(run.get(path, []) for run in runs), strict=True):
            axis = first.ndim - 1 if kinds[path] in {"linear", "layer_norm"} else 1
            over = [each for each in range(first.ndim) if each != axis]
            moved = set((first != second).sum(over).nonzero().flatten().tolist())
            assert not moved & channels, (
                f"{layer.path}[{unit}] -> {path}: {moved & channels} do not depend on it alone"
            )


def redraw(net: nn.Module, layer: Filters, unit: int, *, seed: int, scale: float = 3.0) -> None:
    """Draw one filter's weights and bias anew, large."""
    generator = torch.Generator().manual_seed(100 * seed + unit)
    mask = torch.arange(layer.count) == unit
    named = dict(net.named_parameters())
    targets = [(layer.weight, weight_mask(layer, mask))]
    if layer.bias is not None:
        targets.append((layer.bias, bias_mask(layer, mask)))
    with torch.no_grad():
        for name, where in targets:
            drawn = (
                torch.randn(named[name].shape, generator=generator, dtype=named[name].dtype) * scale
            )
            named[name].copy_(torch.where(where, drawn, named[name]))


def silence_readers(net: nn.Module, layer: Filters, unit: int) -> None:
    """Set every weight that reads one filter to zero."""
    named = dict(net.named_parameters())
    mask = torch.arange(layer.count) == unit
    with torch.no_grad():
        for reader in layer.readers:
            weight = named[reader.weight]
            where = reader_mask(reader, mask, tuple(weight.shape), only_alone=False)
            weight.copy_(torch.where(where, 0.0, weight))


@contextmanager
def capturing(net: nn.Module, *, norms: bool = False) -> Iterator[_Seen]:
    """What every convolution and linear layer receives (and every norm), by path, call by call."""
    kinds: tuple[type[nn.Module], ...] = (nn.modules.conv._ConvNd, nn.Linear)
    if norms:
        kinds += (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)
    seen: _Seen = {}

    def keep(path: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda _, inputs: seen.setdefault(path, []).append(inputs[0].detach().clone())

    handles = [
        module.register_forward_pre_hook(keep(path))
        for path, module in net.named_modules()
        if isinstance(module, kinds)
    ]
    try:
        with torch.no_grad():
            yield seen
    finally:
        for handle in handles:
            handle.remove()
