"""Networks with the symptom that an advice is about, and how it is followed. Used by `inspect_advice.py`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from advice_training import Stream, Training, craters
from torch import Tensor, nn

import regrow
from regrow.health import Health
from regrow.lab.data.dataset import Dataset
from regrow.lab.data.registry import load
from regrow.lab.models.registry import build

Follow = Callable[[Training], None]


@dataclass(frozen=True, kw_only=True)
class Situation:
    """A kind of network, at the point at which it is looked at.

    Attributes:
        rule: The advice that is to be given there.
        words: Network and data.
        data: The images; None: they are not here.
        made: The training at that point, from its data and a seed.
        shown: What of the symptom is told, in words, and how it is read.
        follow: What the advice says, done; None: to leave the network alone.
        instead: Where the advice is to leave it alone: what one might do, in words, and that.
        probe: Steps of the fresh-probe gap in each look.
        seeds: How many networks.
        chance: Whether failure is at chance.
    """

    rule: str
    words: str
    data: Callable[[], Dataset | None]
    made: Callable[[Dataset, int], Training]
    shown: tuple[str, Callable[[Health], float]]
    follow: Follow | None = None
    instead: tuple[str, Follow] | None = None
    probe: int = 0
    seeds: int = 16
    chance: bool = True


def _crater_net(
    lr: float,
    *,
    filters: int,
    dense: int,
    epochs: int,
    before: int = 0,
    init: str = "kaiming_normal",
    hurt: Callable[[nn.Module], None] | None = None,
) -> Callable[[Dataset, int], Training]:
    def made(data: Dataset, seed: int) -> Training:
        settings = {"filters": filters, "dense": dense, "init": init}
        model = build("cratercnn", settings=settings, seed=seed, **data.sizes)
        if hurt is not None:
            with torch.no_grad():
                hurt(model)
        optimizer = torch.optim.SGD(model.parameters(), lr=lr)
        found = Training(model, optimizer, data, seed=seed, epochs=epochs)
        found.train(before)
        return found

    return made


def _plateau(data: Dataset, seed: int) -> Training:
    settings = {"filters": 4, "dense": 16, "init": "uniform:0.01"}
    model = build("cratercnn", settings=settings, seed=seed, **data.sizes)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    return Training(model, optimizer, data, seed=seed, epochs=40, summed=True)


def _convnet(width: int) -> Callable[[Dataset, int], Training]:
    def made(data: Dataset, seed: int) -> Training:
        model = build("convnet", settings={"depth": 3, "width": width}, seed=seed, **data.sizes)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
        found = Training(model, optimizer, data, seed=seed, epochs=30)
        found.batch_size = 32
        return found

    return made


def _repeating(data: Dataset, seed: int) -> Training:
    """Half of the first layer's filters look like the other half, but for a little noise, and are read otherwise."""
    found = _convnet(16)(data, seed)
    first = next(each for each in found.model.modules() if isinstance(each, nn.Conv2d))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        noise = torch.randn(first.weight[8:].shape, generator=generator)
        first.weight[8:] = first.weight[:8] + 0.05 * first.weight.std() * noise
    return found


def _blown_up(data: Dataset, seed: int) -> Training:
    """Three epochs at a rate that is too high."""
    return _crater_net(0.5, filters=8, dense=32, epochs=20, before=3)(data, seed)


def _again(training: Training) -> None:
    """The same network from its start, for as many epochs, as the advice says: scaled, and with shorter steps."""
    for module in training.model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    training.optimizer.state.clear()
    _scaled_and_clipped(training)


def _scaled_and_clipped(training: Training) -> None:
    training.follow("blown_up")
    training.follow_each_step("shorten_steps")


def _too_large(model: nn.Module) -> None:
    for name in ("conv2.weight", "dense.weight"):
        model.get_parameter(name).mul_(20.0)


class Residual(nn.Module):
    """A stem, three residual blocks whose last norm begins with a scale of 0, a head."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width))
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
                nn.Conv2d(width, width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width),
            )
            for _ in range(3)
        )
        self.head = nn.Linear(width, 10)
        for norm in self.last_norms():
            nn.init.zeros_(norm.weight)

    def last_norms(self) -> list[nn.BatchNorm2d]:
        """Those that begin at 0."""
        return [block[-1] for block in self.blocks]  # pyright: ignore[reportIndexIssue]

    def forward(self, x: Tensor) -> Tensor:
        """Images to logits."""
        x = self.stem(x).relu()
        for block in self.blocks:
            x = (x + block(x)).relu()
        return self.head(x.mean((2, 3)))


def _residual(data: Dataset, seed: int) -> Training:
    torch.manual_seed(seed)
    model = Residual()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    found = Training(model, optimizer, data, seed=seed, epochs=30)
    with torch.no_grad():  # norms count the images, as the first steps of a training would let them
        for _ in range(20):
            model(data.x_train[:256])
    return found


def _ones(training: Training) -> None:
    assert isinstance(training.model, Residual)
    for norm in training.model.last_norms():
        nn.init.ones_(norm.weight)


def _aged(data: Dataset, seed: int) -> Training:
    """A small network that has learnt five tasks of random labels."""
    settings = {"width": 32, "init": "kaiming_uniform"}
    model = build("mlp", settings=settings, seed=seed, **data.sizes)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    found = Stream(model, optimizer, data, seed=seed, images=60, tasks=5, epochs=10)
    found.go_through(5)
    return found


def _repr(training: Training) -> None:
    regrow.attach(
        regrow.RePr(s1=6, s2=3, cycles=3),
        training.model,
        training.optimizer,
        example_inputs=training.x[:32],
        steps_per_epoch=training.steps_per_epoch,
        total_steps=training.epochs * training.steps_per_epoch,
    )


def _share(measure: str, layer: int | None = None) -> Callable[[Health], float]:
    def read(health: Health) -> float:
        found = health.share(measure) if layer is None else health.layers[layer].share(measure)
        return 100 * (found or 0.0)

    return read


def _most(number: str, pick: Callable[[list[float]], float]) -> Callable[[Health], float]:
    def read(health: Health) -> float:
        found = [
            layer.numbers[number]
            for layer in health.layers
            if number in layer.numbers and not (number == "gain" and layer.settled)
        ]
        return pick(found) if found else math.nan

    return read


_LARGEST_STEP = ("longest step by its weight", _most("step", max))
_LARGEST_GAIN = ("largest gain", _most("gain", max))
_DEAD = ("dead (% of units)", _share("dead"))


def _unit() -> Dataset | None:
    return craters("unit")


def _standard() -> Dataset | None:
    return craters("standard")


def _digits() -> Dataset:
    return load("digits")


def _line(key: str) -> Follow:
    return lambda training: training.follow(key)


def _each_step(key: str) -> Follow:
    return lambda training: training.follow_each_step(key)


SITUATIONS: dict[str, Situation] = {
    "shifted": Situation(
        rule="standardise",
        words="2 filters a layer, craters in [0, 1], rate 0.1, not trained yet",
        data=_unit,
        made=_crater_net(0.1, filters=2, dense=16, epochs=40),
        shown=("mean by spread of the inputs", lambda health: health.input_shift or 0.0),
        follow=Training.standardise,
    ),
    "shifted-wide": Situation(
        rule="standardise",
        words="16 filters a layer, craters in [0, 1], rate 0.1, not trained yet",
        data=_unit,
        made=_crater_net(0.1, filters=16, dense=64, epochs=40),
        shown=("mean by spread of the inputs", lambda health: health.input_shift or 0.0),
        follow=Training.standardise,
    ),
    "born-dead": Situation(
        rule="renew_dead",
        words="2 filters a layer, craters in [0, 1], rate 0.1, after 1 epoch",
        data=_unit,
        made=_crater_net(0.1, filters=2, dense=16, epochs=40, before=1),
        shown=_DEAD,
        follow=_line("renew_dead"),
    ),
    "few-dead": Situation(
        rule="renew_dead",
        words="16 filters a layer, standardised craters, rate 0.1, after 5 epochs: trains as it is",
        data=_standard,
        made=_crater_net(0.1, filters=16, dense=64, epochs=35, before=5),
        shown=_DEAD,
        follow=_line("renew_dead"),
    ),
    "edge": Situation(
        rule="shorten_steps",
        words="8 filters a layer, standardised craters, rate 0.5, not trained yet",
        data=_standard,
        made=_crater_net(0.5, filters=8, dense=32, epochs=20),
        shown=_LARGEST_STEP,
        follow=_each_step("shorten_steps"),
    ),
    "begins-large": Situation(
        rule="blown_up",
        words="8 filters a layer, two layers drawn 20 times too large, standardised craters, rate 0.05",
        data=_standard,
        made=_crater_net(0.05, filters=8, dense=32, epochs=20, hurt=_too_large),
        shown=_LARGEST_GAIN,
        follow=_scaled_and_clipped,
    ),
    "blown-up": Situation(
        rule="blown_up",
        words="8 filters a layer, standardised craters, after 3 epochs at rate 0.5; followed: started again",
        data=_standard,
        made=_blown_up,
        shown=_LARGEST_GAIN,
        follow=_again,
    ),
    "fading": Situation(
        rule="fading",
        words="4 filters a layer, drawn within 0.01, craters in [0, 1], Adam, summed loss, not trained yet",
        data=_unit,
        made=_plateau,
        shown=("smallest gain", _most("gain", min)),
        follow=_line("fading"),
        seeds=12,
    ),
    "repeats": Situation(
        rule="first_layer_repeats",
        words="3 convolutions of 16, digits, half of the first layer copied from the other half",
        data=_digits,
        made=_repeating,
        shown=("duplicates in the first layer (%)", _share("duplicate", 0)),
        instead=("RePr", _repr),
        seeds=6,
    ),
    "aged": Situation(
        rule="plasticity",
        words="2 dense layers of 32, 60 digits, after 5 tasks of random labels; 5 more follow",
        data=_digits,
        made=_aged,
        shown=("fresh-probe gap (loss)", lambda health: health.probe_gap or 0.0),
        follow=_line("plasticity"),
        probe=100,
        chance=False,
    ),
    "zeros": Situation(
        rule="begins_at_zero",
        words="3 residual blocks whose last norm begins at 0, digits, not trained yet",
        data=_digits,
        made=_residual,
        shown=("zero by construction (% of units)", _share("zero_by_construction")),
        instead=("scales set to 1", _ones),
        seeds=6,
    ),
    "healthy": Situation(
        rule="nothing",
        words="3 convolutions of 16, digits, not trained yet",
        data=_digits,
        made=_convnet(16),
        shown=("symptoms", lambda health: float(len(health.symptoms))),
        instead=("KeepAlive", _line("renew_dead")),
        seeds=8,
    ),
}
