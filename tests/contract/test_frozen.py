"""What nobody trains keeps its bits, in every recipe; and it is asked when it is written, not at attach.

The right values need no regrow: a frozen tensor is what it was when it was frozen, bit for bit.
"""

from __future__ import annotations

import copy
import io
import math
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

import regrow
from contract.partner_rows import EACH as EACH_PARTNER
from contract.partner_rows import VARIANTS as PARTNER_VARIANTS
from contract.rows import DATA, EACH, FEW, SAMPLE, VARIANTS
from crossed import crossed, seldom
from partners.nets import Plain, copies, step_of
from regrow.errors import ConfigError, NoEffectWarning
from traced import attach_partners_traced, attach_traced

EXAMPLE = torch.zeros(2, 1, 8, 8)
STEPS = 13
EARLY = 2
"""A step before the first at which any recipe acts."""

DROPPING = [name for name, row in VARIANTS.items() if row.make(**row.acts).drop]
EACH_DROPPING = [each for each in EACH if each.values[0] in DROPPING]
WAITING = seldom(
    VARIANTS, often=("randomout", "keepalive, centred", "repr by activations", "random")
)
"""One of each kind; the control says beforehand which layers it needs."""

Cnn = Callable[[int], nn.Module]
Batches = Callable[[int], list[tuple[Tensor, Tensor]]]
WAYS = ("no gradient", "a gradient of zeros", "a rate of 0", "out of the optimizer")
"""How a tensor is frozen. Gradients of zeros: its last gradient was zeroed, and not set to None."""

PARTS = {
    "a layer": ("0.weight", "0.bias"),
    "what surrounds the layers": ("1.weight", "1.bias", "3.bias", "6.weight", "6.bias"),
}


def _ways(crossed_with_ways: list[Any]) -> list[Any]:
    """A ranking decides only who is dropped: one way for each of those that are slow."""
    number, which = list(VARIANTS).index, WAYS.index
    return [
        each
        for each in crossed_with_ways
        for name, way in [each.values[:2]]
        if not (name.startswith("repr by") and each.marks) or number(name) % len(WAYS) == which(way)
    ]


@dataclass
class Loop:
    """A training in which tensors are frozen and unfrozen: each lies in a group of its own."""

    model: nn.Module
    way: str = "no gradient"
    momentum: float = 0.0
    told: dict[str, Any] = field(default_factory=dict)
    regrower: regrow.Regrower | None = None
    step: int = 0

    def __post_init__(self) -> None:
        self.named = dict(self.model.named_parameters())
        self.optimizer = torch.optim.SGD(
            [{"params": [each]} for each in self.named.values()], lr=0.05, momentum=self.momentum
        )
        self.stepped: dict[str, Tensor] = {}
        # Hooks run in the order of their registration: this one before the recipe's.
        self.optimizer.register_step_post_hook(lambda *_: self.stepped.update(self.values()))
        self._left: dict[str, dict[str, Any]] = {}

    def attach(self, name: str, **settings: Any) -> Loop:
        row = VARIANTS[name]
        self.regrower = attach_traced(
            row.make(**{**row.acts, **settings}),
            self.model,
            self.optimizer,
            example_inputs=EXAMPLE,
            total_steps=20,
            steps_per_epoch=5,
            **DATA,
            **self.told,
        )
        return self

    @property
    def report(self) -> regrow.Report:
        assert self.regrower is not None
        return self.regrower.report

    @property
    def renewed(self) -> set[str]:
        return {event.layer for event in self.report.events}

    def freeze(self, names: Iterable[str]) -> None:
        groups = self.optimizer.param_groups
        for name in names:
            own = self.named[name]
            mine = next(group for group in groups if group["params"][0] is own)
            if self.way == "a rate of 0":
                mine["lr"] = 0.0
            elif self.way == "out of the optimizer":
                self._left[name] = mine
                groups[:] = [group for group in groups if group is not mine]
            else:
                own.requires_grad = False

    def unfreeze(self, names: Iterable[str]) -> None:
        for name in names:
            self.named[name].requires_grad = True
            if name in self._left:
                self.optimizer.add_param_group({"params": self._left.pop(name)["params"]})
        for group in self.optimizer.param_groups:
            group["lr"] = 0.05

    def train(self, batches: Batches, steps: int, *, each: Callable[[], object] = int) -> Loop:
        for images, labels in batches(STEPS)[self.step : self.step + steps]:
            self.optimizer.zero_grad(set_to_none=self.way != "a gradient of zeros")
            F.cross_entropy(self.model(images), labels).backward()
            self.optimizer.step()
            self.step += 1
            each()
        return self

    def values(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self.model.state_dict().items()}


def _moved(first: dict[str, Tensor], second: dict[str, Tensor], names: Iterable[str]) -> list[str]:
    """Those that have not the same bits."""
    return [name for name in names if not torch.equal(first[name], second[name])]


@pytest.mark.parametrize(("name", "way", "part"), _ways(crossed(SAMPLE, WAYS, PARTS)))
def test_frozen_after_attach_it_keeps_its_bits(
    name: str, part: str, way: str, small_cnn: Cnn, batches: Batches
) -> None:
    remembers = way in {"no gradient", "out of the optimizer"}  # else torch's own step moves memory
    loop = Loop(small_cnn(0), way, momentum=0.9 if remembers else 0.0).attach(name)
    loop.train(batches, EARLY)
    loop.model[1].eval()  # type: ignore[index] # or the passes move its statistics
    loop.freeze(PARTS[part])
    statistics = ("1.running_mean", "1.running_var") if "1.bias" in PARTS[part] else ()
    frozen = (*PARTS[part], *statistics)
    before = loop.values()
    memory = copy.deepcopy([loop.optimizer.state[loop.named[each]] for each in PARTS[part]])

    def unmoved() -> None:
        assert not _moved(before, loop.values(), frozen)

    loop.train(batches, STEPS - EARLY, each=unmoved)
    if remembers:
        for one, each in zip(memory, PARTS[part], strict=True):
            kept = loop.optimizer.state[loop.named[each]]["momentum_buffer"]
            assert torch.equal(kept, one["momentum_buffer"])
    # What is trained goes on. A filter that is dropped must not be heard by a reader that cannot be silenced.
    assert loop.report.renewed
    if part == "a layer":
        assert loop.renewed == {"3"}
    elif name in DROPPING:
        assert loop.renewed == {"0"}


@pytest.mark.parametrize(("name", "way"), crossed(WAITING, ["no gradient", "out of the optimizer"]))
def test_frozen_at_attach_it_is_noted_and_watched_from_when_it_is_not(
    name: str, way: str, small_cnn: Cnn, batches: Batches
) -> None:
    loop = Loop(small_cnn(0), way)
    loop.freeze(PARTS["a layer"])
    before = loop.values()
    # So large a share that some of it must be of the other layer.
    loop.attach(name, **({"fraction": 0.6} if name in DROPPING else {}))
    assert "not trained now, and watched from the step in which they are: 0" in loop.report.notes, (
        loop.report.notes
    )
    loop.train(batches, EARLY)
    assert list(loop.report.layers) == ["3"]
    assert not _moved(before, loop.values(), PARTS["a layer"])
    loop.unfreeze(PARTS["a layer"])
    loop.train(batches, STEPS - EARLY)
    assert loop.report.layers == {"0": 4, "3": 6}
    assert {"0", "3"} <= loop.renewed | set(loop.report.resting)


@pytest.mark.parametrize("name", EACH_DROPPING)
def test_a_share_of_the_network_is_one_of_what_is_trained(
    name: str, small_cnn: Cnn, batches: Batches
) -> None:
    """0.3 of 10 filters are 3; of the 6 of one layer, 1."""
    counts: list[int] = []
    for frozen in ((), PARTS["a layer"]):
        loop = Loop(small_cnn(0))
        loop.freeze(frozen)
        loop.attach(name).train(batches, 4)
        counts.append(sum(map(len, loop.report.resting.values())))
    assert counts == [3, 1]


@pytest.mark.parametrize(("name", "way"), _ways(crossed(EACH_DROPPING, WAYS)))
def test_what_is_frozen_while_it_is_out_comes_back_as_it_was(
    name: str, way: str, small_cnn: Cnn, batches: Batches
) -> None:
    """Not drawn anew, for it would not be trained; and not left at 0."""
    loop = Loop(small_cnn(0), way).attach(name, fraction=0.6)
    loop.train(batches, 3)
    assert not loop.report.resting
    loop.train(batches, 1)
    assert set(loop.report.resting) == {"0", "3"}
    gone = list(loop.report.resting["3"])
    was = {each: value.clone() for each, value in loop.stepped.items()}
    loop.freeze(("3.weight", "3.bias"))
    loop.train(batches, 3)
    assert not loop.report.resting
    assert loop.renewed == {"0"}
    assert was["3.weight"][gone].any()
    assert not _moved(was, loop.values(), ("3.weight", "3.bias"))
    # Whoever is unfrozen later is renewed as everybody.
    loop.unfreeze(("3.weight", "3.bias"))
    loop.train(batches, STEPS - loop.step)
    assert set(loop.report.resting) == {"0", "3"}


CHANGED_READERS: dict[str, dict[str, Any]] = {
    "zero": {"readers": "zero"},
    "redraw": {"readers": "redraw"},
    "preserve": {"preserve": True},
}


@pytest.mark.parametrize(
    ("name", "renewal"), crossed(["randomout", "randomout by silence"], CHANGED_READERS)
)
def test_a_layer_waits_for_a_frozen_reader_that_must_change_with_it(
    name: str, renewal: str, small_cnn: Cnn, batches: Batches
) -> None:
    """Else it would be cut off for ever, dead again, and drawn anew again and again."""
    loop = Loop(small_cnn(0)).attach(name, **CHANGED_READERS[renewal])
    before = loop.values()
    loop.freeze(("6.weight", "6.bias"))
    loop.train(batches, 6)
    assert loop.renewed == {"0"}
    assert not _moved(before, loop.values(), ("6.weight", "6.bias"))
    loop.unfreeze(("6.weight", "6.bias"))
    loop.train(batches, STEPS - 6)
    assert loop.renewed == {"0", "3"}


@pytest.mark.parametrize("name", FEW)
def test_interrupted_while_a_layer_is_frozen(name: str, small_cnn: Cnn, batches: Batches) -> None:
    """The state knows the layers that wait; who is frozen then, the loop says itself."""

    def run(loop: Loop, start: int, end: int) -> Loop:
        for step in range(start, end):
            if step == 8:
                loop.unfreeze(PARTS["a layer"])
            loop.train(batches, 1)
        return loop

    def begin(seed: int) -> Loop:
        loop = Loop(small_cnn(seed), momentum=0.9)
        loop.freeze(PARTS["a layer"])
        return loop.attach(name)

    whole = run(begin(0), 0, STEPS)
    first = run(begin(0), 0, 6)
    assert first.regrower is not None
    file = io.BytesIO()
    torch.save([each.state_dict() for each in (first.model, first.optimizer, first.regrower)], file)
    file.seek(0)
    second = begin(1)
    assert second.regrower is not None
    second.step = 6
    parts = (second.model, second.optimizer, second.regrower)
    for part, state in zip(parts, torch.load(file, weights_only=True), strict=True):
        part.load_state_dict(state)
    run(second, 6, STEPS)
    assert not _moved(whole.values(), second.values(), whole.values())
    assert whole.report.events == second.report.events
    assert whole.report.layers == second.report.layers == {"0": 4, "3": 6}


@pytest.mark.parametrize("make", [torch.optim.AdamW, torch.optim.NAdam, torch.optim.SGD])
def test_renewed_filters_that_leave_the_optimizer(
    make: Any, small_cnn: Cnn, batches: Batches
) -> None:
    """They are young, and nobody steps them any more: the training goes on."""
    model = small_cnn(0)
    options: dict[str, Any] = {"momentum": 0.9, "dampening": 0.5} if make is torch.optim.SGD else {}
    optimizer = make([{"params": [each]} for each in model.parameters()], lr=0.01, **options)
    recipe = VARIANTS["random"].make(**VARIANTS["random"].acts)
    regrower = attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE, total_steps=20)
    for step, (images, labels) in enumerate(batches(10)):
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        if step == 7:
            assert regrower.report.renewed
            del optimizer.param_groups[0]
        before = model[0].weight.detach().clone()  # type: ignore[index]
        optimizer.step()
        assert torch.equal(before, model[0].weight) == (step >= 7)  # type: ignore[index]


class Bare(nn.Module):
    """A convolution that does not say how it is drawn, nor remember what it was made with."""

    def __init__(self, filters: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(filters, 1, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        """The maps."""
        return F.conv2d(x, self.weight)


def _unknown() -> nn.Sequential:
    return nn.Sequential(
        Bare(4), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(96, 3)
    )


def test_a_frozen_layer_needs_no_initialiser() -> None:
    model = _unknown()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recipe = regrow.RandomOut(active_fraction=1.0)
    with pytest.raises(ConfigError, match="its initialiser is not known"):
        attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE)
    model[0].requires_grad_(requires_grad=False)
    regrower = attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE)
    assert regrower.report.layers == {"2": 6}
    assert any(
        note.startswith("0: left alone, also when it is unfrozen, for Bare has no")
        for note in regrower.report.notes
    )


def test_nothing_is_trained_yet(small_cnn: Cnn, batches: Batches) -> None:
    """Frozen layers may be unfrozen; what would learn and is in no optimizer is a mistake."""
    recipe = regrow.RandomOut(confirm="gradient", threshold=1e9, active_fraction=1.0)
    model = small_cnn(0)
    head = torch.optim.SGD(model[6].parameters(), lr=0.1)  # type: ignore[index]
    with pytest.raises(
        ConfigError, match="trains none of 0, 3: give the optimizer that holds them"
    ):
        attach_traced(recipe, model, head, example_inputs=EXAMPLE)
    for layer in (0, 1, 3):
        model[layer].requires_grad_(requires_grad=False)  # type: ignore[index]
    with pytest.warns(NoEffectWarning, match="nothing happens before one of 0, 3 is"):
        regrower = attach_traced(recipe, model, head, example_inputs=EXAMPLE)
    images, labels = batches(1)[0]

    def step() -> None:
        head.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        head.step()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        step()
    assert regrower.report.layers == {}
    model[3].requires_grad_(requires_grad=True)  # type: ignore[index]
    head.add_param_group({"params": list(model[3].parameters())})  # type: ignore[index]
    step()
    assert {event.layer for event in regrower.report.events} == {"3"}


def test_rates_of_0(small_cnn: Cnn, batches: Batches) -> None:
    """Of one group they freeze it, as when a head warms up alone; of all groups the training rests."""
    found: list[list[set[str]]] = []
    for others in (0.0, 0.1):
        model, seen = small_cnn(0), list[set[str]]()
        groups = [{"params": list(each.parameters())} for each in model.children()]
        optimizer = torch.optim.SGD([each for each in groups if each["params"]], lr=0.0)
        optimizer.param_groups[-1]["lr"] = others
        recipe = regrow.RandomOut(confirm="gradient", threshold=1e9, active_fraction=1.0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NoEffectWarning)
            regrower = attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE)
        for images, labels in batches(3):
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()
            seen.append({event.layer for event in regrower.report.events})
            for group in optimizer.param_groups[:-1]:
                group["lr"] = 0.1
        found.append(seen)
    assert found == [[{"0", "3"}] * 3, [set(), {"0", "3"}, {"0", "3"}]]


class Sum(nn.Module):
    """Two layers that write into one stream."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 4, 3), nn.Conv2d(1, 4, 3)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores."""
        return self.head((self.a(x) + self.b(x)).relu().mean((2, 3)))


@pytest.mark.parametrize("when", ["at attach", "later"])
def test_a_stream_waits_for_all_of_its_writers(when: str, batches: Batches) -> None:
    model = Sum()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.a.requires_grad_(requires_grad=when == "later")
    recipe = regrow.RandomOut(confirm="gradient", threshold=1e9, active_fraction=1.0)
    regrower = attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE, coupled="stream")
    told = "b: 4 of 4 filters are not renewed before a can be, which write into their stream too"
    assert (told in regrower.report.notes) == (when == "at attach")
    model.a.requires_grad_(requires_grad=False)
    images, labels = batches(1)[0]
    for trained in (False, True):
        model.a.requires_grad_(requires_grad=trained)
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
        assert {event.layer for event in regrower.report.events} == (
            {"a", "b"} if trained else set()
        )


NETWORKS, EPOCH = 2, 2
PARTNER_PARTS: dict[tuple[str, ...], tuple[str, ...]] = {
    # With a layer's weight all that belongs to its filters.
    ("conv1.weight",): ("conv1.weight", "conv1.bias", "bn1.weight", "bn1.bias", "bn1.running_mean"),
    ("bn2.weight", "bn2.bias"): ("bn2.weight", "bn2.bias", "bn2.running_mean", "bn2.running_var"),
    ("conv1.bias", "head.weight"): ("conv1.bias", "head.weight", "head.bias"),
}


@pytest.mark.parametrize(
    ("name", "frozen", "way"),
    crossed(EACH_PARTNER, PARTNER_PARTS, ["no gradient", "a rate of 0", "out of the optimizer"]),
)
def test_partners_leave_alone_what_is_frozen(name: str, frozen: tuple[str, ...], way: str) -> None:
    """The graft itself: what the optimizer's step has left is compared with what the graft leaves."""
    row = PARTNER_VARIANTS[name]
    models = [Plain() for _ in range(NETWORKS)]
    loops = [Loop(model, way) for model in models]
    grafter = attach_partners_traced(
        row.make(**{**row.acts, "partners": NETWORKS}),
        models,
        [loop.optimizer for loop in loops],
        example_inputs=EXAMPLE,
        steps_per_epoch=EPOCH,
    )
    for step in range(EPOCH):
        if step == EPOCH - 1:
            loops[0].freeze(frozen)
        for k in range(NETWORKS):
            step_of(models[k], loops[k].optimizer, step, network=k)
    assert grafter.report.grafts == 1
    now, kept = copies(models[0]), PARTNER_PARTS[frozen]
    if name == "grafting as released":  # there every tensor whose name has 'conv' goes by itself
        kept = frozen
    assert not _moved(loops[0].stepped, now, kept)
    moved = _moved(loops[0].stepped, now, [each for each in now if each not in kept])
    assert {"conv2.weight"} <= set(moved)
    assert set(_moved(loops[1].stepped, copies(models[1]), frozen)) == set(frozen)
    shares = {event.layer: event.share for event in grafter.report.events if event.partner == 0}
    for unit, share in shares.items():
        weight = unit if unit.endswith("weight") else f"{unit}.weight"
        if weight in frozen:
            assert math.isnan(share)  # left alone
