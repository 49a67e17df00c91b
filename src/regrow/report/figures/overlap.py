"""The overlap of the filters over the epochs, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator

from regrow.report.drawing import Drawing
from regrow.report.figures.dropping import phases
from regrow.report.figures.layer_panels import layer_drawing
from regrow.report.weight_series import counted, seen_layers
from regrow.study.results import Results


def figures(results: Results, cell: str) -> Iterator[Drawing]:
    """One figure, where the overlap was measured."""
    if seen_layers(results, cell, results.overlaps):
        grey = (
            " Grey: filters are out of the network; a layer is then what is left of it, without them as filters and as "
            "inputs."
        )
        yield layer_drawing(
            results,
            cell,
            results.overlaps,
            name="overlap",
            title="Overlap of the filters, layer by layer",
            caption=(
                "Inter-filter overlap (sum of |cosine| with the layer's other filters over their number; no unit), "
                "averaged over the filters in the network after every epoch; panels have scales of their own, the "
                "number of filters stands in brackets. Line: mean, band: one standard deviation over "
                f"n = {counted(results, cell, results.overlaps)} seeds.{grey if phases(results, cell) else ''}"
            ),
            ylabel="Mean overlap",
            kept=True,
        )
