"""A wiring that was made elsewhere, or by hand: refused where it does not fit the model, before training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from regrow._plural import count
from regrow.errors import ConfigError
from regrow.graph import Filters, Norm, Reader, Wiring


def refuse_foreign(wiring: Wiring, tensors: Mapping[str, Tensor]) -> None:
    """Compare every name, shape, count and channel: a wrong one would be found out in mid-training, or not at all."""
    for layer in wiring.layers:
        _refuse_missing(layer, tensors, layer.weight, layer.bias)
        shape = tuple(tensors[layer.weight].shape)
        if shape != layer.weight_shape:
            raise _foreign(
                f"its {layer.weight} has shape {layer.weight_shape}, the model's {shape}"
            )
        own = shape[1] * layer.groups if layer.inputs_first else shape[0]
        if layer.count != own:
            raise _foreign(
                f"'{layer.path}' has {layer.count} filters in it, and {own} in the model"
            )
        for norm in (*layer.norms, *layer.shared_norms):
            _check_norm(norm, layer, tensors)
        for reader in layer.readers:
            _check_reader(reader, layer, tensors)


def _check_norm(norm: Norm, layer: Filters, tensors: Mapping[str, Tensor]) -> None:
    for each in norm.tensors:
        _refuse_missing(layer, tensors, each.name, each.fresh)
        size = tensors[each.name].shape[0]
        _check_channels(norm.channels, layer, size=size, what=f"norm '{norm.path}'")


def _check_reader(reader: Reader, layer: Filters, tensors: Mapping[str, Tensor]) -> None:
    _refuse_missing(layer, tensors, reader.weight)
    shape = tuple(tensors[reader.weight].shape)
    outputs, inputs = shape[0], shape[1] * reader.groups
    if reader.inputs_first:
        outputs, inputs = inputs, outputs
    what = f"reader '{reader.path}'"
    if reader.groups < 1 or outputs % reader.groups:
        raise _foreign(
            f"{what} of '{layer.path}' cannot have {reader.groups} groups with shape {shape}"
        )
    _check_channels(reader.channels, layer, size=inputs, what=what)
    if [len(flags) for flags in reader.alone] != [len(each) for each in reader.channels]:
        raise _foreign(f"{what} of '{layer.path}' needs one flag in alone for each of its channels")


def _check_channels(
    channels: Sequence[Sequence[int]], layer: Filters, *, size: int, what: str
) -> None:
    if len(channels) != layer.count:
        raise _foreign(
            f"{what} of '{layer.path}' lists {count(len(channels), 'filter')}, the layer has "
            f"{layer.count}"
        )
    wrong = [channel for each in channels for channel in each if not 0 <= channel < size]
    if wrong:
        raise _foreign(f"{what} of '{layer.path}' has channels 0 to {size - 1}, not {wrong[0]}")


def _refuse_missing(
    layer: Filters, tensors: Mapping[str, Tensor], *names: str | float | None
) -> None:
    """Refuse names that are not in the model; what is no name is not looked for."""
    for name in names:
        if isinstance(name, str) and name not in tensors:
            raise _foreign(f"'{layer.path}' needs {name}, which is not in the model")


def _foreign(what: str) -> ConfigError:
    return ConfigError(f"the wiring must be this model's: {what} (attach: wiring)")
