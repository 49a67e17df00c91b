"""How the accuracy of each network of a trial grows beside their mean."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Final

from regrow.report.figures.axes import nothing_yet, same_scale, shown, whole_numbers
from regrow.report.figures.scale import last_epoch
from regrow.report.figures.style import FAINT, WIDE, house_style, panels
from regrow.report.weight_series import counted
from regrow.study.results import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS: Final = 3
_LINES: Final = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1.5, 1, 1.5)))


def plot_networks(results: Results, cell: str) -> tuple[Figure, Axes]:
    """Draw the test accuracy of each network over the epochs, one panel an arm that trains several.

    Args:
        results: What was read.
        cell: The cell.

    Returns:
        The figure and the axes of the first arm.
    """
    from matplotlib import colormaps

    with house_style():
        arms = joined_arms(results, cell)
        columns = max(1, min(_COLUMNS, len(arms)))
        rows = max(1, -(-len(arms) // columns))
        figure, grid = panels(max(1, len(arms)), columns=columns, size=(WIDE[0], 0.7 + 1.9 * rows))
        if not arms:
            nothing_yet(grid[0], "No trial has several networks")
            return figure, grid[0]
        curves = {arm: network_curves(results, cell, arm) for arm in arms}
        most = max(number for own in curves.values() for number in own) + 1
        shades = colormaps["viridis"].resampled(256)
        colours = [shades(0.88 * place / max(most - 1, 1)) for place in range(most)]
        for place, (ax, arm) in enumerate(zip(grid, arms, strict=True)):
            # Broad and below: networks that were just grafted lie on top of each other.
            mean = mean_curve(curves[arm])
            ax.plot(list(mean), [100 * y for y in mean.values()], color=FAINT, lw=5, zorder=2)
            for number, curve in curves[arm].items():
                ax.plot(
                    list(curve), [100 * y for y in curve.values()], color=colours[number],
                    ls=_LINES[number % len(_LINES)], lw=1.2, zorder=3,
                )  # fmt: skip
            ax.set_title(shown(arm), loc="left", fontsize=8)
            ax.set_xlim(0, last_epoch(results, cell, arms=arms) + 0.5)
            whole_numbers(ax.xaxis)
            if place % columns == 0:
                ax.set_ylabel("Test accuracy (%)")
            if place + columns >= len(arms):
                ax.set_xlabel("Epoch")
        same_scale(grid, low=0.0, high=101.0)
        handles = [
            grid[0].plot(
                [], [], color=colours[number], ls=_LINES[number % len(_LINES)], lw=1.6,
                label=f"network {number}",
            )[0]
            for number in range(most)
        ]  # fmt: skip
        handles += grid[0].plot([], [], color=FAINT, lw=5, label="their mean")
        figure.legend(handles=handles, loc="outside upper left", ncols=6)
        return figure, grid[0]


def caption_networks(results: Results, cell: str) -> str:
    """Say what `plot_networks` shows.

    Args:
        results: What was read.
        cell: The cell.

    Returns:
        The caption, with n.
    """
    return (
        "Test accuracy of each network of a trial over the epochs, mean over "
        f"n = {counted(results, cell, results.networks.partners)} seeds, and the mean of the networks, by which the "
        "trial is judged. Where two networks were grafted right before they were tested, they differ in little."
    )


def joined_arms(results: Results, cell: str) -> list[str]:
    """The arms whose trials have several networks.

    Args:
        results: What was read.
        cell: The cell.

    Returns:
        Labels in the study's order; only those with an accuracy.
    """
    return [arm.label for arm in results.study.arms if network_curves(results, cell, arm.label)]


def network_curves(results: Results, cell: str, arm: str) -> dict[int, dict[int, float]]:
    """The accuracy of each network of an arm over the epochs.

    Args:
        results: What was read.
        cell: The cell.
        arm: The arm's label.

    Returns:
        Number of the network to epoch to the mean over the trials that reached that epoch.
    """
    values: dict[int, dict[int, list[float]]] = {}
    for trial in results.arm(cell, arm).values():
        for partner in results.networks.partners.get(trial.trial, ()):
            own = values.setdefault(partner.number, {})
            for epoch, accuracy in partner.accuracies.items():
                own.setdefault(epoch, []).append(accuracy)
    return {
        number: {epoch: statistics.fmean(own[epoch]) for epoch in sorted(own)}
        for number, own in sorted(values.items())
        if own
    }


def mean_curve(curves: dict[int, dict[int, float]]) -> dict[int, float]:
    """The mean over the networks.

    Args:
        curves: Of each network.

    Returns:
        By epoch, where all networks were evaluated.
    """
    epochs = set.intersection(*(set(curve) for curve in curves.values()))
    return {
        epoch: statistics.fmean(curve[epoch] for curve in curves.values())
        for epoch in sorted(epochs)
    }
