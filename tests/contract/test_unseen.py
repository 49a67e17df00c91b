"""What an example does not show is never harmed by any recipe: it is left alone, and named."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

import regrow
from contract.rows import DATA, FEW, SAMPLE, VARIANTS, RecipeRow
from crossed import crossed
from regrow.criteria import Oracle
from regrow.errors import TraceError
from traced import attach_traced

STEPS, EPOCH = 20, 5

Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]


def plain(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(net(x), y)


def parts(**more: nn.Module) -> nn.ModuleDict:
    """The layers of the contract's model by name, so that each row's preparation finds its own."""
    return nn.ModuleDict(
        {
            "0": nn.Conv2d(1, 4, 3),
            "1": nn.BatchNorm2d(4),
            "3": nn.Conv2d(4, 6, 3),
            "6": nn.Linear(6 * 16, 3),
            **more,
        }
    )


class Net(nn.Module):
    """The contract's model, with something beside it."""

    def __init__(self, **more: nn.Module) -> None:
        super().__init__()
        for name, layer in parts(**more).items():
            self.add_module(name, layer)

    def __getitem__(self, name: str) -> Any:
        return self.get_submodule(name)

    def features(self, x: Tensor) -> Tensor:
        return F.relu(self["3"](F.relu(self["1"](self["0"](x)))))

    def logits(self, seen: Tensor) -> Tensor:
        return self["6"](seen.flatten(1))

    def forward(self, x: Tensor) -> Any:
        return self.logits(self.features(x))


class Unlit:
    """What holds its tensors where nobody can look."""

    def __init__(self, *held: Tensor) -> None:
        self.get = lambda: held


class OutOfSight(Net):
    """Three heads beside the classes: kept on an attribute, in an object that shows nothing, and for places of which
    the example has none."""

    def forward(self, x: Tensor) -> Any:
        seen = self.features(x)
        self.kept = self["kept_head"](seen)
        found = 3 if float(x.abs().amax()) > 1.0 else 0
        boxes = self["box"](seen).flatten(2).mT[:, :found]
        return self.logits(seen), boxes, Unlit(self["dark"](seen))


def of_all(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    logits, boxes, dark = net(x)
    beside = net.kept.square().mean() + boxes.square().mean() + dark.get()[0].square().mean()
    return F.cross_entropy(logits, y) + beside


class Noisy(nn.Module):
    """A convolution with noise of a learnt size on its weights in training."""

    def __init__(self) -> None:
        super().__init__()
        self.mu = nn.Parameter(torch.randn(6, 6, 3, 3) / 20)
        self.sigma = nn.Parameter(torch.full((6, 6, 3, 3), 0.01))

    def forward(self, x: Tensor) -> Tensor:
        noise = self.sigma * torch.randn_like(self.mu) if self.training else 0.0
        return F.conv2d(x, self.mu + noise if self.training else self.mu, padding=1)


def scripted(module: nn.Module) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is no longer recommended
        return torch.jit.script(module)


class Unlike(Net):
    """Layers that training does not use as evaluation does, or that cannot be looked into."""

    def features(self, x: Tensor) -> Tensor:
        return F.relu(self["noisy"](F.relu(self["part"](super().features(x)))))


class Late(Net):
    """A layer that no training step reaches could not learn anything back."""

    def features(self, x: Tensor) -> Tensor:
        seen = super().features(x)
        return seen if self.training else F.relu(self["late"](seen))


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A network, its loss, and the tensors in which no recipe may change a bit.

    ``read``: those that a recipe may change that drops what they read. ``said``: in the report's notes.
    """

    make: Callable[[], Net]
    kept: tuple[str, ...]
    said: tuple[str, ...]
    read: tuple[str, ...] = ()
    loss: Loss = plain
    told: dict[str, Any] = field(default_factory=dict)


HEADS = ("kept_head", "dark", "box")

KINDS: dict[str, Kind] = {
    "heads out of sight": Kind(
        make=lambda: OutOfSight(**{name: nn.Conv2d(6, 4, 1) for name in HEADS}),
        kept=tuple(f"{name}.bias" for name in HEADS),
        read=tuple(f"{name}.weight" for name in HEADS),
        said=("no layer reads kept_head, dark on this example",),  # an empty output is an output
        loss=of_all,
        told={"calibration_loss": lambda output, targets: F.cross_entropy(output[0], targets)},
    ),
    "not as in evaluation": Kind(
        make=lambda: Unlike(
            noisy=Noisy(),
            part=scripted(nn.Sequential(nn.Conv2d(6, 6, 3, padding=1))),
        ),
        kept=(
            *("noisy.mu", "noisy.sigma"),
            *("part.0.weight", "part.0.bias"),
        ),
        said=(
            "noisy.mu is not the same layer in training mode",
            "TorchScript in 'part'",
        ),
    ),
    "in evaluation alone": Kind(
        make=lambda: Late(late=nn.Conv2d(6, 6, 3, padding=1)),
        kept=("late.weight", "late.bias"),
        said=("late is not the same layer in training mode",),
    ),
}


def recipe_of(row: RecipeRow) -> regrow.Recipe:
    """As the row acts; the oracle by the loss, since not every output here is that of a classification alone."""
    recipe = row.make(**row.acts)
    if isinstance(recipe.criterion, Oracle):
        return recipe.with_parts(criterion=replace(recipe.criterion, measure="loss"))
    return recipe


def train(
    row: RecipeRow, net: nn.Module, loss: Loss, *, dtype: torch.dtype = torch.float32, **told: Any
) -> tuple[regrow.Report, set[str]]:
    """A training with a recipe: its report, and the tensors in which the recipe has changed a bit by itself."""
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    stepped: dict[str, Tensor] = {}
    optimizer.register_step_post_hook(
        lambda *_: stepped.update({n: v.detach().clone() for n, v in net.state_dict().items()})
    )
    regrower = regrow.attach(
        recipe_of(row),
        net,
        optimizer,
        **{
            "example_inputs": torch.zeros(2, 1, 8, 8, dtype=dtype),
            "total_steps": STEPS,
            "steps_per_epoch": EPOCH,
            "calibration_inputs": DATA["calibration_inputs"].to(dtype),
            "calibration_targets": DATA["calibration_targets"],
            **told,
        },
    )
    generator = torch.Generator().manual_seed(7)
    changed: set[str] = set()
    for _ in range(STEPS):
        images = torch.randn(12, 1, 8, 8, generator=generator).to(dtype)
        labels = torch.randint(0, 3, (12,), generator=generator)
        optimizer.zero_grad()
        loss(net, images, labels).backward()
        optimizer.step()
        now = net.state_dict()
        changed |= {name for name, was in stepped.items() if not torch.equal(was, now[name])}
    return regrower.report, changed


def build(row: RecipeRow, make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = make()
    row.prepare(net)
    return net


@pytest.mark.parametrize(("name", "kind"), crossed(SAMPLE, KINDS))
def test_what_the_example_does_not_show_keeps_its_bits(name: str, kind: str) -> None:
    row, case = VARIANTS[name], KINDS[kind]
    report, changed = train(row, build(row, case.make), case.loss, **case.told)
    assert report.renewed
    assert {"0.weight", "3.weight"} & changed
    recipe = row.make(**row.acts)
    kept = set(case.kept)
    if not recipe.drop and not recipe.renew.touches_readers:
        kept |= set(case.read)
    if recipe.renew.moves_means:
        kept -= {name.replace("weight", "bias") for name in case.read}
    assert not changed & kept
    for words in case.said:
        assert any(words in note for note in report.notes)


@pytest.mark.parametrize("name", FEW)
def test_a_head_that_is_named_is_watched(name: str) -> None:
    """Where `include` names it: whoever says so knows better than the example."""
    row, case = VARIANTS[name], KINDS["heads out of sight"]
    net = build(row, case.make)
    regrower = attach_traced(
        recipe_of(row),
        net,
        torch.optim.SGD(net.parameters(), lr=0.1),
        example_inputs=torch.zeros(2, 1, 8, 8),
        total_steps=STEPS,
        steps_per_epoch=EPOCH,
        include=["*", "kept_head"],
        **{**DATA, **case.told},
    )
    assert "kept_head" in regrower.report.layers
    assert not {"dark", "box"} & set(regrower.report.layers)


class Auxiliary(Net):
    """A second head in training, as GoogLeNet has one, and norms of a second half of the batch."""

    def features(self, x: Tensor) -> Tensor:
        seen = self["0"](x)
        half = len(seen) // 2
        seen = (
            torch.cat([self["1"](seen[:half]), self["second"](seen[half:])])
            if self.training
            else self["1"](seen)
        )
        return F.relu(self["3"](F.relu(seen)))

    def forward(self, x: Tensor) -> Any:
        seen = self.features(x)
        out = self.logits(seen)
        return (out, self["aux"](seen)) if self.training else out


def with_aux(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    out, aux = net(x)
    return F.cross_entropy(out, y) + F.cross_entropy(aux.mean((2, 3)), y)


@pytest.mark.parametrize("name", FEW)
def test_what_training_alone_uses_goes_with_the_rest(name: str) -> None:
    """The second norm's entries of a renewed filter are those of a fresh channel; the second head is a head."""
    row = VARIANTS[name]
    recipe = row.make(**row.acts)
    net = build(row, lambda: Auxiliary(second=nn.BatchNorm2d(4), aux=nn.Conv2d(6, 3, 1)))
    report, changed = train(row, net, with_aux)
    assert report.renewed
    assert "aux" not in report.layers
    # It reads filters that are renewed, and is not renewed itself.
    assert recipe.renew.moves_means or "aux.bias" not in changed
    assert recipe.drop or recipe.renew.touches_readers or "aux.weight" not in changed
    # What the first norm has of a renewed filter and the second has, is changed in both or in neither.
    for tensor in ("weight", "bias", "running_mean", "running_var"):
        assert (f"1.{tensor}" in changed) == (f"second.{tensor}" in changed)


@pytest.mark.parametrize("name", SAMPLE)
def test_a_list_of_tensors_and_sixteen_bits(name: str) -> None:
    class Listed(Net):
        def forward(self, images: Any) -> Any:
            return super().forward(torch.stack(list(images)))

    row = VARIANTS[name]
    net = build(row, lambda: Listed().bfloat16())
    images = [*torch.zeros(2, 1, 8, 8, dtype=torch.bfloat16)]
    report, changed = train(row, net, plain, dtype=torch.bfloat16, example_inputs=(images,))
    assert report.renewed
    assert {"0.weight", "3.weight"} & changed
    assert all(bool(tensor.isfinite().all()) for tensor in net.state_dict().values())
    assert {tensor.dtype for tensor in net.parameters()} == {torch.bfloat16}
    with pytest.raises(TraceError, match="a list is taken for the forward's arguments one by one"):
        train(row, net, plain, dtype=torch.bfloat16, example_inputs=images)
