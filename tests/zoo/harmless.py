"""Real architectures as they come, with scales or gates that begin at zero: what RandomOut does to them in 30 steps.

Images are crops of scikit-learn's two photographs. One filter is killed by hand before training: its weight is 0, and
its bias or the shift of its norm -100, in front of an activation that gives a constant then. Nobody else is dead.
"""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

import regrow
from regrow.graph import Filters, Reader, Wiring
from regrow.graph.undisturbed import undisturbed

NAMES: Final = (
    *("resnet10t", "seresnet18", "regnetx_002", "nf_resnet26", "convnext_atto", "convnextv2_atto"),
    *("edgenext_xx_small", "poolformer_s12", "repvit_m0_9", "gernet_s", "inception_next_atto"),
    "cait_xxs24_224",
)
"""With zero-initialised norm scales or gains, LayerScale or GRN at or near 0."""

OPTIMIZERS: Final = ("sgd", "adamw")
STEPS: Final = 30
BATCH: Final = 32
SIZE: Final = 64


@dataclass(frozen=True, kw_only=True)
class Found:
    """What was done to one network.

    Attributes:
        filters: How many were watched.
        killed: Layer and filter that were killed by hand; None where there is no place for it.
        found_after: Steps until it was renewed; None where it was not.
        living: Renewals of filters that gave two values or more on the training images.
        silent: Renewals of others that did not: the hidden units of a squeeze-and-excitation behind a scale of 0, say.
        notes: Lines of the report on filters that are left alone.
    """

    filters: int
    killed: tuple[str, int] | None
    found_after: int | None
    living: int
    silent: int
    notes: tuple[str, ...]


def photographs(count: int, *, size: int = SIZE, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Crops of two photographs, and which side of which of them each is from: four classes."""
    from sklearn.datasets import load_sample_images  # only where it is needed

    generator = torch.Generator().manual_seed(seed)
    pictures = [
        torch.tensor(each).permute(2, 0, 1) / 255 - 0.5 for each in load_sample_images().images
    ]
    images, labels = [], []
    for _ in range(count):
        which = int(torch.randint(2, (), generator=generator))
        _, height, width = pictures[which].shape
        top = int(torch.randint(height - size, (), generator=generator))
        left = int(torch.randint(width - size, (), generator=generator))
        images.append(pictures[which][:, top : top + size, left : left + size])
        labels.append(2 * which + int(left > (width - size) / 2))
    return torch.stack(images), torch.tensor(labels)


def build(name: str, *, seed: int = 0) -> nn.Module:
    """A network of timm's as it comes, with four classes."""
    import timm  # only where it is installed

    torch.manual_seed(seed)
    options = {"img_size": SIZE} if name.startswith("cait") else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return timm.create_model(name, pretrained=False, num_classes=4, **options)


def run(name: str, optimizer: str, *, steps: int = STEPS, size: int = SIZE) -> Found:
    """Train a network with RandomOut as it is by default.

    Args:
        name: One of `NAMES`.
        optimizer: One of `OPTIMIZERS`.
        steps: How long.
        size: Height and width of the images.

    Returns:
        What was done.
    """
    model = build(name).train()
    images, labels = photographs(BATCH * steps, size=size)
    example = images[:2]
    wiring = regrow.trace(model, example)
    killed = kill(model, wiring, images[:4])
    made: torch.optim.Optimizer = (
        torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        if optimizer == "sgd"
        else torch.optim.AdamW(model.parameters(), lr=1e-3)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", regrow.errors.RegrowWarning)
        regrower = regrow.attach(
            regrow.RandomOut(active_fraction=1.0),
            model,
            made,
            example_inputs=example,
            layers=("conv", "linear"),
        )
        states: dict[int, dict[str, Tensor]] = {}
        for step, (x, y) in enumerate(zip(images.split(BATCH), labels.split(BATCH), strict=True)):
            made.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            before = {key: value.clone() for key, value in model.state_dict().items()}
            made.step()
            if any(event.step == step for event in regrower.report.events):
                states[step] = before
    report = regrower.report
    renewed = [(event.step, event.layer, unit) for event in report.events for unit in event.filters]
    mine = [step + 1 for step, layer, unit in renewed if (layer, unit) == killed]
    others = [each for each in renewed if each[1:] != killed]
    living = sum(
        is_living(model, states[step], wiring[layer], unit, images[: 3 * BATCH])
        for step, layer, unit in others
    )
    return Found(
        filters=sum(report.layers.values()),
        killed=killed,
        found_after=mine[0] if mine else None,
        living=living,
        silent=len(others) - living,
        notes=tuple(line.strip() for line in str(report).splitlines() if "left alone in" in line),
    )


def kill(model: nn.Module, wiring: Wiring, images: Tensor) -> tuple[str, int] | None:
    """Kill one filter where that makes it silent: the first layer in which it does.

    Args:
        model: Written.
        wiring: Of it.
        images: On which it is looked at.

    Returns:
        Layer and filter.
    """
    tensors = dict(model.named_parameters())
    for layer in wiring.renewable(layers=("conv", "linear")):
        unit = layer.count // 2
        alone = layer.readers and all(all(reader.alone[unit]) for reader in layer.readers)
        if not alone or layer.refused or layer.mixed:
            continue
        shifts = [
            (norm.bias, norm.channels[unit])
            for norm in layer.norms
            if norm.bias and norm.channels[unit]
        ]
        shifts = shifts or ([(layer.bias, (unit,))] if layer.bias else [])
        if not shifts:
            continue
        names = (layer.weight, *(name for name, _ in shifts))
        before = {name: tensors[name].detach().clone() for name in names}
        with torch.no_grad():
            tensors[layer.weight][unit] = 0.0
            for name, channels in shifts:
                tensors[name][list(channels)] = -100.0
        if _is_silent(model, layer, unit, images):
            return layer.path, unit
        with torch.no_grad():
            for name, value in before.items():
                tensors[name].copy_(value)
    return None


def is_living(
    model: nn.Module, state: dict[str, Tensor], layer: Filters, unit: int, images: Tensor
) -> bool:
    """Whether a filter gives another value than its usual one to 2 % of some images, in float64 and training mode.

    It is read by hooks on its readers where it is alone in them, else behind its norm, else where it comes out.
    """
    twin = copy.deepcopy(model).double().train()
    twin.load_state_dict(state)
    for module in twin.modules():
        if "Drop" in type(module).__name__:
            module.eval()
    named = dict(twin.named_modules())
    heard: dict[str, list[Tensor]] = {}
    largest: dict[str, float] = {}

    def keep(place: str, x: Tensor, channels: tuple[int, ...], axis: int) -> None:
        values = x.detach().movedim(axis, 1)[:, list(channels)].flatten(1)
        heard.setdefault(place, []).append(values)
        largest[place] = max(largest.get(place, 0.0), float(x.detach().abs().amax()))

    alone = layer.readers and all(all(reader.alone[unit]) for reader in layer.readers)
    norms = [norm for norm in layer.norms if norm.channels[unit]]
    for reader in layer.readers if alone else ():
        axis = 1 if reader.kind == "conv" else -1
        named[reader.weight.rpartition(".")[0]].register_forward_pre_hook(
            lambda _, args, r=reader, a=axis: keep(r.path, args[0], r.channels[unit], a)
        )
    if not alone:
        place = norms[0].path if norms else layer.weight.rpartition(".")[0]
        channels = norms[0].channels[unit] if norms else (unit,)
        axis = 1 if norms or layer.kind == "conv" else -1
        named[place].register_forward_hook(lambda _, __, out: keep(place, out, channels, axis))
    with torch.no_grad():
        for part in images.double().split(BATCH):
            twin(part)
    return any(_differs(torch.cat(values), largest[place]) for place, values in heard.items())


def _differs(values: Tensor, largest: float) -> bool:
    usual = values.flatten().median()
    far = (values - usual).abs().amax(1) > 1e-6 * largest
    return bool(far.double().mean() >= 0.02)


def _is_silent(model: nn.Module, layer: Filters, unit: int, images: Tensor) -> bool:
    """Whether all that its readers get of a filter is 0, by hooks on them."""
    named = dict(model.named_modules())
    heard: list[bool] = []

    def hook(reader: Reader) -> object:
        def look(module: nn.Module, args: tuple[Tensor, ...]) -> None:
            axis = 1 if reader.kind == "conv" and args[0].ndim == 4 else -1
            heard.append(
                not bool(args[0].index_select(axis, torch.tensor(reader.channels[unit])).any())
            )

        return named[reader.weight.rpartition(".")[0]].register_forward_pre_hook(look)

    readers = [reader for reader in layer.readers if reader.weight.rpartition(".")[0] in named]
    handles = [hook(reader) for reader in readers]
    try:
        with undisturbed(model):
            model(images)
    finally:
        for handle in handles:
            handle.remove()  # type: ignore[attr-defined]
    return len(readers) == len(layer.readers) and bool(heard) and all(heard)
