"""How much the filters of each layer overlap, epoch by epoch."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from regrow.report.drawing import Drawing
from regrow.report.figures.dropping import phases
from regrow.report.figures.layer_panels import draw_layers, left_out, size
from regrow.report.weight_series import counted, overlap_series, seen_layers
from regrow.study.results import Results


def figures(results: Results, cell: str) -> Iterator[Drawing]:
    """The mean overlap of each layer's filters, where it was measured."""
    measured = results.diagnostics.overlaps
    layers = seen_layers(results, cell, measured)
    if not layers:
        return
    text = (
        "Inter-filter overlap (sum of |cosine| with the layer's other filters over their number; no unit), averaged "
        "over the filters in the network after every epoch; panels have scales of their own, the number of filters "
        "stands in brackets. Line: mean, band: one standard deviation over "
        f"n = {counted(results, cell, measured)} seeds."
    )
    if phases(results, cell):
        text += (
            " Grey: filters are out of the network; a layer is then what is left of it, without them as filters and as "
            "inputs."
        )
    yield Drawing(
        name=f"{cell}-overlap",
        place="body",
        of=cell,
        title="Overlap of the filters, layer by layer",
        caption=text + left_out(layers),
        alt="Small line charts of mean overlap by epoch, one panel a layer, one line an arm.",
        size=size(layers),
        kept=True,
        draw=partial(
            draw_layers,
            results,
            cell,
            layers,
            series=partial(overlap_series, results, cell),
            ylabel="Mean overlap",
        ),
    )
