"""The sorted seeds of the best cell of a panel, without picking on the test: those that did not choose it.

Source: Cohen et al., "RandomOut: Using a convolutional gradient norm to win The Filter Lottery", ICLR 2016 workshop,
Figure 4. https://arxiv.org/abs/1602.05931
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from regrow.report import wording
from regrow.report.drawing import WIDE, Drawing
from regrow.report.figures.sorted_seeds import draw_sorted
from regrow.report.sentences import brackets
from regrow.report.sweep.panel import Chosen, Panel
from regrow.report.sweep.told import failed
from regrow.study.results import Results


def figures(results: Results, panel: Panel) -> Iterator[Drawing]:
    """The held-back seeds in the chosen cell, pair by pair, where plain training is what the panel is compared with."""
    chosen = panel.chosen[0] if panel.chosen and panel.against_baseline else None
    if chosen is None or not chosen.after.numbers.both:
        return
    before, after = chosen.before, chosen.after
    yield Drawing(
        name="pairs",
        place="choice",
        title="The chosen cell, seed by seed, on the seeds that did not choose it",
        caption=(
            f"Test accuracy of the {wording.count(after.numbers.both, 'seed')} held back, sorted by the accuracy under "
            f"{after.versus}, at {panel.place(chosen.cell)}: the cell with the largest mean gain over the other "
            f"{wording.count(before.numbers.n, 'seed')}, those at {chosen.half} places of the study's list. Gain on "
            f"the seeds that chose {wording.points(before.numbers.mean_difference)} points {brackets(before)}; on "
            f"those shown {wording.points(after.numbers.mean_difference)} points {brackets(after)}. Of the seeds that "
            f"chose, {failed(chosen, before=True)}; of those shown, {failed(chosen, before=False)}. Marks above one "
            "another started from the same weights and saw the same batches. In the grey band a seed has failed."
        ),
        alt="Scatter plot of test accuracy by seed, one mark an arm.",
        size=WIDE,
        kept=True,
        draw=partial(draw_sorted, _part(results, chosen), chosen.cell.cell),
    )


def _part(results: Results, chosen: Chosen) -> Results:
    """What was read of the chosen cell's two arms and held-back seeds."""
    labels = {chosen.after.arm, chosen.after.versus}
    trials = tuple(
        trial
        for trial in results.trials_in(chosen.cell.cell)
        if trial.seed in chosen.held_back and trial.arm in labels
    )
    return replace(results, study=results.study.of_arms(labels), trials=trials)
