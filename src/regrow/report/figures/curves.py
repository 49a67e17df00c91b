"""How the test accuracy of each arm grows over the epochs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from regrow.report import wording
from regrow.report.figures.axes import legend_above, nothing_yet, whole_numbers
from regrow.report.figures.scale import accuracy_axis, last_epoch, quartiles
from regrow.report.figures.style import arm_styles, arms_size, canvas, house_style, many_arms
from regrow.study.results import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_curves(results: Results, cell: str, *, ax: Axes | None = None) -> tuple[Figure, Axes]:
    """Draw the test accuracy over the epochs: median and quartiles an arm, every seed faintly.

    Args:
        results: What was read.
        cell: The cell.
        ax: Axes to draw into; a figure of its own without.

    Returns:
        The figure and the axes.

    Edge cases:
        More than six arms: medians alone.
        A trial that diverged stops; it stays at its last accuracy, for leaving it out would flatter
        its arm. Crashed trials are left out.
    """
    from matplotlib.collections import LineCollection

    with house_style():
        figure, ax = canvas(ax, size=arms_size(results))
        failed, failed_label = accuracy_axis(ax, results, cell)
        handles: list[object] = []
        labels: list[str] = []
        drawn_values: list[float] = []
        for index, (label, style) in enumerate(arm_styles(results).items()):
            curves = learning_curves(results, cell, label)
            epochs = sorted({epoch for curve in curves for epoch in curve})
            if not epochs:
                continue
            bands = [quartiles([100 * c[e] for c in curves if e in c]) for e in epochs]
            low, middle, high = ([band[which] for band in bands] for which in range(3))
            if not many_arms(results):
                lines = [[(epoch, 100 * y) for epoch, y in sorted(c.items())] for c in curves]
                # Hundreds of curves are megabytes as vectors, and as faint as pixels.
                ax.add_collection(
                    LineCollection(
                        lines, colors=style.colour, lw=0.4, alpha=0.18, zorder=1.5, rasterized=True
                    )
                )
                drawn_values += [y for line in lines for _, y in line]
                ax.fill_between(epochs, low, high, color=style.colour, alpha=0.09, lw=0, zorder=2)
                for edge in (low, high):
                    ax.plot(epochs, edge, color=style.colour, ls=style.line, lw=0.6, zorder=2.5)
            step = max(1, len(epochs) // 6)
            (drawn,) = ax.plot(
                epochs, middle, color=style.colour, ls=style.line, lw=1.6, marker=style.marker,
                ms=3.5, markevery=(index * step // len(results.study.arms), step), zorder=3,
            )  # fmt: skip
            drawn_values += middle
            handles.append(drawn)
            labels.append(label)
        ax.set_xlabel("Epoch")
        whole_numbers(ax.xaxis)
        if handles:
            ax.set_xlim(0, last_epoch(results, cell) + 0.5)
            low, high = ax.get_ylim()
            ax.set_ylim(min(low, min(drawn_values) - 1), max(high, min(max(drawn_values) + 1, 101)))
            legend_above(ax, handles=[*handles, *failed], labels=[*labels, *failed_label])
        else:
            nothing_yet(ax, "No epoch was evaluated yet")
    return figure, ax


def caption_curves(results: Results, cell: str) -> str:
    """Say what `plot_curves` shows.

    Args:
        results: What was read.
        cell: The cell.

    Returns:
        The caption, with n.
    """
    counts = ", ".join(
        f"{len(learning_curves(results, cell, arm.label))} ({arm.label})"
        for arm in results.study.arms
    )
    lines = (
        "Median over the seeds; with so many arms, quartiles and single seeds are left out."
        if many_arms(results)
        else "Thick: median; thin: quartiles; faint: single seeds."
    )
    text = f"Test accuracy over the epochs; n = {counts} seeds. {lines}"
    stopped = sum(t.cell == cell and t.status == "diverged" for t in results.trials)
    if stopped:
        text += (
            f" {wording.count(stopped, 'trial')} became non-finite and stopped: kept at the last "
            "accuracy."
        )
    return text


def learning_curves(results: Results, cell: str, label: str) -> list[dict[int, float]]:
    """The test accuracy by epoch of each trial of an arm that did not crash.

    Args:
        results: What was read.
        cell: The cell.
        label: The arm's label.

    Returns:
        Epoch to accuracy, 0 to 1, one a trial with any evaluation; trials that diverged are
        continued at their last accuracy up to the last epoch of the cell.
    """
    last = last_epoch(results, cell)
    evaluated = sorted(
        {
            epoch
            for trial in results.trials
            if trial.cell == cell and trial.status == "finished"
            for epoch in results.accuracies.get(trial.trial, {})
        }
    )
    found: list[dict[int, float]] = []
    for trial in results.arm(cell, label).values():
        curve = dict(results.accuracies.get(trial.trial, {}))
        if trial.status == "diverged" and trial.test_accuracy is not None:
            stop = trial.epochs or max(curve, default=0)
            curve[max(stop, 1)] = trial.test_accuracy
            later = [epoch for epoch in evaluated if epoch > stop] or [last]
            curve |= {epoch: trial.test_accuracy for epoch in later if epoch > stop}
        if curve and trial.status != "crashed":
            found.append(curve)
    return found
