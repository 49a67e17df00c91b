"""What is measured on data that the user gives: for renewals that keep the output, and for criteria that need it."""

from __future__ import annotations

from regrow.compose import Recipe
from regrow.criteria import MEASURED, Signal
from regrow.errors import ConfigError
from regrow.loop.host import Host
from regrow.loop.measure.calibration import Calibration
from regrow.loop.measure.data import CalibrationData
from regrow.loop.measure.examples import CalibrationLoss
from regrow.loop.measure.probe import Probe


def calibration_of(recipe: Recipe, host: Host, data: CalibrationData) -> Calibration | None:
    """What runs the model on fixed inputs for a renewal that keeps its output; None for every other one."""
    if not recipe.renew.keeps_output:
        return None
    if data.inputs is None:
        raise ConfigError(
            "preserve=True moves a filter's mean activation into its readers, and measures it on real data: give "
            "attach(calibration_inputs=...), a batch of training images, say"
        )
    return Calibration(host.model, data, kept=host.wiring.shared, ranks=host.ranks)


def probe_of(
    recipe: Recipe, host: Host, data: CalibrationData, *, loss: CalibrationLoss | None
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
        host.model,
        # With all their readers, also those that the optimizer does not train.
        [host.wiring[path] for path in host.layers],
        data,
        signals=signals,
        loss=loss,
        wiring=host.wiring,
        ranks=host.ranks,
    )
