"""A recipe is a class: a frozen dataclass of its settings, whose parts are attributes."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass, fields, replace
from typing import Any

import pytest

import regrow
from regrow import recipes
from regrow.compose import Composition, Parts, Recipe
from regrow.criteria import Oracle, RandomScore, WeightNorm
from regrow.errors import ConfigError, UnknownNameError
from regrow.history import Renewed
from regrow.partnership import PartnerRecipe
from regrow.recipes import Guarded, RecipeInfo
from regrow.renewal import Redraw
from regrow.schedule import Every
from regrow.selection import WorstFraction
from regrow.weighing import ByInformation

EVENT = Renewed(step=4, layer="a", filters=(2,), scores=(0.0,))
# The class, a setting that is not its default, how the recipe then prints, and another part.
ROWS: list[tuple[type[Composition], dict[str, Any], str, dict[str, Any]]] = [
    (regrow.RandomOut, {"threshold": 1e-6}, "threshold=1e-06", {"criterion": WeightNorm()}),
    (regrow.RePr, {"s1": 3, "rank_by": "taylor"}, "s1=3, rank_by='taylor'", {"drop": False}),
    (regrow.ReDo, {"every_steps": 50}, "every_steps=50", {"criterion": WeightNorm()}),
    (regrow.ReGraMa, {"threshold": 0.5}, "threshold=0.5", {"newborn": True}),
    (regrow.ContinualBackprop, {"rate": 0.5}, "rate=0.5", {"newborn": False}),
    (regrow.PartialReset, {"rate": 0.5}, "rate=0.5", {"criterion": WeightNorm()}),
    (
        regrow.SelfNormalizedResets,
        {"rejection": 0.05},
        "rejection=0.05",
        {"criterion": WeightNorm()},
    ),
    (regrow.ShrinkPerturb, {"shrink": 0.5}, "shrink=0.5", {"network_when": Every()}),
    (regrow.L2Init, {"norms": False}, "norms=False", {"optimizer_state": "exact"}),
    (regrow.FIRE, {"iterations": 5}, "iterations=5", {"optimizer_state": "zeroed"}),
    (regrow.NoiseScion, {"decay": 0.5}, "decay=0.5", {"when": Every()}),
    (regrow.InternalScion, {"at_end": True}, "at_end=True", {"renew": Redraw()}),
    (regrow.RandomControl, {"like": [EVENT]}, f"like=({EVENT!r},)", {"init": "zeros"}),
    (regrow.KeepAlive, {"step_limit": 0.2}, "step_limit=0.2", {"guard": None}),
    (Guarded, {"amount": 0.2}, "amount=0.2", {"guard": None}),
    (regrow.FilterGrafting, {"mode": "reference"}, "mode='reference'", {"memory": "reset"}),
]
EACH = pytest.mark.parametrize(("kind", "settings", "shown", "other"), ROWS)


def test_every_recipe_has_its_row() -> None:
    made = {"inverted", "never"}  # of another recipe, whose class they have
    registered = {recipes.build(name, {}, like=[]).__class__ for name in {*recipes.names()} - made}
    assert {kind for kind, *_ in ROWS} == registered


@EACH
class TestEveryRecipe:
    def test_it_is_a_recipe(
        self, kind: Callable[..., Any], settings: dict[str, Any], shown: str, other: dict[str, Any]
    ) -> None:
        made = kind(**settings)
        assert isinstance(made, kind)  # type: ignore[arg-type]
        assert isinstance(made, Recipe) is (kind is not regrow.FilterGrafting)
        assert isinstance(made, PartnerRecipe) is (kind is regrow.FilterGrafting)

    def test_it_shows_what_was_written(
        self, kind: Callable[..., Any], settings: dict[str, Any], shown: str, other: dict[str, Any]
    ) -> None:
        made = kind(**settings)
        assert repr(made) == f"{kind.__name__}({shown})"
        [(name, part)] = other.items()
        varied = made.with_parts(**other)
        assert repr(varied) == f"{made!r}.with_parts({name}={part!r})"

    def test_it_is_equal_by_its_settings(
        self, kind: Callable[..., Any], settings: dict[str, Any], shown: str, other: dict[str, Any]
    ) -> None:
        made, varied = kind(**settings), kind(**settings).with_parts(**other)
        plain = kind(**({"like": []} if "like" in settings else {}))
        assert made == kind(**settings) != plain
        assert varied == kind(**settings).with_parts(**other) != made
        assert hash(made) == hash(kind(**settings))
        assert len({made, kind(**settings), plain}) == 2

    def test_copies_are_equal_and_act_alike(
        self, kind: Callable[..., Any], settings: dict[str, Any], shown: str, other: dict[str, Any]
    ) -> None:
        made = kind(**settings)
        for one in (made, made.with_parts(**other)):
            for copied in (copy.copy(one), copy.deepcopy(one), pickle.loads(pickle.dumps(one))):  # noqa: S301 # our own
                assert copied == one
                assert copied.parts == one.parts
                assert repr(copied) == repr(one)

    def test_it_is_frozen(
        self, kind: Callable[..., Any], settings: dict[str, Any], shown: str, other: dict[str, Any]
    ) -> None:
        made = kind(**settings)
        for one in (made, made.with_parts(**other)):
            for name in (*one.part_names, *settings, "info", "own"):
                with pytest.raises(FrozenInstanceError):
                    setattr(one, name, None)
                with pytest.raises(FrozenInstanceError):
                    delattr(one, name)

    def test_other_parts_leave_the_rest_as_it_is(
        self, kind: Callable[..., Any], settings: dict[str, Any], shown: str, other: dict[str, Any]
    ) -> None:
        made = kind(**settings)
        varied = made.with_parts(**other)
        assert varied.info is made.info
        assert varied.parts == {**made.parts, **other} != made.parts
        with pytest.raises(UnknownNameError, match=f"part of recipe '{made.info.name}' 'schedule'"):
            made.with_parts(schedule=None)

    def test_its_settings_are_those_of_study_files(
        self, kind: Any, settings: dict[str, Any], shown: str, other: dict[str, Any]
    ) -> None:
        known = recipes.settings(kind.info.name)
        assert known == {each.name: each.default for each in fields(kind) if each.name != "like"}
        assert recipes.info(kind.info.name) is kind.info


def test_variations_of_a_variation_are_told_from_the_first() -> None:
    first = regrow.RePr(cycles=2)
    whole = first.with_parts(criterion=Oracle(), drop=False).with_parts(criterion=RandomScore())
    assert repr(whole) == "RePr(cycles=2).with_parts(criterion=RandomScore(), drop=False)"
    assert whole == first.with_parts(drop=False, criterion=RandomScore())


def test_other_parts_are_checked() -> None:
    with pytest.raises(ConfigError, match=r"when must be a Schedule .*, got 3 \(recipe 'repr'\)"):
        regrow.RePr().with_parts(when=3)  # type: ignore[typeddict-item]
    with pytest.raises(ConfigError, match=r"partners must be .*, got 1 \(recipe 'grafting'\)"):
        regrow.FilterGrafting().with_parts(partners=1)


def test_messages_about_parts_that_stayed_name_the_settings() -> None:
    clock = regrow.schedule.Clock()
    stayed = regrow.NoiseScion(every_epochs=3).with_parts(criterion=RandomScore())
    with pytest.raises(ConfigError, match=r"^every_epochs=3 needs"):
        stayed.when.bind(clock, where="here")
    with pytest.raises(ConfigError, match=r"^epochs=3 needs"):
        stayed.with_parts(when=Every(epochs=3)).when.bind(clock, where="here")


def test_other_settings_are_asked_for_as_of_any_dataclass() -> None:
    assert replace(regrow.RePr(s1=3), s2=4) == regrow.RePr(s1=3, s2=4)
    assert replace(regrow.RePr(s1=3), s2=4).when == regrow.schedule.Cycles(s1=3, s2=4, cycles=3)


@pytest.mark.parametrize(
    ("settings", "steps"),
    [({}, 0), ({"readers": "zero"}, 1), ({"preserve": True}, 1), ({"readers": "redraw"}, 0)],
)
def test_the_grace_period_follows_from_the_renewal(settings: dict[str, Any], steps: int) -> None:
    """Where the readers start at 0, the new filter's own gradient is 0 until they have moved."""
    assert regrow.RandomOut(**settings).grace == steps
    assert regrow.RandomOut(**settings, grace_steps=7).grace == 7
    assert regrow.RandomOut(**settings).with_parts(renew=Redraw(), grace_steps=0).grace == 0


INFO = RecipeInfo(name="own", summary="a recipe of one's own")


@dataclass(frozen=True, kw_only=True)
class Own(regrow.Recipe):
    info = INFO

    fraction: float = 0.1
    init: str | None = "zeros"

    def compose(self) -> Parts:
        return Parts(
            criterion=WeightNorm(),
            select=WorstFraction(fraction=self.fraction),
            renew=Redraw(),
            when=Every(),
            exclude_first=True,
        )


def test_a_class_of_settings_of_ones_own_is_the_recipe_of_its_parts() -> None:
    by_hand = regrow.Recipe(
        info=INFO,
        criterion=WeightNorm(),
        select=WorstFraction(fraction=0.3),
        renew=Redraw(),
        when=Every(),
        exclude_first=True,
        init="zeros",
    )
    own = Own(fraction=0.3)
    assert own.parts == by_hand.parts
    assert own == pickle.loads(pickle.dumps(own)) != Own()  # noqa: S301 # our own
    assert own.with_parts() == by_hand == copy.deepcopy(by_hand)
    assert hash(by_hand) == hash(copy.deepcopy(by_hand))
    assert own != by_hand
    assert "fraction=0.3" in repr(own)
    assert repr(by_hand).startswith("Recipe(info=RecipeInfo(name='own'")
    assert repr(by_hand).endswith("exclude_first=True, init='zeros')")
    assert "min_loss" not in repr(by_hand)
    with pytest.raises(FrozenInstanceError):
        by_hand.criterion = RandomScore()
    with pytest.raises(ConfigError, match="fraction"):
        Own(fraction=2.0)


def test_a_part_that_is_missing_or_none_is_named() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Half(regrow.Recipe):
        info = INFO

        def compose(self) -> Parts:
            return Parts(criterion=WeightNorm())

    @dataclass(frozen=True, kw_only=True)
    class Nothing(regrow.Recipe):
        info = INFO

    with pytest.raises(ConfigError, match=r"select must be a Selection .*recipe 'own'"):
        Half()
    with pytest.raises(NotImplementedError, match=r"Nothing must say by compose\(\)"):
        Nothing()
    with pytest.raises(ConfigError, match=r"criterion must be a Criterion .*<class"):
        Own().with_parts(criterion=WeightNorm)  # type: ignore[typeddict-item]


# What was written before, and the word by which the message says what is written now.
OLD: list[tuple[Callable[..., Any], str, str]] = [
    (regrow.schedule.Cycles, "full", "Cycles: full is now s1"),
    (regrow.schedule.Cycles, "reduced", "Cycles: reduced is now s2"),
    (ByInformation, "measure_by", "ByInformation: measure_by is now criterion"),
    (PartnerRecipe, "order", "PartnerRecipe: order is now mode"),
    (regrow.renewal.AddNoise, "reset_memory", "AddNoise: reset_memory is now reset_optimizer"),
    (regrow.renewal.AddStrongest, "reset_memory", "AddStrongest: reset_memory is now reset_opt"),
    *(
        (kind, part, f"{kind.__name__}: {part} is now recipe.with_parts({part}=...)")
        for kind, *_ in ROWS
        if kind is not regrow.FilterGrafting
        for part in ("criterion", "select", "renew", "when")
    ),
    (regrow.ReDo, "reset_optimizer", "ReDo: reset_optimizer is now optimizer_state: 'exact'"),
]


@pytest.mark.parametrize(("kind", "name", "told"), OLD)
def test_an_old_spelling_is_told_by_the_new_one(
    kind: Callable[..., Any], name: str, told: str
) -> None:
    with pytest.raises(TypeError) as caught:
        kind(**{name: 1})
    assert str(caught.value).startswith(told)


def test_an_old_setting_and_an_old_part_are_told_by_the_new_one() -> None:
    with pytest.raises(ConfigError, match=r"^s: reset_optimizer is now optimizer_state: 'exact' w"):
        recipes.build("redo", {"reset_optimizer": False}, where="s")
    with pytest.raises(ConfigError, match="reset_optimizer is now optimizer_state"):
        regrow.ReDo().with_parts(reset_optimizer=False)  # type: ignore[call-arg]


def test_an_old_way_to_other_parts_is_told_by_the_new_one() -> None:
    with pytest.raises(TypeError, match=r"criterion is now recipe\.with_parts\(criterion=\.\.\.\)"):
        replace(regrow.RePr(), criterion=RandomScore())  # type: ignore[call-arg]
