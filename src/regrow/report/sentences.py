"""A comparison in words, with its interval and its pairs: the same in every paragraph."""

from __future__ import annotations

from collections.abc import Mapping

from regrow.report import wording
from regrow.report.findings import Comparison, Outcome


def brackets(comparison: Comparison) -> str:
    """How sure a difference is, such as "[95 % CI +1.0 to +2.0; n = 8 pairs]"."""
    numbers = comparison.numbers
    pairs = f"n = {wording.count(numbers.n, 'pair')}"
    if numbers.low is None:
        return f"[no interval; {pairs}]"
    ends = comparison.unit.interval(numbers.low, numbers.high)
    return f"[{100 * numbers.confidence:.0f} % CI {ends}; {pairs}]"


def difference(comparison: Comparison) -> str:
    """A difference with what it is between, such as "a minus b: +1.5 points [95 % CI +1.0 to +2.0; n = 8 pairs]"."""
    unit = comparison.unit
    return (
        f"{comparison.arm} minus {comparison.versus}: "
        f"{unit.difference(comparison.numbers.mean_difference)}{unit.apart} {brackets(comparison)}"
    )


def meanings(
    what: str, otherwise: str, *, several: bool = False, unclear: str = ""
) -> dict[Outcome, str]:
    """What follows from each outcome of a comparison with the same arm without `what`, as the end of a sentence."""
    matters, is_not = ("matter", "are not") if several else ("matters", "is not")
    return {
        "gain": f", so {what} {matters}.",
        "harm": f", so {otherwise}.",
        "unclear": f", so {what} {is_not} shown to matter{unclear}.",
        "too few": ", too few pairs to tell them apart.",
    }


def against(comparison: Comparison, *, what: str, meanings: Mapping[Outcome, str] | None) -> str:
    """Say what one control did, and what that says of the arm."""
    numbers, versus, unit = comparison.numbers, comparison.versus, comparison.unit
    if numbers.mean_difference is None:
        return f"Its control, {versus}, has no pairs with it yet."
    meaning = "." if meanings is None else meanings[comparison.outcome]
    return (
        f"{what}: {unit.value(numbers.mean_b)}{unit.sign}, {numbers.failed_b} of "
        f"{wording.count(numbers.both, 'seed')} failed. {difference(comparison)}{meaning}"
    )
