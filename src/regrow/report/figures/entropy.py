"""What the weights of each layer carry, epoch by epoch."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from regrow.report.drawing import Drawing
from regrow.report.figures.layer_panels import draw_layers, left_out, size
from regrow.report.weight_series import counted, entropy_series, seen_layers
from regrow.study.results import Results


def figures(results: Results, cell: str) -> Iterator[Drawing]:
    """The entropy of each layer's weights, where weights were looked at."""
    entropies = results.networks.entropies
    layers = seen_layers(results, cell, entropies)
    if not layers:
        return
    yield Drawing(
        name=f"{cell}-entropy",
        place="body",
        of=cell,
        title="Entropy of the weights, layer by layer",
        caption=(
            "Entropy of each layer's weights after every epoch (10 bins between the smallest and the largest weight, "
            "natural logarithm), mean over a trial's networks; panels have scales of their own, the number of filters "
            f"stands in brackets. Line: mean, band: one standard deviation over n = "
            f"{counted(results, cell, entropies)} seeds.{left_out(layers)}"
        ),
        alt="Small line charts of entropy by epoch, one panel a layer, one line an arm.",
        size=size(layers),
        draw=partial(
            draw_layers,
            results,
            cell,
            layers,
            series=partial(entropy_series, results, cell),
            ylabel="Entropy (nats)",
        ),
    )
