"""A wiring that was made elsewhere, or by hand: refused where it does not fit the model, before training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from regrow.errors import ConfigError
from regrow.graph import Filters, Norm, Reader, Wiring


def refuse_foreign(wiring: Wiring, tensors: Mapping[str, Tensor]) -> None:
    """Compare every name, shape, count and channel of a wiring with a model.

    A wrong one would be found out in the middle of the training, or not at all.
    """
    for layer in wiring.layers:
        for name in (layer.weight, layer.bias):
            _refuse_missing(name, tensors, layer)
        shape = tuple(tensors[layer.weight].shape)
        if shape != layer.weight_shape:
            raise ConfigError(
                _told(f"its {layer.weight} has shape {layer.weight_shape}, the model's {shape}")
            )
        own = shape[1] * layer.groups if layer.inputs_first else shape[0]
        if layer.count != own:
            raise ConfigError(
                _told(f"'{layer.path}' has {layer.count} filters in it, and {own} in the model")
            )
        for norm in (*layer.norms, *layer.shared_norms):
            _check_norm(norm, layer, tensors)
        for reader in layer.readers:
            _check_reader(reader, layer, tensors)


def _check_norm(norm: Norm, layer: Filters, tensors: Mapping[str, Tensor]) -> None:
    for each in norm.tensors:
        _refuse_missing(each.name, tensors, layer)
        if isinstance(each.fresh, str):
            _refuse_missing(each.fresh, tensors, layer)
        _check_channels(
            norm.channels, layer, size=tensors[each.name].shape[0], what=f"norm '{norm.path}'"
        )


def _check_reader(reader: Reader, layer: Filters, tensors: Mapping[str, Tensor]) -> None:
    _refuse_missing(reader.weight, tensors, layer)
    shape = tuple(tensors[reader.weight].shape)
    outputs = shape[0] if not reader.inputs_first else shape[1] * reader.groups
    if reader.groups < 1 or outputs % reader.groups:
        raise ConfigError(
            _told(
                f"reader '{reader.path}' of '{layer.path}' cannot have {reader.groups} groups with shape {shape}"
            )
        )
    size = shape[0] if reader.inputs_first else shape[1] * reader.groups
    _check_channels(reader.channels, layer, size=size, what=f"reader '{reader.path}'")
    if [len(flags) for flags in reader.alone] != [len(each) for each in reader.channels]:
        raise ConfigError(
            _told(
                f"reader '{reader.path}' of '{layer.path}' needs one flag in alone for each of its channels"
            )
        )


def _check_channels(
    channels: Sequence[Sequence[int]], layer: Filters, *, size: int, what: str
) -> None:
    if len(channels) != layer.count:
        raise ConfigError(
            _told(
                f"{what} of '{layer.path}' lists {len(channels)} filters, the layer has {layer.count}"
            )
        )
    wrong = [channel for each in channels for channel in each if not 0 <= channel < size]
    if wrong:
        raise ConfigError(
            _told(f"{what} of '{layer.path}' has channels 0 to {size - 1}, not {wrong[0]}")
        )


def _refuse_missing(name: str | None, tensors: Mapping[str, Tensor], layer: Filters) -> None:
    if name is not None and name not in tensors:
        raise ConfigError(_told(f"'{layer.path}' needs {name}, which is not in the model"))


def _told(what: str) -> str:
    return f"the wiring must be this model's: {what} (attach: wiring)"
