"""How numbers are written, in one place: tables, figures and sentences agree to the last digit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from regrow._plural import count as count  # noqa: PLC0414 # sentences and templates ask for it here

NOTHING: Final = "\N{EN DASH}"  # stands where no number is possible

MINUS: Final = "\N{MINUS SIGN}"  # stands before a number below 0


HEADLINES: Final = {
    "gain": "a gain",
    "harm": "harm",
    "unclear": "no difference shown",
    "too few": "too few pairs to tell",
}
"""What is said of an outcome in a few words."""


def percent(share: float | None, *, digits: int = 1) -> str:
    """Write a share as a percentage without its sign."""
    return NOTHING if share is None else _signless(100 * share, digits)


def points(difference: float | None, *, digits: int = 1) -> str:
    """Write a difference of two shares in percentage points, always with its sign."""
    return NOTHING if difference is None else signed(100 * difference, digits=digits)


def decimal(number: float | None, *, digits: int = 1) -> str:
    """Write a number that has no unit."""
    return NOTHING if number is None else f"{number:.{digits}f}"


def signed(number: float, *, digits: int = 1) -> str:
    """Write a number with its sign, and zero without one."""
    written = _signless(abs(number), digits)
    if float(written) == 0.0:
        return written
    return (MINUS if number < 0 else "+") + written


def interval(
    low: float | None,
    high: float | None,
    *,
    write: Callable[..., str] = points,
    digits: int = 1,
    most: int = 4,
) -> str:
    """Write the two ends; one that is not 0 is never written as 0, for 0 decides the verdict: it gets `most` digits."""
    if low is None or high is None:
        return NOTHING

    def written(end: float) -> str:
        own = digits
        while end and not write(end, digits=own).strip("0.") and own < most:
            own += 1
        return write(end, digits=own)

    return f"{written(low)} to {written(high)}"


def p_value(p: float | None) -> str:
    """Write a probability; below one in a thousand only that."""
    if p is None:
        return NOTHING
    if p < 0.001:
        return "< 0.001"
    return f"{p:.2f}" if p >= 0.0995 else f"{p:.3f}"


def equals_p(p: float) -> str:
    """Write "p = 0.031" or "p < 0.001"."""
    written = p_value(p)
    return f"p {written}" if written.startswith("<") else f"p = {written}"


def span(counts: Sequence[int]) -> str:
    """Write the least and the most of some counts."""
    least, most = min(counts), max(counts)
    return str(most) if least == most else f"{least} to {most}"


def seconds(duration: float | None) -> str:
    """Write a duration with its unit."""
    if duration is None:
        return NOTHING
    if duration >= 600:
        return f"{duration / 60:.0f} min"
    return f"{duration:.0f} s" if duration >= 10 else f"{duration:.2g} s"


def times(factor: float) -> str:
    """Write how many times something is something else."""
    return f"{factor:.3g} times"


def unbroken(text: str) -> str:
    """Keep numbers and their units on one line: no-break spaces before % and around the equals sign of p and n."""
    for plain in (" %", "p = ", "p < ", "n = "):
        text = text.replace(plain, plain.replace(" ", "\N{NO-BREAK SPACE}"))
    return text


def _signless(number: float, digits: int) -> str:
    written = f"{number:.{digits}f}"
    return written.removeprefix("-") if float(written) == 0.0 else written.replace("-", MINUS)
