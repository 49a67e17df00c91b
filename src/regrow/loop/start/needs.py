"""What a renewal must know of layers before training starts, and layers that it cannot renew: refused all at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from torch import nn

from regrow.errors import ConfigError
from regrow.graph import ExampleInputs, Wiring
from regrow.graph.homogeneous import obstacles
from regrow.renewal import Layer, Need, Renewal


def judged(
    renewal: Renewal,
    layers: Sequence[Layer],
    *,
    model: nn.Module,
    wiring: Wiring,
    inputs: Callable[[], ExampleInputs | None],
) -> list[Layer]:
    """The layers with what the renewal must know of their surroundings.

    Args:
        inputs: What the model can be tried on, or None; only called where it must be tried.

    Edge cases:
        A layer that the renewal refuses, or nothing to try the model on: a ConfigError.
    """
    found = list(layers)
    if Need.HOMOGENEOUS in renewal.needs:
        given = inputs()
        if given is None:
            raise ConfigError(
                f"renew={renewal!r} tries out what lies between layers: give example_inputs, or calibration_inputs "
                "beside the wiring (attach)"
            )
        standing = obstacles(model, [wiring[each.filters.path] for each in layers], given)
        found = [
            replace(each, obstacle=standing[each.filters.path] or _lacking(each, wiring))
            for each in layers
        ]
    refused: dict[str, str] = {}
    for each in found:
        try:
            renewal.check(each)
        except ConfigError as error:
            refused[each.filters.path] = str(error)
    if refused:
        first, paths = next(iter(refused.values())), list(refused)
        more = f", and {len(paths) - 1} more layers are refused" if len(paths) > 1 else ""
        raise ConfigError(f"{first}{more}: give attach(exclude={paths!r}) to leave them alone")
    return found


def _lacking(layer: Layer, wiring: Wiring) -> str:
    """What of a layer may not be written, since somebody else uses it too."""
    whole, own = wiring[layer.filters.path], layer.filters
    written = {each.weight for each in own.readers}
    kept = [each.path for each in whole.readers if each.weight not in written]
    if whole.bias != own.bias:
        return "a bias that is used elsewhere too"
    return f"a reader that must be kept, {', '.join(kept)}" if kept else ""
