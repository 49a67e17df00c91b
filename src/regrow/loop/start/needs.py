"""What a renewal must know of layers before training starts, and layers that it cannot renew: refused all at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from torch import nn

from regrow._plural import plural
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
    """The layers with what the renewal must know around them; `inputs` is only asked where the model must be tried."""
    found = {each.filters.path: each for each in layers}
    refused: dict[str, str] = {}
    if Need.HOMOGENEOUS in renewal.needs:
        given = inputs()
        if given is None:
            raise ConfigError(
                f"renew={renewal!r} tries out what lies between layers: give example_inputs, or calibration_inputs "
                "beside the wiring (attach)"
            )
        found = {
            path: replace(each, obstacle=_lacking(each, wiring)) for path, each in found.items()
        }
        refused = _refused(renewal, found.values())
        # Only those that are fit otherwise: the model runs several times for each.
        fit = [wiring[path] for path in found if path not in refused]
        for path, obstacle in obstacles(model, fit, given).items():
            found[path] = replace(found[path], obstacle=obstacle)
    refused |= _refused(renewal, found.values())
    if refused:
        paths = [path for path in found if path in refused]
        others = len(paths) - 1
        more = f", and {others} more {plural(others, 'layer is', 'layers are')} refused" * (
            others > 0
        )
        raise ConfigError(
            f"{refused[paths[0]]}{more}: give attach(exclude={paths!r}) to leave them alone"
        )
    return list(found.values())


def _refused(renewal: Renewal, layers: Iterable[Layer]) -> dict[str, str]:
    """Why a renewal refuses layers, by path."""
    found: dict[str, str] = {}
    for layer in layers:
        try:
            renewal.check(layer)
        except ConfigError as error:
            found[layer.filters.path] = str(error)
    return found


def _lacking(layer: Layer, wiring: Wiring) -> str:
    """What of a layer may not be written, since somebody else uses it too."""
    whole, own = wiring[layer.filters.path], layer.filters
    written = {each.weight for each in own.readers}
    kept = [each.path for each in whole.readers if each.weight not in written]
    if whole.bias != own.bias:
        return "a bias that is used elsewhere too"
    return f"a reader that must be kept, {', '.join(kept)}" if kept else ""
