"""Every measure: its name, its formula, where it comes from, and what it was taken from.

A measure of units counts them; any other is a number of the layer. `docs/inspect.md` says the same at more length.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Evidence = Literal["weights only", "one forward", "one backward", "k steps"]
"""What has been looked at, from the weakest to the strongest."""


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One line of a health report.

    Attributes:
        key: In `LayerHealth.units` or `LayerHealth.numbers`.
        title: In a table.
        formula: What is counted or computed; h is what a unit gives its readers, over examples and positions.
        source: Who measures so.
        evidence: What it is taken from.
        of_units: Whether it names units.
    """

    key: str
    title: str
    formula: str
    source: str
    evidence: Evidence
    of_units: bool = False


MEASURES: Final = (
    Measure(
        key="dead",
        title="dead",
        formula="max h - min h <= 1e-6 of the layer's largest |h|; neither blocked nor starved",
        source="docs/activity.md; exact zeros in Dohare et al. 2024",
        evidence="one forward",
        of_units=True,
    ),
    Measure(
        key="norm_killed",
        title="killed by its norm",
        formula="h = 0 throughout, norm shift < 0 and |norm scale| <= 0.1 |norm shift|",
        source="ours; these units are dead, and this is why",
        evidence="one forward",
        of_units=True,
    ),
    Measure(
        key="blocked",
        title="blocked",
        formula="one value throughout, and a factor of exactly 0 in front of the readers",
        source="docs/activity.md",
        evidence="one forward",
        of_units=True,
    ),
    Measure(
        key="starved",
        title="starved",
        formula="one value throughout, and nothing that the unit hears changes",
        source="docs/activity.md",
        evidence="one forward",
        of_units=True,
    ),
    Measure(
        key="not_finite",
        title="not finite",
        formula="nan or infinity in h or in the weights",
        source="ours",
        evidence="one forward",
        of_units=True,
    ),
    Measure(
        key="rare",
        title="rare-firing",
        formula="0 < share of examples with h != 0 < 0.01",
        source="Dohare et al. 2024 (Nature), post_run_analysis.py",
        evidence="one forward",
        of_units=True,
    ),
    Measure(
        key="saturated",
        title="saturated",
        formula=(
            "share of h within 1 % of a bound of tanh or sigmoid, or where the slope of GELU, SiLU or their like is "
            "<= 0.01 of its steepest, > 0.99"
        ),
        source="after Plasticine and Joudaki et al.",
        evidence="one forward",
        of_units=True,
    ),
    Measure(
        key="dormant",
        title="dormant",
        formula="neither dead nor rare, and mean |h| <= 0.025 x the layer's mean of it",
        source="ReDo (Sokar et al. 2023), eq. 1; 0.025 is its display threshold",
        evidence="one forward",
        of_units=True,
    ),
    Measure(
        key="duplicate",
        title="duplicates (weights)",
        formula="cosine of the unit's weights to another unit's > 0.95",
        source="Joudaki et al. (their threshold), RePr",
        evidence="weights only",
        of_units=True,
    ),
    Measure(
        key="alike",
        title="duplicates (activations)",
        formula="correlation of h with another unit's > 0.95",
        source="Joudaki et al.",
        evidence="one forward",
        of_units=True,
    ),
    Measure(
        key="invalid",
        title="invalid by l1",
        formula="sum of |w| < 0.01",
        source="Filter Grafting (Meng et al. 2020)",
        evidence="weights only",
        of_units=True,
    ),
    Measure(
        key="zero_by_construction",
        title="zero by construction",
        formula="a norm scale, a gate or the layer's whole weight is exactly 0",
        source="ours: how LoRA, LayerScale and zero-initialised norms begin",
        evidence="weights only",
        of_units=True,
    ),
    Measure(
        key="low_gradient",
        title="GraMa",
        formula="sum |dL/dw| <= 0.01 x the layer's mean of it",
        source="GraMa (Liu et al. 2025), as released",
        evidence="one backward",
        of_units=True,
    ),
    Measure(
        key="zeros",
        title="zeros",
        formula="share of h that is 0",
        source="1 - FAU, as in Plasticine",
        evidence="one forward",
    ),
    Measure(
        key="overlap",
        title="overlap",
        formula="mean over units of sum of |cos| to the others / J",
        source="RePr (Prakash et al. 2019), eq. 1 and 2",
        evidence="weights only",
    ),
    Measure(
        key="effective_rank",
        title="effective rank",
        formula="exp(-sum p log p), p = s / sum s, singular values s of h, not centred",
        source="Roy, Vetterli 2007",
        evidence="one forward",
    ),
    Measure(
        key="srank",
        title="srank",
        formula="least k whose singular values of h make 0.99 of their sum",
        source="Kumar et al. 2021, delta 0.01",
        evidence="one forward",
    ),
    Measure(
        key="weight_ratio",
        title="|w| / |w fresh|",
        formula="norm of the weight / norm of torch's default draw of its shape",
        source="after Dohare et al. 2024",
        evidence="weights only",
    ),
    Measure(
        key="isometry",
        title="isometry deviation",
        formula="|W'^T W' - I|_F^2 / n, W' scaled to squared singular values of mean 1",
        source="FIRE (2026)",
        evidence="weights only",
    ),
    Measure(
        key="gain",
        title="gain",
        formula="rms(out without the bias) / rms(in) of the layer",
        source="after LSUV (Mishkin, Matas 2016)",
        evidence="one forward",
    ),
    Measure(
        key="gradient",
        title="|gradient|",
        formula="Euclidean norm of the mean loss's gradient by the weight",
        source="UPGD's run_stats.py",
        evidence="one backward",
    ),
    Measure(
        key="step",
        title="step / weight",
        formula="norm of the optimizer's next step / max(norm of the weight, norm of a fresh one)",
        source="LARS (You et al. 2017); regrow.StepLimit",
        evidence="one backward",
    ),
)

BY_KEY: Final = {each.key: each for each in MEASURES}

OF_UNITS: Final = tuple(each.key for each in MEASURES if each.of_units)

INPUT_SHIFT: Final = Measure(
    key="input_shift",
    title="input shift",
    formula="|mean| / |spread| over the channels of the model's input",
    source="arXiv 2605.31518: predicts units that are born dead",
    evidence="one forward",
)

PROBE_GAP: Final = Measure(
    key="probe_gap",
    title="fresh-probe gap",
    formula="loss after k steps on shuffled targets from these weights - the same from fresh ones",
    source="plasticity as defined by Lyle et al. 2023",
    evidence="k steps",
)
