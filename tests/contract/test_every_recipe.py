"""What holds for every recipe, driven by the rows; a recipe without a row fails."""

import io
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import regrow
from contract.rows import DATA, EACH, RECIPES, VARIANTS, wiring_of
from crossed import crossed
from regrow import recipes
from regrow.errors import ConfigError, NoEffectWarning

STEPS = 20
Batches = list[tuple[torch.Tensor, torch.Tensor]]
Make = Callable[[nn.Module], torch.optim.Optimizer]

OPTIMIZERS: dict[str, Make] = {
    "sgd": lambda model: torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9),
    "adamw": lambda model: torch.optim.AdamW(model.parameters(), lr=0.01),
}


class Run:
    """One training of the contract's model with a recipe attached, or without."""

    def __init__(
        self,
        model: nn.Module,
        make: Make,
        recipe: regrow.Recipe | None,
        *,
        seed: int = 0,
        spy: bool = False,
    ) -> None:
        self.model, self.optimizer = model, make(model)
        self.stepped: dict[str, torch.Tensor] = {}
        if spy:  # hooks run in the order of their registration: this one before the recipe's
            self.optimizer.register_step_post_hook(lambda *_: self.stepped.update(self.values()))
        self.regrower = None
        if recipe is not None:
            self.regrower = regrow.attach(
                recipe,
                model,
                self.optimizer,
                wiring=wiring_of(model),
                total_steps=STEPS,
                steps_per_epoch=5,
                seed=seed,
                **DATA,
            )

    def train(self, batches: Batches) -> "Run":
        for images, labels in batches:
            self.optimizer.zero_grad()
            nn.functional.cross_entropy(self.model(images), labels).backward()
            self.optimizer.step()
        return self

    @property
    def report(self) -> regrow.Report:
        assert self.regrower is not None
        return self.regrower.report

    def values(self) -> dict[str, torch.Tensor]:
        return {name: value.detach().clone() for name, value in self.model.state_dict().items()}


def _equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


def test_every_recipe_has_its_row() -> None:
    alone = {name for name in recipes.names() if not recipes.info(name).partners}
    made = {name for name in alone if recipes.info(name).role in {"inverted", "never"}}
    assert made == {"inverted", "never"}  # of other recipes: see test_controls.py
    # They renew no filter: see test_every_guard.py and test_every_network_recipe.py.
    others = {"guarded"} | {name for name in alone if recipes.info(name).family == "network"}
    assert alone - made - others == set(RECIPES)


@pytest.mark.parametrize(("name", "optimizer"), crossed(EACH, OPTIMIZERS))
class TestEveryRecipe:
    def test_before_its_first_action_training_is_bit_equal(
        self,
        name: str,
        optimizer: str,
        small_cnn: Callable[[int], nn.Module],
        batches: Callable[[int], Batches],
    ) -> None:
        row, make = VARIANTS[name], OPTIMIZERS[optimizer]
        acting = Run(small_cnn(0), make, row.make(**row.acts))
        plain = Run(small_cnn(0), make, None)
        compared = 0
        for batch in batches(STEPS):
            acting.train([batch])
            plain.train([batch])
            if acting.report.events or acting.report.resting:
                break
            assert _equal(acting.values(), plain.values())
            compared += 1
        assert compared >= 3
        assert acting.report.events or acting.report.resting

    def test_kept_entries_keep_their_bits_and_renewed_ones_change(
        self,
        name: str,
        optimizer: str,
        small_cnn: Callable[[int], nn.Module],
        batches: Callable[[int], Batches],
    ) -> None:
        """Right after the optimizer's own step, and right after the recipe has acted behind it."""
        row, make = VARIANTS[name], OPTIMIZERS[optimizer]
        recipe = row.make(**row.acts)
        acting = Run(small_cnn(0), make, recipe, spy=True)
        for batch in batches(STEPS):
            acting.train([batch])
            if acting.report.events:
                break
        after, before = acting.values(), acting.stepped
        renewed = {event.layer: list(event.filters) for event in acting.report.events}
        # What reads filters that come back from a drop is restored with them.
        writes_readers = recipe.drop or recipe.renew.touches_readers
        for layer in acting.report.layers:
            weight, other = after[f"{layer}.weight"], before[f"{layer}.weight"]
            marked = torch.zeros(weight.shape[0], dtype=torch.bool)
            marked[renewed.get(layer, [])] = True
            assert not (weight[marked] == other[marked]).flatten(1).all(1).any()
            kept = torch.ones_like(weight, dtype=torch.bool)
            if writes_readers and layer == "3":
                kept[:, renewed.get("0", [])] = False
            assert torch.equal((weight * kept)[~marked], (other * kept)[~marked])
        read = [16 * unit + place for unit in renewed.get("3", []) for place in range(16)]
        others = [place for place in range(96) if place not in read or not writes_readers]
        if not recipe.drop:
            assert torch.equal(after["6.weight"][:, others], before["6.weight"][:, others])
            if recipe.renew.moves_means or getattr(recipe.renew, "readers", "keep") == "zero":
                assert not after["6.weight"][:, read].any()

    def test_the_optimizers_memory_of_renewed_filters_is_that_of_fresh_ones_or_its_own(
        self,
        name: str,
        optimizer: str,
        small_cnn: Callable[[int], nn.Module],
        batches: Callable[[int], Batches],
    ) -> None:
        """Of a filter that is only moved a part of the way nothing is forgotten."""
        row = VARIANTS[name]
        recipe = row.make(**row.acts)
        acting = Run(small_cnn(0), OPTIMIZERS[optimizer], recipe)
        plain = Run(small_cnn(0), OPTIMIZERS[optimizer], None)
        for batch in batches(STEPS):
            acting.train([batch])
            plain.train([batch])
            if acting.report.events:
                break
        if recipe.renew.partial:
            states = [run.optimizer.state_dict()["state"] for run in (acting, plain)]
            for key, memory in states[1].items():
                assert all(torch.equal(states[0][key][each], memory[each]) for each in memory)
            return
        event = acting.report.events[-1]
        weight = acting.model.get_parameter(f"{event.layer}.weight")
        for memory in acting.optimizer.state[weight].values():
            if isinstance(memory, torch.Tensor) and memory.shape == weight.shape:
                assert not memory[list(event.filters)].any()
                rest = [index for index in range(len(weight)) if index not in event.filters]
                assert memory[rest].any()

    def test_the_seed_decides_the_draw(
        self,
        name: str,
        optimizer: str,
        small_cnn: Callable[[int], nn.Module],
        batches: Callable[[int], Batches],
    ) -> None:
        row, make = VARIANTS[name], OPTIMIZERS[optimizer]
        runs = [Run(small_cnn(0), make, row.make(**row.acts), seed=seed) for seed in (1, 1, 2)]
        for batch in batches(STEPS):
            for run in runs:
                run.train([batch])
            if all(run.report.events for run in runs):
                break
        assert _equal(runs[0].values(), runs[1].values())
        assert _equal(runs[0].values(), runs[2].values()) != row.drawn


@pytest.mark.slow  # quick is test_resume.py
@pytest.mark.parametrize(("name", "optimizer", "cut"), crossed(EACH, OPTIMIZERS, [4, 6, 13]))
def test_interrupted_and_resumed_is_uninterrupted(
    name: str,
    optimizer: str,
    cut: int,
    small_cnn: Callable[[int], nn.Module],
    batches: Callable[[int], Batches],
) -> None:
    row, make = VARIANTS[name], OPTIMIZERS[optimizer]
    whole = Run(small_cnn(0), make, row.make(**row.acts), seed=3).train(batches(STEPS))
    assert whole.report.renewed
    first = Run(small_cnn(0), make, row.make(**row.acts), seed=3).train(batches(STEPS)[:cut])
    assert first.regrower is not None
    file = io.BytesIO()
    parts = (first.model, first.optimizer, first.regrower)
    torch.save([part.state_dict() for part in parts], file)
    file.seek(0)
    second = Run(small_cnn(1), make, row.make(**row.acts), seed=3)
    assert second.regrower is not None
    for part, state in zip(
        (second.model, second.optimizer, second.regrower),
        torch.load(file, weights_only=True),
        strict=True,
    ):
        part.load_state_dict(state)
    second.train(batches(STEPS)[cut:])
    assert _equal(whole.values(), second.values())
    assert whole.report.events == second.report.events


@pytest.mark.parametrize("name", RECIPES)
def test_the_card_is_there_and_its_defaults_hold(name: str) -> None:
    info = recipes.info(name)
    assert info.title
    assert info.summary.endswith(".")
    if not info.control:
        assert info.url.startswith("https://") or not info.paper
        assert len(info.differs) >= 3
    given = recipes.settings(name)
    for setting, value in RECIPES[name].defaults.items():
        assert given[setting] == value


@pytest.mark.parametrize("name", RECIPES)
def test_wrong_settings_are_refused_in_one_line(name: str) -> None:
    for wrong in RECIPES[name].wrong:
        with pytest.raises(wrong.error, match=wrong.match) as caught:
            recipes.build(name, wrong.settings, where="study.toml: arms.a.settings")
        assert str(caught.value).startswith("study.toml: arms.a.settings: ")
        assert "\n" not in str(caught.value)


def test_a_recipe_that_cannot_act_says_so(small_cnn: Callable[[int], nn.Module]) -> None:
    with pytest.warns(NoEffectWarning, match="recipe 'randomout' will never act"):
        Run(
            small_cnn(0),
            OPTIMIZERS["sgd"],
            regrow.RandomOut(confirm="gradient", every_steps=15, active_fraction=0.5),
        )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Run(
            small_cnn(0),
            OPTIMIZERS["sgd"],
            regrow.RandomOut(confirm="gradient", every_steps=5, active_fraction=0.5),
        )


def test_unknown_recipe_and_control_without_its_run() -> None:
    with pytest.raises(LookupError, match="did you mean 'randomout'"):
        recipes.build("randomot", {})
    with pytest.raises(ValueError, match="needs the events of the run that it is like"):
        recipes.build("random", {})


def test_a_name_is_registered_once() -> None:
    def make(**settings: Any) -> regrow.Recipe:
        raise AssertionError(settings)

    with pytest.raises(ValueError, match="'randomout' is registered already"):
        recipes.register(recipes.info("randomout"), make)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"every_steps": "3"}, "every_steps must be a whole number, got '3'"),
        ({"every_steps": 1.5}, "every_steps must be a whole number, got 1.5"),
        ({"every_epochs": True}, "every_epochs must be a whole number, got True"),
        ({"min_loss": "high"}, "min_loss must be a number, got 'high'"),
        ({"init": 3}, "init must be a string, got 3"),
        ({"threshold": None}, "threshold must be like 1e-08, got None"),
    ],
)
def test_types_of_settings_without_a_default_are_checked(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        recipes.build("randomout", settings)
    recipes.build("randomout", {"every_steps": None, "min_loss": 1, "init": "orthogonal"})
