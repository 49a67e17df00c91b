"""What somebody else uses too keeps its bits through every renewal of every recipe, and is said by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

import regrow
from contract import partner_rows
from contract.rows import BY_SILENCE, DATA, EACH, RECIPES, VARIANTS, RecipeRow
from crossed import crossed
from graph.nets import Forward
from regrow.graph import Wiring
from regrow.history import Renewed
from regrow.recipes import RandomControl

EXAMPLE = torch.zeros(2, 1, 8, 8)
STEPS = 8
Tail = Callable[[nn.Module, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A network in which somebody else uses a tensor that a renewal would write.

    Behind a stem come ``a`` and ``b``, three convolutions with ReLUs, and a linear layer.

    Attributes:
        tail: What is done with the stem's output.
        layers: More layers than those.
        tie: What is made one.
        kept: Names of the tensors that must stay, of those that a renewal in a network without ties would write.
        notes: What the report says: parts of its notes.
        watched: Layers that are renewed all the same.
        dropped: Of those, the ones that a recipe that drops may act on.
        only: Patterns of layers to act on.
    """

    tail: Tail
    kept: tuple[str, ...]
    notes: tuple[str, ...]
    watched: str = "stem a b"
    dropped: str = "stem a b"
    layers: Mapping[str, Callable[[], nn.Module]] = field(default_factory=dict)
    tie: Callable[[nn.Module], None] = lambda net: None
    only: tuple[str, ...] = ("*",)

    def build(self) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            net = Forward(
                lambda net, x: self.tail(net, F.relu(net.stem(x))),
                stem=nn.Conv2d(1, 4, 3, padding=1),
                a=nn.Conv2d(4, 4, 3, padding=1),
                b=nn.Conv2d(4, 4, 3, padding=1),
                head=nn.Linear(4, 3),
                **{name: make() for name, make in self.layers.items()},
            )
        self.tie(net)
        return net


def plain(net: nn.Module, x: Tensor) -> Tensor:
    return headed(net, net.b(F.relu(net.a(x))))


def headed(net: nn.Module, x: Tensor) -> Tensor:
    return net.head(F.relu(x).mean((2, 3)))


def tied(**names: str) -> Callable[[nn.Module], None]:
    """Parameters that are one from here on: ``b__bias="a.bias"``."""

    def tie(net: nn.Module) -> None:
        for there, here in names.items():
            owner, _, last = there.rpartition("__")
            setattr(net.get_submodule(owner), last, net.get_parameter(here))

    return tie


def in_one_memory(net: nn.Module) -> None:
    net.b.bias = nn.Parameter(net.a.bias.detach())


def with_numbers(*shape: int) -> Callable[[nn.Module], None]:
    def add(net: nn.Module) -> None:
        net.numbers = nn.Parameter(torch.linspace(-1.0, 1.0, torch.Size(shape).numel()).view(shape))

    return add


def two_biases(net: nn.Module, x: Tensor) -> Tensor:
    once = F.conv2d(x, net.a.weight, net.a.bias, padding=1)
    again = F.conv2d(2 * x, net.a.weight, net.numbers, padding=1)
    return headed(net, net.b(F.relu(once) + F.relu(again)))


def penalised(net: nn.Module, x: Tensor) -> Tensor:
    out = plain(net, x)
    return out + net.a.bias.square().sum() if net.training else out


def autoencoder(net: nn.Module, x: Tensor) -> Tensor:
    code = F.relu(net.b(F.relu(net.a(x))))
    back = F.conv_transpose2d(code, net.b.weight, padding=1)
    return net.head(code.mean((2, 3))) + back.mean((1, 2, 3))[:, None]


def and_back(net: nn.Module, x: Tensor) -> Tensor:
    code = F.relu(net.dense(F.relu(net.b(F.relu(net.a(x)))).mean((2, 3))))
    return net.head(code @ net.dense.weight)


def by_hand_too(net: nn.Module, x: Tensor) -> Tensor:
    x = F.relu(net.a(x))
    return headed(net, net.b(x) + F.conv2d(2 * x, net.b.weight, padding=1))


def classes(net: nn.Module, x: Tensor) -> Tensor:
    x = F.relu(net.b(F.relu(net.a(x)))).mean((2, 3))
    return F.linear(x, net.words.weight) + net.words(torch.arange(3)).sum(1)


def sine(x: Tensor) -> Tensor:
    return torch.arange(x[0].numel(), dtype=x.dtype).reshape(x.shape[1:]).sin()


NORMS = {"n": lambda: nn.BatchNorm2d(4), "m": lambda: nn.BatchNorm2d(4)}
BY_HAND = "the model's own forward"

KINDS: dict[str, Kind] = {
    "a bias of two layers": Kind(
        tail=plain,
        tie=tied(b__bias="a.bias"),
        kept=("a.bias",),
        notes=("a: a.bias kept, which is used by b too", "b: a.bias kept, which is used by a too"),
        dropped="stem",
    ),
    "two biases in one memory": Kind(
        tail=plain,
        tie=in_one_memory,
        kept=("a.bias", "b.bias"),
        notes=("a: a.bias kept, which is used by b too", "b: a.bias kept, which is used by a too"),
        dropped="stem",
    ),
    "one weight with two biases": Kind(
        tail=two_biases,
        tie=with_numbers(4),
        kept=("a.bias", "numbers"),
        notes=("a: kept what is added as its bias, a.bias and numbers",),
        dropped="stem b",
    ),
    "two norms with one scale and shift": Kind(
        tail=lambda net, x: headed(net, net.m(net.b(F.relu(net.n(net.a(x)))))),
        layers=NORMS,
        tie=tied(m__weight="n.weight", m__bias="n.bias"),
        kept=("n.weight", "n.bias"),
        notes=(
            "a: n.weight kept, which is used by m too",
            "b: n.bias kept, which is used by n too",
        ),
        dropped="stem",
    ),
    "a norm's shift that is a layer's bias": Kind(
        tail=lambda net, x: headed(net, net.b(F.relu(net.n(net.a(x))))),
        layers={"n": NORMS["n"]},
        tie=tied(n__bias="b.bias"),
        kept=("b.bias",),
        notes=("a: b.bias kept, which is used by b too", "b: b.bias kept, which is used by n too"),
        dropped="stem",
    ),
    "a bias that multiplies": Kind(
        tail=lambda net, x: headed(net, net.b(F.relu(net.a(x)) * net.a.bias.view(-1, 1, 1))),
        kept=("a.bias",),
        notes=(f"a: a.bias kept, which is used by mul in {BY_HAND} too",),
        dropped="stem b",
    ),
    "a bias under a penalty in training": Kind(
        tail=penalised,
        kept=("a.bias",),
        notes=(f"a: a.bias kept, which is used by pow in {BY_HAND} too",),
        dropped="stem b",
    ),
    "a bias in the output": Kind(
        tail=lambda net, x: torch.cat([plain(net, x), net.a.bias.expand(len(x), 4)], 1),
        kept=("a.bias",),
        notes=("a: a.bias kept, which is used by the model's output too",),
        dropped="stem b",
    ),
    "a reader that is transposed on the way back": Kind(
        tail=autoencoder,
        kept=("b.weight", "b.bias"),
        notes=(f"a: kept in b, whose weight is used by convolution in {BY_HAND} too",),
        watched="stem a",
        dropped="stem a",
    ),
    "a reader whose weight multiplies from the other side": Kind(
        tail=and_back,
        layers={"dense": lambda: nn.Linear(4, 4)},
        kept=("dense.weight", "dense.bias"),
        notes=(
            f"dense: left alone, its weight is used by mm in {BY_HAND} too",
            f"b: kept in dense, whose weight is used by mm in {BY_HAND} too",
        ),
    ),
    "a reader that is called by hand too": Kind(
        tail=by_hand_too,
        kept=("b.weight", "b.bias"),
        notes=(
            f"b: left alone, its weight is used by {BY_HAND} too",
            f"a: kept in b, whose weight is used by {BY_HAND} too",
        ),
        watched="stem a",
        dropped="stem a",
    ),
    "two layers with one weight": Kind(
        tail=lambda net, x: plain(net, F.relu(net.again(x))),
        layers={"again": lambda: nn.Conv2d(4, 4, 3, padding=1)},
        tie=tied(again__weight="a.weight"),
        kept=("a.weight", "a.bias", "again.bias"),
        notes=(
            "a: left alone, its weight is used by again too",
            "stem: kept in a, whose weight is used by again too",
        ),
        watched="stem b",
        dropped="stem b",
    ),
    "an embedding that is the output's weight": Kind(
        tail=classes,
        layers={"words": lambda: nn.Embedding(3, 4)},
        kept=("words.weight",),
        notes=("b: kept in words, whose weight is used by embedding in 'words' too",),
    ),
    "a table that the forward makes": Kind(
        tail=lambda net, x: headed(net, net.b(F.relu(net.a(x) + sine(x)))),
        kept=("b.weight", "b.bias"),
        notes=(),
        watched="a",
        dropped="a",
        only=("a",),
    ),
    "a table that is worked out from a parameter": Kind(
        tail=lambda net, x: headed(net, net.b(F.relu(net.a(x) + net.numbers.sin()))),
        tie=with_numbers(4, 8, 8),
        kept=("b.weight", "b.bias", "numbers"),
        notes=(),
        watched="a",
        dropped="a",
        only=("a",),
    ),
}


def _all_of_them(**settings: Any) -> RecipeRow:
    """RandomOut of every filter that it may touch."""
    always = {"threshold": 1e9, "confirm": "gradient", "active_fraction": 1.0, "every_steps": 3}
    return replace(RECIPES["randomout"], acts={**always, **settings})


EVERYTHING: dict[str, RecipeRow] = {
    "randomout of all": _all_of_them(),
    "randomout of all and their readers": _all_of_them(readers="redraw"),
    "randomout of all without their readers": _all_of_them(readers="zero"),
    "randomout of all, preserving": _all_of_them(preserve=True),
}
_REPR = RECIPES["repr"]
ROWS: dict[str, RecipeRow] = {
    **VARIANTS,
    **EVERYTHING,
    **{
        f"repr with {word}": replace(_REPR, acts={**_REPR.acts, "fraction": 0.6, **more})
        for word, more in {
            "readers at zero": {"readers": "zero"},
            "new readers": {"readers": "redraw"},
            "its output preserved": {"preserve": True},
        }.items()
    },
}
EACH_ROW = [*EACH, *(name for name in ROWS if name not in VARIANTS)]


@cache
def wiring_of(kind: str) -> Wiring:
    return regrow.trace(KINDS[kind].build(), EXAMPLE)


def recipe_of(row: str, layers: list[str]) -> regrow.Recipe:
    if row == "random":
        return RandomControl(
            like=[
                Renewed(step=step, layer=layer, filters=(1, 3), scores=(0.0, 0.0))
                for step in (2, 5)
                for layer in layers
            ]
        )
    return ROWS[row].make(**ROWS[row].acts)


class Run:
    """A network of a kind in training, and what its tensors were right after each step of the optimizer."""

    def __init__(self, kind: str, row: str) -> None:
        self.net = KINDS[kind].build()
        silence = row in BY_SILENCE
        self.batch = 10 if silence else 3
        for path in ("stem", "a") if silence else ():
            with torch.no_grad():
                self.net.get_parameter(f"{path}.weight")[1] = 0.0
                self.net.get_parameter(f"{path}.bias")[1] = -100.0
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.01, momentum=0.9)
        self.stepped: dict[str, Tensor] = {}
        self.optimizer.register_step_post_hook(lambda *_: self.stepped.update(self.values()))
        self.regrower = regrow.attach(
            recipe_of(row, KINDS[kind].watched.split()),
            self.net,
            self.optimizer,
            wiring=wiring_of(kind),
            layers=("conv", "linear"),
            include=KINDS[kind].only,
            total_steps=20,
            steps_per_epoch=4,
            **DATA,
        )

    def values(self) -> dict[str, Tensor]:
        return {
            name: value.detach().clone()
            for name, value in self.net.named_parameters(remove_duplicate=False)
        }

    def step(self, number: int) -> None:
        generator = torch.Generator().manual_seed(number)
        images = torch.randn(self.batch, 1, 8, 8, generator=generator)
        self.optimizer.zero_grad()
        F.cross_entropy(self.net(images), torch.arange(self.batch) % 3).backward()
        self.optimizer.step()


@pytest.mark.parametrize(("name", "kind"), crossed(EACH_ROW, KINDS))
def test_what_somebody_else_uses_keeps_its_bits_and_the_rest_is_renewed(
    name: str, kind: str
) -> None:
    """Right after the optimizer's own step, and right after the recipe has acted behind it."""
    told, run = KINDS[kind], Run(kind, name)
    report, drops = run.regrower.report, name.startswith("repr")
    assert list(report.layers) == (told.dropped if drops else told.watched).split()
    seen = 0
    for number in range(STEPS):
        run.step(number)
        after = run.values()
        for kept in told.kept:
            assert torch.equal(after[kept], run.stepped[kept]), f"{kept} was written"
        for event in report.events[seen:]:
            rows = list(event.filters)
            weight = f"{event.layer}.weight"
            changed = (after[weight] != run.stepped[weight])[rows].flatten(1).any(1)
            assert changed.all() or name == "internal-scion"
        seen = len(report.events)
    weights = [run.net.get_parameter(f"{path}.weight") for path in report.layers]
    heard = any(each.grad is not None and bool(each.grad.any()) for each in weights)
    # Where no gradient comes, nobody learns less than the rest.
    assert seen or (name == "partial-reset" and not heard)
    if name in EVERYTHING:
        assert {event.layer for event in report.events} == set(told.watched.split())


@pytest.mark.parametrize(
    ("name", "kind"),
    crossed(["randomout of all", "randomout of all without their readers", "repr"], KINDS),
)
def test_who_uses_it_is_in_the_notes(name: str, kind: str) -> None:
    notes = " | ".join(Run(kind, name).regrower.report.notes)
    reads = name not in {"randomout of all", "repr"}
    for note in KINDS[kind].notes:
        assert note in notes or (": kept in " in note and not reads)
    if name == "repr":
        for path in set(KINDS[kind].watched.split()) - set(KINDS[kind].dropped.split()):
            assert f"{path}: never dropped, for its filters could not give 0: kept is" in notes
        for note in KINDS[kind].notes:
            if ": kept in " in note:
                path, _, reader = note.partition(": kept in ")
                assert f"dropped filters of {path} give 0, and what multiplies them in " in notes
                assert reader.partition(" is used by ")[2] in notes


def _grafted(kind: Kind, name: str) -> tuple[list[dict[str, Tensor]], nn.Module, regrow.Grafter]:
    """What two networks were, the first as it is after a graft, and who did it."""
    models = [kind.build().double() for _ in range(2)]
    for number, model in enumerate(models):
        generator = torch.Generator().manual_seed(number)
        with torch.no_grad():
            for each in model.parameters():
                each.add_(torch.randn(each.shape, generator=generator, dtype=each.dtype))
    before = [
        {key: each.detach().clone() for key, each in model.named_parameters()} for model in models
    ]
    row = partner_rows.VARIANTS[name]
    grafter = regrow.attach_partners(
        row.make(**{**row.acts, "partners": 2}),
        models,
        [torch.optim.SGD(model.parameters(), lr=0.1) for model in models],
        example_inputs=EXAMPLE.double(),
        hooks=False,
    )
    grafter.graft()
    return before, models[0], grafter


@pytest.mark.parametrize(
    "name",
    # The released code's rule knows no layers: a tensor goes with the name before it.
    [name for name, row in partner_rows.VARIANTS.items() if row.acts.get("mode") != "reference"],
)
def test_partners_blend_a_bias_of_two_layers_by_the_mean_of_their_shares(name: str) -> None:
    (own, partner), model, grafter = _grafted(KINDS["a bias of two layers"], name)
    events = [each for each in grafter.report.events if each.partner == 0]
    shares = {each.layer: each.share for each in events}
    share = (shares["a"] + shares["b"]) / 2
    expected = share * own["a.bias"] + (1 - share) * partner["a.bias"]
    assert torch.allclose(model.get_parameter("b.bias"), expected, rtol=0, atol=1e-12)
    assert "network 0: a.bias is used by a and b: blended once" in " ".join(grafter.report.notes)


def test_partners_give_a_weight_that_works_elsewhere_one_share_for_all_its_filters() -> None:
    kind = replace(
        KINDS["a reader that is called by hand too"],
        layers={"n": NORMS["n"]},
        tail=lambda net, x: headed(
            net, net.n(net.b(F.relu(net.a(x)))) + F.conv2d(x, net.b.weight, padding=1)
        ),
    )
    (own, partner), model, grafter = _grafted(kind, "grafting by filter")
    (share,) = (
        each.share for each in grafter.report.events if (each.partner, each.layer) == (0, "b")
    )
    expected = share * own["b.weight"] + (1 - share) * partner["b.weight"]
    assert torch.allclose(model.get_parameter("b.weight"), expected, rtol=0, atol=1e-12)
    assert "b.weight is used by b and the model's own forward" in " ".join(grafter.report.notes)
