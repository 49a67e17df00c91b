"""What is measured on data that the user gives: for renewals that keep the output, and for criteria that need it."""

from __future__ import annotations

from collections.abc import Container, Sequence

from torch import nn

from regrow.compose import Recipe
from regrow.criteria import MEASURED, Signal
from regrow.errors import ConfigError
from regrow.graph import Filters, Wiring
from regrow.loop.measure.calibration import Calibration
from regrow.loop.measure.data import CalibrationData
from regrow.loop.measure.examples import CalibrationLoss
from regrow.loop.measure.probe import Probe
from regrow.loop.ranks import Ranks


def calibration_of(
    recipe: Recipe,
    model: nn.Module,
    data: CalibrationData,
    *,
    kept: Container[str | None],
    ranks: Ranks,
) -> Calibration | None:
    """What runs the model on fixed inputs for a renewal that keeps its output; None for every other one."""
    if not recipe.renew.keeps_output:
        return None
    if data.inputs is None:
        raise ConfigError(
            "preserve=True moves a filter's mean activation into its readers, and measures it on real data: give "
            "attach(calibration_inputs=...), a batch of training images, say"
        )
    return Calibration(model, data, kept=kept, ranks=ranks)


def probe_of(
    recipe: Recipe,
    model: nn.Module,
    layers: Sequence[Filters],
    wiring: Wiring,
    *,
    data: CalibrationData,
    loss: CalibrationLoss | None,
    ranks: Ranks,
) -> Probe | None:
    """What measures the filters for a criterion that looks at more than weights and gradients; None for others."""
    signals = recipe.criterion.needs & MEASURED
    if not signals:
        return None
    for argument, given, needed in (
        ("calibration_inputs", data.inputs, True),
        ("calibration_targets", data.targets, signals != frozenset({Signal.ACTIVATIONS})),
    ):
        if needed and given is None:
            raise ConfigError(
                f"the criterion {type(recipe.criterion).__name__} is measured on data: give attach({argument}=...), or "
                f"choose another ranking (rank_by, recipe '{recipe.info.name}')"
            )
    return Probe(
        model,
        layers,
        data,
        signals=signals,
        loss=loss,
        wiring=wiring,
        ranks=ranks,
    )
