"""Signal and gradient by layer in plain deep networks before their first step, under each norm.

Networks without skip connections (`convnet`, 16 filters, no pooling, the mean over the map read by the last layer) of
5 to 50 convolutions, built by the laboratory as in a study. **Signal**: the standard deviation over images and
positions of what enters a layer's ReLU, averaged over its channels. **Gradient**: the norm of the gradient of a
convolution's weight under cross entropy, in training mode. A signal need not be news of the image: without a norm,
torch's initialisation leaves the biases' own pattern at the borders of deep maps, the same for every image. Whether k
and g of gain control are learnt makes no difference here. Its start gain is set on 256 training images, and the
measurement is made on others.

    python benchmarks/signal_by_depth.py [--data-dir FOLDER] [--seeds 5] [--out results/deepcontrol-signal]

With `cifar10-11000.npz` in the folder, as for `studies/repr-c3.toml`, CIFAR-10 too. `--figure` draws again what
`--out` holds.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from regrow.lab import data
from regrow.lab.assembly import build_model, epoch_order
from regrow.lab.config import Overrides, load_study
from regrow.lab.data import Dataset
from regrow.lab.plan import plan
from regrow.report.figures.style import INK, ArmStyle, house_style, saved, sheet

DEPTHS = (5, 10, 20, 30, 40, 50)
INITS = ("torch_default", "kaiming_normal")
NORMS: dict[str, tuple[str, ...]] = {
    "none": ("norm=none",),
    "batch": ("norm=batch",),
    "group": ("norm=group",),
    "instance": ("norm=instance",),
    "gain control": ("norm=gain_control",),
    "gain control, start gain": ("norm=gain_control", "start_gain=true"),
}
STYLES = {
    "none": ArmStyle(colour=INK, marker="o", line="-"),
    "batch": ArmStyle(colour="#0072b2", marker="^", line=(0, (5, 1.5))),
    "group": ArmStyle(colour="#e69f00", marker="s", line=(0, (1, 1))),
    "instance": ArmStyle(colour="#56b4e9", marker="v", line=(0, (5, 1.5, 1, 1.5))),
    "gain control": ArmStyle(colour="#cc79a7", marker="P", line=(0, (8, 2, 1, 2, 1, 2))),
    "gain control, start gain": ArmStyle(colour="#d55e00", marker="D", line="-"),
}
DATA = {"digits": "digits", "cifar10": "npz:cifar10-11000.npz"}
TITLES = {"digits": "digits, 8x8", "cifar10": "CIFAR-10, 32x32"}
INIT_TITLES = {"torch_default": "torch's initialisation", "kaiming_normal": "He initialisation"}
BATCH = 32
WIDTH = 16
FLOOR = 1e-45
"""A signal of exactly 0 has no logarithm; what is drawn ends a little below the lowest median."""


def network(
    name: str, dataset: Dataset, *, depth: int, init: str, norm: str, seed: int
) -> nn.Module:
    """A network of a study that is never run."""
    told = ("pool=false", "head=average", f"width={WIDTH}", f"depth={depth}", f"init={init}")
    settings = tuple(f"model.{setting}" for setting in (*told, *NORMS[norm]))
    asked = Overrides(data=name, model="convnet", recipes=("none",), settings=settings)
    spec = plan(load_study(None, asked)).trials[0]
    return build_model(spec, dataset, seed=seed)


def by_layer(model: nn.Module, images: Tensor, labels: Tensor) -> dict[str, list[float]]:
    """Signal and gradient of each layer."""
    signal: list[float] = []

    def look(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        signal.append(float(inputs[0].detach().double().std(dim=(0, 2, 3)).mean()))

    hooks = [
        layer.register_forward_pre_hook(look)
        for layer in model.modules()
        if isinstance(layer, nn.ReLU)
    ]
    nn.functional.cross_entropy(model(images), labels).backward()
    for hook in hooks:
        hook.remove()
    gradient = [
        float(layer.weight.grad.double().norm())
        for layer in model.modules()
        if isinstance(layer, nn.Conv2d) and layer.weight.grad is not None
    ]
    return {"signal": signal, "gradient": gradient}


def rounded(value: float) -> float:
    """Four digits say enough."""
    return float(f"{value:.4g}")


def measured(
    label: str, dataset: Dataset, *, depth: int, init: str, norm: str, seeds: int
) -> dict[str, Any]:
    """One network, over its seeds: the median of each layer, the least and the most."""
    found: dict[str, list[list[float]]] = {"signal": [], "gradient": []}
    for seed in range(seeds):
        model = network(DATA[label], dataset, depth=depth, init=init, norm=norm, seed=seed)
        last = epoch_order(seed, epoch=1, examples=len(dataset.x_train))[-BATCH:]
        for what, layers in by_layer(model, dataset.x_train[last], dataset.y_train[last]).items():
            found[what].append(layers)
    row: dict[str, Any] = {
        "data": label,
        "init": init,
        "depth": depth,
        "norm": norm,
        "seeds": seeds,
    }
    for what, runs in found.items():
        layers = list(zip(*runs, strict=True))
        row[what] = [rounded(statistics.median(layer)) for layer in layers]
        row[f"{what}_least"] = [rounded(min(layer)) for layer in layers]
        row[f"{what}_most"] = [rounded(max(layer)) for layer in layers]
    return row


def measurements(folder: Path | None, seeds: int) -> Iterator[dict[str, Any]]:
    """All of them, told as they come."""
    for label, name in DATA.items():
        path = name.removeprefix("npz:")
        if path != name and (folder is None or not (folder / path).exists()):
            print(f"{label}: left out, needs --data-dir with {path}", flush=True)
            continue
        dataset = data.load(
            name, settings={"scale": "standard"}, data_dir=folder if path != name else None
        )
        for init in INITS:
            for depth in DEPTHS:
                for norm in NORMS:
                    row = measured(label, dataset, depth=depth, init=init, norm=norm, seeds=seeds)
                    print(
                        f"{label} {init} {depth:2} {norm}: signal {row['signal'][-1]:.2g}, "
                        f"gradient {row['gradient'][0]:.2g} to {row['gradient'][-1]:.2g}",
                        flush=True,
                    )
                    yield row


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The signal of the last layer, and the first layer's gradient over the last one's, for people."""
    lines: list[str] = []
    for title, value in (
        ("Signal of the last layer (standard deviation before the ReLU)", _signal),
        ("Gradient norm of the first convolution over that of the last", _ratio),
    ):
        lines += [f"| {title} | init | norm | " + " | ".join(f"{d}" for d in DEPTHS) + " |"]
        lines += ["|:--|:--|:--|" + "--:|" * len(DEPTHS)]
        for label, init, norm in dict.fromkeys((r["data"], r["init"], r["norm"]) for r in rows):
            cells = [
                f"{value(row):.2g}"
                for row in rows
                if (row["data"], row["init"], row["norm"]) == (label, init, norm)
            ]
            lines.append(f"| {TITLES[label]} | {init} | {norm} | " + " | ".join(cells) + " |")
        lines.append("")
    seeds = rows[0]["seeds"]
    return [*lines, f"Columns: number of convolutions. Medians over {seeds} seeds."]


def _signal(row: dict[str, Any]) -> float:
    return row["signal"][-1]


def _ratio(row: dict[str, Any]) -> float:
    last = row["gradient"][-1]
    return row["gradient"][0] / last if last else math.nan


def figure(rows: Sequence[dict[str, Any]], out: Path) -> None:
    """The deepest networks, layer by layer."""
    columns = list(dict.fromkeys((row["data"], row["init"]) for row in rows))
    deepest = max(row["depth"] for row in rows)
    quantities = {
        "signal": "Signal before the ReLU (std)",
        "gradient": "Gradient norm of the weight",
    }
    with house_style():
        drawn = sheet((10.5, 5.6))
        axes = drawn.subplots(2, len(columns), squeeze=False).flatten()
        for place, (what, label) in enumerate(quantities.items()):
            for column, (name, init) in enumerate(columns):
                ax = axes[place * len(columns) + column]
                for row in rows:
                    if (row["data"], row["init"], row["depth"]) == (name, init, deepest):
                        _line(ax, row, what)
                ax.set_yscale("log")
                ax.set_xlim(0, deepest + 1)
                if place == 0:
                    ax.set_title(f"{TITLES[name]}\n{INIT_TITLES[init]}")
                else:
                    ax.set_xlabel(f"Layer of {deepest}")
                if column == 0:
                    ax.set_ylabel(label)
            _share_scale(axes[place * len(columns) : (place + 1) * len(columns)])
        handles, labels = axes[0].get_legend_handles_labels()
        drawn.legend(handles, labels, loc="outside lower center", ncols=len(NORMS))
        seeds = rows[0]["seeds"]
        caption = f"Median over {seeds} seeds, band: least to most; before the first step, {BATCH} training images."
        for kind in ("svg", "png"):
            image = saved(drawn, kind=kind, title="Signal and gradient by layer", caption=caption)
            (out / f"signal.{kind}").write_bytes(image)


def _line(ax: Any, row: dict[str, Any], what: str) -> None:
    style = STYLES[row["norm"]]
    layers = range(1, row["depth"] + 1)
    shown = {
        key: [max(value, FLOOR) for value in row[f"{what}{key}"]] for key in ("", "_least", "_most")
    }
    ax.fill_between(layers, shown["_least"], shown["_most"], color=style.colour, alpha=0.15, lw=0)
    ax.plot(
        layers,
        shown[""],
        color=style.colour,
        linestyle=style.line,
        marker=style.marker,
        markersize=3.5,
        markevery=(list(NORMS).index(row["norm"]), 10),
        linewidth=1.3,
        label=row["norm"],
    )


def _share_scale(axes: Sequence[Any]) -> None:
    """Panels side by side have one scale, so that they can be compared; bands may leave it, medians above 0 do not."""
    drawn = [float(value) for ax in axes for line in ax.lines for value in line.get_ydata()]
    shown = [value for value in drawn if value > FLOOR]
    for ax in axes:
        ax.set_ylim(min(shown) / 10, max(shown) * 10)


def main() -> None:
    """Measure, print and write tables and figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--figure", action="store_true", help="draw again what --out holds")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.figure:
        rows = json.loads((given.out / "summary.json").read_text())["rows"]
    else:
        rows = list(measurements(given.data_dir, given.seeds))
    lines = table(rows)
    print("\n".join(lines))
    if given.out is None:
        return
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "table.md").write_text("\n".join(lines) + "\n")
    figure(rows, given.out)
    if not given.figure:
        head = {"batch": BATCH, "width": WIDTH, "torch": torch.__version__}
        head |= {"python": platform.python_version(), "machine": platform.machine()}
        told = ",\n".join(json.dumps(row) for row in rows)
        text = json.dumps(head, indent=1).removesuffix("\n}") + f',\n "rows": [\n{told}\n ]\n}}\n'
        (given.out / "summary.json").write_text(text)


if __name__ == "__main__":
    main()
