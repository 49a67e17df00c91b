"""What a sweep found, in words.

Called by `report/summary` for the terminal and by the page; the numbers come from `report/sweep/panels`.
"""

from __future__ import annotations

from typing import Final

from regrow.report import wording
from regrow.report.findings import Comparison, Outcome
from regrow.report.sentences import brackets
from regrow.report.sweep.panels import Chosen, Panel, SweepCell

_HEADLINES: Final = {**wording.HEADLINES, "unclear": "no gain shown"}

_HARDLY: Final = 0.2  # a rank correlation nearer to 0 is called hardly any change


def outcome(panel: Panel) -> Outcome:
    """What may be said of a panel: what the chosen cell gives on the seeds that did not choose it."""
    # Never the best cell's own verdict: the best of 144 is good by having been picked.
    return panel.chosen[0].after.outcome if panel.chosen else "too few"


def headline(panel: Panel) -> str:
    """The outcome of a panel in a few words, such as "a gain in the chosen cell, on seeds that did not choose it"."""
    over = "" if panel.against_baseline else f" over {panel.versus}"
    told = f"{_HEADLINES[outcome(panel)]}{over}"
    return f"{told} in the chosen cell, on seeds that did not choose it" if panel.chosen else told


def findings(panel: Panel) -> tuple[str, ...]:
    """What a panel shows: what is missing, how many cells gain, the best cell, the trends, the failed seeds."""
    told = [_missing(panel), _gains(panel), _best(panel), _trends(panel), _failures(panel)]
    return tuple(sentence for sentence in (*told, _idle(panel)) if sentence)


def choice(panel: Panel) -> tuple[str, ...]:
    """Say which cell one half of the seeds chose, and what it gives on the other."""
    if not panel.chosen:
        return ("No cell is chosen yet: no seed has ended under both arms.",)
    first, *others = panel.chosen
    told = [
        f"The {wording.count(len(first.choosing), 'seed')} at {first.half} places of the study's list, counted from 0, "
        f"choose {panel.place(first.cell)}{_by(panel)}: {gain(first.before)} there. {_after(first)}"
    ]
    told += [
        f"With the halves exchanged, {panel.place(other.cell)} is chosen ({gain(other.before)}) and gives "
        f"{gain(other.after)} on the others."
        for other in others
        if other.after.numbers.n
    ]
    return tuple(told)


def failed(comparison: Comparison) -> str:
    """How many seeds failed in a chosen cell, of those that chose it or of those held back."""
    numbers = comparison.numbers
    return (
        f"{numbers.failed_b} of {numbers.both} failed under {comparison.versus}, "
        f"{numbers.failed_a} under {comparison.arm}"
    )


def gain(comparison: Comparison) -> str:
    """The mean gain of a chosen cell, and how sure it is."""
    return f"{wording.points(comparison.numbers.mean_difference)} points {brackets(comparison)}"


def _by(panel: Panel) -> str:
    return "" if panel.against_baseline else " by the gain over the baseline"


def _after(chosen: Chosen) -> str:
    if not chosen.after.numbers.n:
        return "No seed that was held back has ended under both arms yet."
    return (
        f"On the {wording.count(len(chosen.held_back), 'seed')} held back it gives {gain(chosen.after)}. "
        f"Of the seeds that chose, {failed(chosen.before)}; of those held back, {failed(chosen.after)}."
    )


def _missing(panel: Panel) -> str:
    if not panel.missing:
        return ""
    asked = wording.count(2 * panel.seeds * len(panel.cells), "trial")
    blank = len(panel.cells) - len(panel.measured)
    without = f"; {wording.count(blank, 'cell')} without a pair, left blank" if blank else ""
    return f"{panel.missing} of {asked} of this panel are missing{without}."


def _gains(panel: Panel) -> str:
    outcomes = [cell.comparison.outcome for cell in panel.measured]
    told = [outcome for outcome in outcomes if outcome != "too few"]
    if not told:
        return "No cell has enough pairs for a verdict."
    above, below = told.count("gain"), told.count("harm")
    counted = wording.count(len(told), "cell")
    if not above and not below:
        return f"No gain: in none of {counted} does the 95 % interval of the mean paired gain exclude 0."
    none = "" if above else "No gain: "
    return (
        f"{none}{'o' if none else 'O'}f {counted} the 95 % interval of the mean paired gain lies above 0 in {above} "
        f"and below 0 in {below}."
    )


def _best(panel: Panel) -> str:
    best = panel.best
    if best is None:
        return ""
    if (best.gain or 0.0) <= 0:
        return (
            f"No cell has a mean gain above 0; the largest is {wording.points(best.gain)} points."
        )
    text = f"Largest mean gain: {wording.points(best.gain)} points {brackets(best.comparison)} at {panel.place(best)}"
    many = len(panel.measured)
    return f"{text}, too large by being picked from {many}." if many > 1 else f"{text}."


def _trends(panel: Panel) -> str:
    told = [
        f"{_direction(trend)} with {axis.setting} (rank correlation {wording.signed(trend, digits=2)})"
        for axis, trend in ((panel.x, panel.x_trend), (panel.y, panel.y_trend))
        if trend is not None
    ]
    if not told:
        return ""
    return (
        f"Over the cells the mean gain {' and '.join(told)}: a description without a p-value, for the cells share "
        "their seeds."
    )


def _direction(trend: float) -> str:
    if abs(trend) < _HARDLY:
        return "hardly changes"
    return "rises" if trend > 0 else "falls"


def _failures(panel: Panel) -> str:
    cells = [cell for cell in panel.cells if cell.numbers.both]
    if not cells:
        return ""
    counts = [cell.numbers.failed_b for cell in cells]
    if not max(counts):
        worst = max(cell.numbers.failed_a for cell in cells)
        return f"No seed failed under {panel.versus}; under {panel.arm}, up to {worst} did."
    # Recovered: failed without the recipe and not with it, seed by seed. A difference of two counts would hide who was
    # lost.
    most = max(cell.numbers.failed_b_only for cell in cells)
    ended = {cell.numbers.both for cell in cells}
    seeds = f"{'' if len(ended) == 1 else 'up to '}{wording.count(max(ended), 'seed')}"
    opening = f"{wording.span(counts)} of {seeds} failed under {panel.versus}."
    if not most:
        return f"{opening} {panel.arm} recovered none of them in any cell."
    recovering = [cell for cell in cells if cell.numbers.failed_b_only == most]
    cell = min(recovering, key=lambda each: each.numbers.failed_a_only)
    others = len(recovering) - 1
    beside = f", as in {wording.count(others, 'other cell')}" if others else ""
    return f"{opening} {_recovered(panel, cell)}{beside}."


def _recovered(panel: Panel, cell: SweepCell) -> str:
    numbers = cell.numbers
    lost = f", and lost {numbers.failed_a_only} that had not" if numbers.failed_a_only else ""
    return f"At best {panel.arm} recovered {numbers.failed_b_only} of {numbers.failed_b}{lost} ({panel.place(cell)})"


def _idle(panel: Panel) -> str:
    idle = sum(cell.renewed == 0 for cell in panel.cells)
    if not idle:
        return ""
    return f"In {wording.count(idle, 'cell')} no filter was renewed in any trial: there the arm is plain training."
