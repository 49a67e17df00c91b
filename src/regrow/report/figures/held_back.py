"""The sorted seeds of the best cell of a panel, without picking on the test: those that did not choose it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from regrow.report import wording
from regrow.report.figures.sorted_seeds import plot_sorted_seeds
from regrow.report.sentences import brackets
from regrow.report.sweep.panel import Chosen, Panel
from regrow.report.sweep.told import failed
from regrow.study.results import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_held_back(results: Results, chosen: Chosen) -> tuple[Figure, Axes]:
    """Draw the accuracies of the held-back seeds in the chosen cell, sorted by the baseline's, pair by pair.

    Args:
        results: What was read.
        chosen: The choice.

    Returns:
        The figure and the axes.

    Source:
        Cohen et al., "RandomOut: Using a convolutional gradient norm to win The Filter Lottery",
        ICLR 2016 workshop, Figure 4. https://arxiv.org/abs/1602.05931
    """
    labels = {chosen.after.arm, chosen.after.versus}
    held_back = set(chosen.held_back)
    study = results.study.of_arms(labels)
    trials = tuple(
        trial
        for trial in results.trials_in(chosen.cell.cell)
        if trial.seed in held_back and trial.arm in labels
    )
    return plot_sorted_seeds(replace(results, study=study, trials=trials), chosen.cell.cell)


def caption_held_back(panel: Panel, chosen: Chosen) -> str:
    """Say what `plot_held_back` shows.

    Args:
        panel: The panel.
        chosen: The choice.

    Returns:
        The caption, with the gain on both halves of the seeds.
    """
    before, after = chosen.before, chosen.after
    return (
        f"Test accuracy of the {wording.count(after.numbers.both, 'seed')} held back, sorted by the accuracy under "
        f"{after.versus}, at {panel.place(chosen.cell)}: the cell with the largest mean gain over the other "
        f"{wording.count(before.numbers.n, 'seed')}, those at {chosen.half} places of the study's list. Gain on the "
        f"seeds that chose {wording.points(before.numbers.mean_difference)} points {brackets(before)}; on those shown "
        f"{wording.points(after.numbers.mean_difference)} points {brackets(after)}. Of the seeds that chose, "
        f"{failed(chosen, before=True)}; of those shown, {failed(chosen, before=False)}. Marks above one another "
        "started from the same weights and saw the same batches. In the grey band a seed has failed."
    )
