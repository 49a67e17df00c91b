"""Several networks as one, compared: with the baseline, and with as many that were trained apart."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from regrow.report.findings import Comparison, Versus
from regrow.report.several import WAYS, Several
from regrow.study.statistics import paired


def joint_comparisons(
    arms: Sequence[Several],
    *,
    accuracies: Mapping[str, Mapping[int, float | None]],
    diverged: Mapping[str, Collection[int]],
    apart: Mapping[str, str],
    baseline: str,
    majority_share: float,
) -> tuple[Comparison, ...]:
    """Compare what the networks of each arm are as one, seed by seed.

    Networks that meet are compared with the best, the mean weights and the ensemble of as many that were trained
    apart, which cost the same to train; and ensemble with ensemble, which cost the same to use.

    Args:
        arms: The arms that train several networks.
        accuracies: Seed to accuracy of every arm, the mean over its networks; None where a trial crashed.
        diverged: Seeds that became non-finite, of every arm.
        apart: Arm to the arm that trains as many networks apart.
        baseline: The arm that all are compared with.
        majority_share: Share of the commonest class in the test set.

    Returns:
        The comparisons, arm by arm.
    """
    known = {label: (found, diverged[label]) for label, found in accuracies.items()}
    for arm in arms:
        for way, found in arm.together.items():
            known[arm.name(way)] = (dict(found), diverged[arm.label])
    return tuple(
        Comparison(
            arm=first,
            versus=second,
            role=role,
            numbers=paired(
                known[first][0],
                known[second][0],
                majority_share=majority_share,
                diverged_a=known[first][1],
                diverged_b=known[second][1],
            ),
        )
        for first, second, role in _pairs(arms, apart=apart, baseline=baseline)
        if first in known and second in known
    )


def _pairs(
    arms: Sequence[Several], *, apart: Mapping[str, str], baseline: str
) -> list[tuple[str, str, Versus]]:
    by_label = {arm.label: arm for arm in arms}
    found: list[tuple[str, str, Versus]] = []
    for arm in arms:
        found.extend((arm.name(way), baseline, "baseline") for way in WAYS)
        other = by_label.get(apart.get(arm.label, ""))
        if other is not None:
            found.extend((arm.label, other.name(way), "control") for way in WAYS)
            found.append((arm.name("ensemble"), other.name("ensemble"), "control"))
    return found
