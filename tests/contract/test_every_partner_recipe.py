"""What holds for every recipe of several networks, driven by the rows; a recipe without a row fails."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from contract.partner_rows import EACH, PARTNER_RECIPES, VARIANTS
from crossed import crossed, seldom
from partners.nets import Plain, copies, differing, step_of
from regrow import recipes
from regrow.history import PartnerReport
from traced import attach_partners_traced

EXAMPLE = torch.zeros(2, 1, 8, 8)
NETWORKS, STEPS, EPOCH = 3, 13, 5
Make = Callable[[nn.Module], torch.optim.Optimizer]

OPTIMIZERS: dict[str, Make] = {
    "sgd": lambda model: torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9),
    "adamw": lambda model: torch.optim.AdamW(model.parameters(), lr=0.01),
}

OFTEN = seldom(VARIANTS, often=list(VARIANTS)[::2])
"""Every second row, and with that every recipe."""


class Run:
    """One training of three networks with a partner recipe attached, or without."""

    def __init__(self, name: str | None, make: Make, *, seed: int = 0) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.models = [Plain() for _ in range(NETWORKS)]
        self.optimizers = [make(model) for model in self.models]
        self.grafter = None
        if name is not None:
            row = VARIANTS[name]
            self.grafter = attach_partners_traced(
                row.make(**{**row.acts, "partners": NETWORKS}),
                self.models,
                self.optimizers,
                example_inputs=EXAMPLE,
                total_steps=STEPS,
                steps_per_epoch=EPOCH,
            )

    @property
    def parts(self) -> list[Any]:
        return [*self.models, *self.optimizers, self.grafter]

    @property
    def report(self) -> PartnerReport:
        assert self.grafter is not None
        return self.grafter.report

    def train(self, start: int, end: int) -> Run:
        for step in range(start, end):
            for k in range(NETWORKS):
                step_of(self.models[k], self.optimizers[k], step, network=k)
        return self

    def unlike(self, other: Run) -> list[str]:
        pairs = zip(self.models, other.models, strict=True)
        return [name for one, two in pairs for name in differing(copies(one), copies(two))]


def test_every_partner_recipe_has_its_row() -> None:
    names = {name for name in recipes.names() if recipes.info(name).partners}
    assert names == set(PARTNER_RECIPES)


@pytest.mark.parametrize(("name", "optimizer"), crossed(EACH, OPTIMIZERS))
class TestEveryPartnerRecipe:
    def test_until_they_meet_training_is_bit_equal(self, name: str, optimizer: str) -> None:
        acting, plain = (Run(each, OPTIMIZERS[optimizer]) for each in (name, None))
        acting.train(0, EPOCH - 1)
        plain.train(0, EPOCH - 1)
        assert acting.unlike(plain) == []
        assert acting.report.grafts == 0
        acting.train(EPOCH - 1, EPOCH)
        plain.train(EPOCH - 1, EPOCH)
        assert acting.unlike(plain) != []
        assert acting.report.grafts == 1

    def test_tensors_keep_their_identity(self, name: str, optimizer: str) -> None:
        run = Run(name, OPTIMIZERS[optimizer])

        def places() -> list[tuple[int, int]]:
            return [
                (id(each), each.data_ptr())
                for model in run.models
                for each in (*model.parameters(), *model.buffers())
            ]

        before = places()
        run.train(0, EPOCH)
        assert run.report.events
        assert places() == before

    def test_two_runs_are_one(self, name: str, optimizer: str) -> None:
        """Nothing is drawn, and torch's generator is left where it was."""
        state = torch.get_rng_state()
        runs = [Run(name, OPTIMIZERS[optimizer]) for _ in range(2)]
        for run in runs:
            run.train(0, EPOCH)
        assert runs[0].unlike(runs[1]) == []
        assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("name", "optimizer", "cut"), crossed(OFTEN, OPTIMIZERS, [3, 5, 8]))
def test_interrupted_and_resumed_is_uninterrupted(name: str, optimizer: str, cut: int) -> None:
    whole = Run(name, OPTIMIZERS[optimizer]).train(0, STEPS)
    assert whole.report.grafts == 2
    first = Run(name, OPTIMIZERS[optimizer]).train(0, cut)
    file = io.BytesIO()
    torch.save([part.state_dict() for part in first.parts], file)
    file.seek(0)
    second = Run(name, OPTIMIZERS[optimizer], seed=1)
    for part, state in zip(second.parts, torch.load(file, weights_only=True), strict=True):
        part.load_state_dict(state)
    second.train(cut, STEPS)
    assert whole.unlike(second) == []
    # As text: an entry that is nan is equal then.
    assert str(whole.report.events) == str(second.report.events)


@pytest.mark.parametrize("name", OFTEN)
def test_a_network_is_what_it_is_at_every_place_of_the_ring(name: str) -> None:
    """Beginning the ring with another network changes no bit of any."""
    row, ends = VARIANTS[name], []
    for shift in range(2):
        models = Run(None, OPTIMIZERS["sgd"]).train(0, 2).models
        ring = [*models[shift:], *models[:shift]]
        attach_partners_traced(
            row.make(**{**row.acts, "partners": NETWORKS}),
            ring,
            [OPTIMIZERS["sgd"](model) for model in ring],
            example_inputs=EXAMPLE,
            hooks=False,
        ).graft()
        ends.append([copies(model) for model in models])
    for one, two in zip(*ends, strict=True):
        assert differing(one, two) == []


@pytest.mark.parametrize("name", EACH)
def test_attaching_modifies_nothing(name: str) -> None:
    run = Run(None, OPTIMIZERS["adamw"]).train(0, 2)
    twin = copy.deepcopy(run.models)
    modes = [module.training for model in run.models for module in model.modules()]
    example = EXAMPLE.clone()
    row = VARIANTS[name]
    grafter = attach_partners_traced(
        row.make(**{**row.acts, "partners": NETWORKS}),
        run.models,
        run.optimizers,
        example_inputs=example,
        steps_per_epoch=EPOCH,
    )
    grafter.detach()
    assert torch.equal(example, EXAMPLE)
    assert modes == [module.training for model in run.models for module in model.modules()]
    for model, other in zip(run.models, twin, strict=True):
        assert differing(copies(model), copies(other)) == []
    assert not any(optimizer._optimizer_step_post_hooks for optimizer in run.optimizers)


@pytest.mark.parametrize("name", PARTNER_RECIPES)
def test_the_card_is_there_and_its_defaults_hold(name: str) -> None:
    info = recipes.info(name)
    assert info.partners
    assert info.title
    assert info.summary.endswith(".")
    assert info.url.startswith("https://")
    assert len(info.differs) >= 3
    given = recipes.settings(name)
    for setting, value in PARTNER_RECIPES[name].defaults.items():
        assert given[setting] == value


@pytest.mark.parametrize("name", PARTNER_RECIPES)
def test_wrong_settings_are_refused_in_one_line(name: str) -> None:
    for wrong in PARTNER_RECIPES[name].wrong:
        with pytest.raises(wrong.error, match=wrong.match) as caught:
            recipes.build(name, wrong.settings, where="study.toml: arms.a.settings")
        assert str(caught.value).startswith("study.toml: arms.a.settings: ")
        assert "\n" not in str(caught.value)
