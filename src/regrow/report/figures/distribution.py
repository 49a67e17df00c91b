"""How the accuracies of each arm are spread over the seeds: every seed a mark, and a box.

Source: Cohen et al., "RandomOut: Using a convolutional gradient norm to win The Filter Lottery", ICLR 2016 workshop,
Figure 1. https://arxiv.org/abs/1602.05931
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import FigureBase

from regrow.report.drawing import NARROW, PHONE, WIDE, Drawing
from regrow.report.figures import axes
from regrow.report.figures.style import INK, QUIET, arm_styles, many_arms, narrow_arms
from regrow.report.judged import judged_by
from regrow.study.results import Results

_LEVELS = 36  # rows of marks that fit one above the other
_WIDTH = 0.68  # of the marks of one arm; the distance between two arms is 1
_BOX = -0.42  # where the quartiles stand


def figures(results: Results, cell: str) -> Iterator[Drawing]:
    """The accuracies in every cell in which any was measured."""
    judged = judged_by(results.study.stream)
    values = {
        arm.label: list(judged.drawn(results.arm(cell, arm.label)).values())
        for arm in results.study.arms
    }
    if not any(values.values()):
        return
    counts = ", ".join(f"{len(own)} ({label})" for label, own in values.items())
    yield Drawing(
        name="distribution",
        title="Distribution over seeds",
        caption=(
            f"Distribution of the {judged.accuracy} {judged.when} over seeds; "
            f"n = {counts}. One mark a seed; at their left the median (ring), the quartiles (thick) and "
            "the worst and best (thin)."
        ),
        alt=f"Strip plot of {'the error' if judged.unit.lower else 'test accuracy'} with quartiles, one column an arm.",
        size=NARROW if len(values) == 1 else (WIDE[0], 3.6 if many_arms(results) else NARROW[1]),
        narrow=None if len(values) == 1 else narrow_arms(results) or (PHONE, NARROW[1]),
        draw=partial(_draw, results, cell, values),
    )


def spread(values: list[float], *, height: float) -> list[float]:
    """Move marks of nearly equal height sideways, symmetrically, so that none hides another."""
    rows: dict[int, list[int]] = {}
    for index in sorted(range(len(values)), key=lambda index: (values[index], index)):
        rows.setdefault(round(values[index] / height), []).append(index)
    found = [0.0] * len(values)
    for row in rows.values():
        step = min(0.08, _WIDTH / len(row))
        for place, index in enumerate(row):
            found[index] = round(step * (place - (len(row) - 1) / 2), 6)
    return found


def _draw(
    results: Results, cell: str, values: Mapping[str, list[float]], figure: FigureBase
) -> None:
    ax = figure.add_subplot()
    failed = axes.accuracy_axis(ax, results, cell)
    styles = arm_styles(results)
    low, high = ax.get_ylim()
    for index, (label, own) in enumerate(values.items()):
        if not own:
            continue
        # Beside the marks, not around them: seeds fall into two groups, those that learnt and
        # those that failed, and a box across the gap would be all that one sees.
        x = index + _BOX
        low_quarter, middle, high_quarter = axes.quartiles(own)
        ax.vlines(x, min(own), max(own), color=QUIET, lw=0.8, zorder=2)
        ax.vlines(x, low_quarter, high_quarter, color=QUIET, lw=2.4, zorder=2)
        ax.plot([x], [middle], marker="o", ms=3.4, mfc="white", mec=INK, mew=0.8, zorder=4)
        sideways = spread(own, height=(high - low) / _LEVELS)
        ax.plot(
            [index + 0.04 + x for x in sideways], own, ls="none", marker=styles[label].marker,
            ms=3.6, mfc=styles[label].colour, mec="white", mew=0.4, alpha=0.9, zorder=3,
            clip_on=False,
        )  # fmt: skip
    _label_arms(ax, values, figure, name=judged_by(results.study.stream).unit.name)
    axes.legend_above(ax, failed)


def _label_arms(
    ax: Axes, values: Mapping[str, list[float]], figure: FigureBase, *, name: str
) -> None:
    crowded = len(values) > (4 if axes.is_narrow(figure) else 8)
    names = [
        f"{axes.shown(axes.shortened(label, 18)).strip()} (n={len(own)})"
        if crowded
        else "\n".join(textwrap.wrap(axes.shown(label), 12, max_lines=2, placeholder="…"))
        + f"\n (n={len(own)})"
        for label, own in values.items()
    ]
    turned: dict[str, Any] = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"}
    ax.set_xticks(range(len(values)), names, **(turned if crowded else {}))
    ax.set_xlim(-0.6, len(values) - 0.4)
    ax.grid(visible=False, axis="x")
    ax.tick_params(axis="x", length=0)
    ax.set_xlabel(f"Arm (n = seeds with an {name})")
