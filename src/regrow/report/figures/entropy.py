"""The entropy of the weights over the epochs, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator

from regrow.report.drawing import Drawing
from regrow.report.figures.layer_panels import layer_drawing
from regrow.report.weight_series import counted, seen_layers
from regrow.study.results import Results


def figures(results: Results, cell: str) -> Iterator[Drawing]:
    """One figure, where weights were looked at."""
    if seen_layers(results, cell, results.entropies):
        yield layer_drawing(
            results,
            cell,
            results.entropies,
            name="entropy",
            title="Entropy of the weights, layer by layer",
            caption=(
                "Entropy of each layer's weights after every epoch (10 bins between the smallest and the largest "
                "weight, natural logarithm), mean over a trial's networks; panels have scales of their own, the number "
                "of filters stands in brackets. Line: mean, band: one standard deviation over "
                f"n = {counted(results, cell, results.entropies)} seeds."
            ),
            ylabel="Entropy (nats)",
        )
