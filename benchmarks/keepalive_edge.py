"""The edge of the learning rate, plain, with a clip of the gradient's norm and with KeepAlive: one figure.

python benchmarks/keepalive_edge.py   # from results/keepalive-edge-*/summary.json; writes results/keepalive-edge.png
"""

from __future__ import annotations

from typing import Final

from keepalive_tables import EDGE, RESULTS, WORDS, cells
from matplotlib.figure import Figure

PANELS: Final = {"plain": "eight convolutions, no norms", "batch": "the same with batch norm"}
STYLES: Final = {
    "none": ("black", "o", "-"),
    "clip": ("#E69F00", "s", "--"),
    "no-renewal": ("#56B4E9", "v", ":"),
    "keepalive": ("#0072B2", "^", "-"),
}


def main() -> None:
    """Draw it: means of last-epoch accuracy, with the worst and the best seed as bars."""
    figure = Figure(figsize=(7.2, 3.2), layout="constrained")
    axes = figure.subplots(1, len(PANELS), sharey=True)
    for axis, (study, title) in zip(axes, PANELS.items(), strict=True):
        found = [(float(name.split()[-1]), cell) for name, cell in cells(f"edge-{study}")]
        chance = 100 * found[0][1]["majority_share"]
        axis.axhline(chance, color="0.7", linewidth=1)
        for place, arm in enumerate(EDGE):
            told = [
                (rate, one["accuracy"])
                for rate, cell in found
                for one in cell["arms"]
                if one["label"] == arm
            ]
            colour, marker, line = STYLES[arm]
            means = [100 * accuracy["mean"] for _, accuracy in told]
            axis.errorbar(
                # A little beside each other, so that equal arms do not hide one another.
                [rate * 1.06 ** (place - 1.5) for rate, _ in told],
                means,
                yerr=[
                    [mean - 100 * each["worst"] for mean, (_, each) in zip(means, told, strict=True)],
                    [100 * each["best"] - mean for mean, (_, each) in zip(means, told, strict=True)],
                ],
                color=colour, marker=marker, linestyle=line, markersize=4, linewidth=1.2, label=WORDS[arm],
            )  # fmt: skip
        axis.set(xscale="log", xlabel="learning rate", title=title)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("test accuracy, last epoch (%)")
    axes[0].legend(frameon=False, fontsize=8)
    figure.savefig(RESULTS / "keepalive-edge.png", dpi=150)


if __name__ == "__main__":
    main()
