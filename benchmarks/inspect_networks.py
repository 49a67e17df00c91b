"""Networks of torchvision and timm as they come: no unit that `inspect` calls dead may be living.

Random weights, as the packages draw them, and norms that have counted one batch. Eight images: four of noise, four
whose amplitudes fall as 1 / frequency, as those of photographs do. Each network is looked at twice: as it is, and worn:
in every fifth channel of each norm, or of each other layer with a bias, the bias is lowered by three spreads, so that
units are dead or nearly so.

The judge knows nothing of regrow's wiring. It runs the network in float64 over all images and exchanges, in the output
of each layer's module, the values of the units that are called dead between the images. Who gives its readers one value
whatever it hears can be exchanged without a change of the network's output. As many units that are called living are
exchanged in some layers too: that shows whether the judge would see it. Where it contradicts, the network is looked at
in float64 as well: one that makes rounding large is another network there.

One line a network; a network whose line is there is not judged again unless it is named.

    OMP_NUM_THREADS=1 python benchmarks/inspect_networks.py [NAME ...] [--out results/inspect-networks]
"""

from __future__ import annotations

import argparse
import copy
import importlib
import json
import sys
import time
import warnings
import zlib
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from written import write_results

import regrow

Units = Mapping[str, Sequence[int]]

SIZE, IMAGES = 64, 8
LIVING = 1e-6
"""Of the output's spread: a smaller change is rounding."""
SAMPLED = 8
"""Layers of which living units are exchanged."""
STATES = ("as it is", "worn")

NAMES = {
    "torchvision": """
        alexnet squeezenet1_1 squeezenet1_0 resnet18 resnet34 shufflenet_v2_x0_5 shufflenet_v2_x1_0 mobilenet_v2
        mobilenet_v3_small mobilenet_v3_large mnasnet0_5 regnet_x_400mf regnet_y_400mf googlenet
    """,
    "timm": """
        test_byobnet test_resnet test_efficientnet test_efficientnet_gn test_efficientnet_evos test_efficientnet_ln
        test_convnext test_convnext2 test_convnext3 test_mambaout test_coatnet test_maxvit test_vit test_vit2 test_vit3
        test_vit4 test_vit_relpos lcnet_050 starnet_s050 resnet10t resnetblur18 test_nfnet
        mobilenetv3_small_050 fasternet_t0 resnet18d
        ese_vovnet19b_slim cs3darknet_s resnetv2_18 darknet17 mobilenetv1_100 mobilenetv2_035 cspnext_tiny mixnet_s
        seresnet18 tinynet_e convnext_atto convnextv2_atto inception_next_atto dla46_c regnetx_002 ghostnet_050
        poolformer_s12 repghostnet_050 mobilenetv4_conv_small_035 res2next50 vit_tiny_patch16_224 deit_tiny_patch16_224
    """,
}
LARGE = {"test_coatnet": 160, "test_maxvit": 160}
"""What takes images of one size alone."""


def every_name() -> list[str]:
    """All of them, such as ``timm/resnet10t``."""
    return [f"{package}/{name}" for package, names in NAMES.items() for name in names.split()]


def made(name: str) -> tuple[nn.Module, Tensor]:
    """A network as its package makes it, and images of a size that it takes."""
    package, _, model = name.partition("/")
    torch.manual_seed(zlib.crc32(name.encode()))
    size = LARGE.get(model, SIZE)
    if package == "torchvision":
        models: Any = importlib.import_module("torchvision").models
        options: dict[str, Any] = {"init_weights": True} if model == "googlenet" else {}
        if model.startswith("vit"):
            options["image_size"] = size
        return models.get_model(model, weights=None, **options), images(size)
    timm: Any = importlib.import_module("timm")
    try:
        net = timm.create_model(model, pretrained=False, img_size=size)
    except TypeError:  # one that takes every size has no such argument
        net = timm.create_model(model, pretrained=False)
    return net, images(size)


def images(size: int) -> Tensor:
    """Noise, and noise whose spectrum falls as that of photographs; each standardised."""
    half = IMAGES // 2
    noise = torch.randn(half, 3, size, size)
    lines, columns = torch.fft.fftfreq(size), torch.fft.rfftfreq(size)
    frequency = torch.hypot(lines[:, None], columns[None]).clamp(min=1 / size)
    spectrum = torch.fft.rfft2(torch.randn(half, 3, size, size)) / frequency
    soft = torch.fft.irfft2(spectrum, s=(size, size))
    both = torch.cat([noise, soft])
    return (both - both.mean((1, 2, 3), keepdim=True)) / both.std((1, 2, 3), keepdim=True)


def let_norms_count(net: nn.Module, x: Tensor) -> None:
    """Batch norms take the statistics of the images."""
    norms = [each for each in net.modules() if isinstance(each, nn.modules.batchnorm._BatchNorm)]
    kept = [each.momentum for each in norms]
    for each in norms:
        each.momentum = 1.0
    with torch.no_grad():
        net.train()(x)
    net.eval()
    for each, momentum in zip(norms, kept, strict=True):
        each.momentum = momentum


def wear(net: nn.Module) -> None:
    """Lower the bias of every fifth channel."""
    norms = [each for each in net.modules() if "Norm" in type(each).__name__]
    others = [each for each in net.modules() if isinstance(each, nn.Conv2d | nn.Linear)]
    with torch.no_grad():
        for module in norms or others:
            bias = getattr(module, "bias", None)
            if isinstance(bias, Tensor):
                bias[::5] -= 3.0


def judge(net: nn.Module, x: Tensor, health: regrow.Health) -> dict[str, Any]:
    """Which units that are called dead are living, by an own pass in float64."""
    own = copy.deepcopy(net).double().eval()
    wide = x.double()
    modules = dict(own.named_modules())
    called = {layer.path: layer.units.get("dead", ()) for layer in health.layers}
    dead = {path: units for path, units in called.items() if units and path in modules}
    whole = _output(own, wide)
    spread = float(whole.std()) or 1.0
    wrong: list[str] = []
    if dead and _change(own, wide, whole, dead) > LIVING * spread:
        for path, units in dead.items():
            for unit in units if _change(own, wide, whole, {path: units}) > LIVING * spread else ():
                change = _change(own, wide, whole, {path: [unit]}) / spread
                if change > LIVING:
                    wrong.append(f"{path}[{unit}]: {change:.2g}")
    seen = 0
    judged = [each for each in health.layers if "dead" in each.units and each.path in modules]
    sampled = judged[:: max(1, len(judged) // SAMPLED)]
    asked = 0
    for layer in sampled:
        states = layer.states()
        living = [unit for unit, state in enumerate(states) if state in {"", "rare", "duplicate"}]
        if living:
            asked += 1
            few = {layer.path: living[len(living) // 2 :][:1]}
            seen += _change(own, wide, whole, few) > LIVING * spread
    return {
        "dead": sum(len(each) for each in called.values()),
        "judged": sum(len(each) for each in dead.values()),
        "wrong": wrong,
        "living_asked": asked,
        "living_seen": seen,
    }


def _output(net: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        given = net(x)
    given = given if isinstance(given, Tensor) else next(iter(vars(given).values()))
    return given.double()


def _change(net: nn.Module, x: Tensor, whole: Tensor, units: Units) -> float:
    with exchanged(net, units):
        return float((_output(net, x) - whole).abs().max())


@contextmanager
def exchanged(net: nn.Module, units: Units) -> Generator[None]:
    """While the block runs these units give each example what they would give another one."""
    modules = dict(net.named_modules())
    with ExitStack() as stack:
        for path, some in units.items():
            module, places = modules[path], torch.tensor(list(some))

            def exchange(module: nn.Module, args: Any, out: Any, places: Tensor = places) -> Any:
                if not isinstance(out, Tensor):
                    return out
                axis = out.ndim - 1 if isinstance(module, nn.Linear) else 1
                moved = out.index_select(axis, places).roll(1, 0)
                return out.index_copy(axis, places, moved)

            stack.callback(module.register_forward_hook(exchange).remove)
        yield


def measure(name: str) -> dict[str, Any]:
    """One network, as it is and worn."""
    net, x = made(name)
    row: dict[str, Any] = {"name": name, "input": list(x.shape)}
    row["parameters"] = sum(each.numel() for each in net.parameters())
    started = time.process_time()
    for state in STATES:
        if state == "worn":
            wear(net)
        let_norms_count(net, x)
        health = regrow.inspect(net, x)
        found = judge(net, x, health)
        if found["wrong"]:
            # A norm with a variance of 0 makes rounding 300 times larger: in float64 it may be another network.
            wide, double = copy.deepcopy(net).double(), x.double()
            found["wrong_in_double"] = judge(wide, double, regrow.inspect(wide, double))["wrong"]
        found["units"] = sum(layer.count for layer in health.layers)
        found["asked"] = sum(layer.count for layer in health.layers if "dead" in layer.units)
        row[state] = found
        row["layers"] = len(health.layers)
    row["seconds"] = round(time.process_time() - started, 1)
    return row


def table(rows: Mapping[str, dict[str, Any]]) -> list[str]:
    """For people."""
    lines = [
        "| network | images | layers | units | judged units | called dead | of them living | worn: called dead | "
        "of them living | living units that the judge saw |",
        "|:--|:--|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    sums = [0] * 6
    for name, row in rows.items():
        if "failed" in row:
            lines.append(f"| {name} | | | | {row['failed']} | | | | | |")
            continue
        new, worn = row["as it is"], row["worn"]
        wrong = [_wrong(each) for each in (new, worn)]
        numbers = [new["asked"], new["dead"], len(new["wrong"]), worn["dead"], len(worn["wrong"])]
        seen = new["living_seen"] + worn["living_seen"]
        asked = new["living_asked"] + worn["living_asked"]
        sums = [a + b for a, b in zip(sums, [new["units"], *numbers], strict=True)]
        size = "x".join(map(str, row["input"]))
        shown = [numbers[0], numbers[1], wrong[0], numbers[3], wrong[1]]
        cells = [name, size, row["layers"], new["units"], *shown, f"{seen}/{asked}"]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    told = [row for row in rows.values() if "failed" not in row]
    seen = sum(row[each]["living_seen"] for row in told for each in STATES)
    asked = sum(row[each]["living_asked"] for row in told for each in STATES)
    cells = [f"**{len(told)} networks**", "", "", *sums, f"{seen}/{asked}"]
    lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


def _wrong(found: Mapping[str, Any]) -> str:
    """How many, and how many are left where `inspect` runs the network in float64 as the judge does."""
    count = str(len(found["wrong"]))
    again = found.get("wrong_in_double")
    return count if again is None else f"{count}; {len(again)} if looked at in float64"


def main() -> int:
    """Judge what is named, or what has no line yet."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="such as timm/resnet10t")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # theirs, of old names and default values
    file = None if given.out is None else given.out / "summary.json"
    rows: dict[str, dict[str, Any]] = {}
    if file is not None and file.is_file():
        rows = json.loads(file.read_text())["rows"]
    for name in given.names or [each for each in every_name() if each not in rows]:
        try:
            rows[name] = measure(name)
        except Exception as error:  # of one network: the others are judged all the same
            rows[name] = {"name": name, "failed": f"{type(error).__name__}: {str(error)[:200]}"}
        row = rows[name]
        said = row.get("failed") or [row[each] for each in STATES]
        print(f"{name}: {said} {row.get('seconds', '')}", flush=True)
        rows = {each: rows[each] for each in (*every_name(), *rows) if each in rows}
        if given.out is not None:
            write_results(given.out, {"rows": rows}, table(rows))
    rows = {each: rows[each] for each in (*every_name(), *rows) if each in rows}
    if given.out is not None:
        write_results(given.out, {"rows": rows}, table(rows))
    print("\n".join(table(rows)))
    told = [row for row in rows.values() if "failed" not in row]
    found = [row[each] for row in told for each in STATES]
    return int(any(each.get("wrong_in_double", each["wrong"]) for each in found))


if __name__ == "__main__":
    sys.exit(main())
