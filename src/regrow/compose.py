"""Recipe: the only place where criterion, selection, renewal and schedule meet.

No torch here, so that a recipe's card and settings are listed without it: parts are imported when a recipe is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, FrozenInstanceError, dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypedDict, Unpack, final

from regrow._checks import check_choice, check_not_negative
from regrow.errors import ConfigError, UnknownNameError
from regrow.neutral import Neutral

if TYPE_CHECKING:
    from regrow.criteria.base import Criterion
    from regrow.guard import Guard
    from regrow.nn.gain_check import GainCheck
    from regrow.renewal import Renewal
    from regrow.renewal.network import NetworkRenewal
    from regrow.schedule import Schedule
    from regrow.selection import Selection


@final
@dataclass(frozen=True, kw_only=True)
class RecipeInfo:
    """What a recipe is and where it comes from: the data behind `regrow ls recipes` and the method cards.

    Attributes:
        name: The name in study files and on the command line.
        summary: One sentence.
        title: Title of the paper, or what the recipe is for; of a recipe of your own nothing, as of the next three.
        paper: Authors and venue.
        year: Year of the version that is followed.
        url: Where the paper is.
        family: What kind of method it is, for lists: ``dead units``, ``plasticity``, ``network``, ``overlap``,
            ``grafting`` or ``guards``.
        differs: Where paper, released code and this recipe disagree, one entry a difference.
        role: What its arms are for: ``method``; ``control`` where the recipe replays another run, ``inverted`` and
            ``never`` where it is another one that takes the best, or nobody. The laboratory's own have ``plain``,
            ``restart`` and ``apart``.
        made_of: What a control is made of: the ``recipe`` that it is one of, with all its parts, or ``settings`` of its
            own, of which it takes over those by the same name. Of a method: what its random control is made of.
        partners: Whether it acts on several networks that are trained side by side.
        neutral: How it is its own neutral control, if it can be: with which settings its decision says nothing.
    """

    name: str
    summary: str
    title: str = ""
    paper: str = ""
    year: int = 0
    url: str = ""
    family: str = ""
    differs: tuple[str, ...] = ()
    role: Literal["method", "control", "inverted", "never", "plain", "restart", "apart"] = "method"
    made_of: Literal["recipe", "settings"] = "recipe"
    partners: bool = False
    neutral: Neutral | None = None

    @property
    def control(self) -> bool:
        """Whether the recipe replays another run, as a control of it."""
        return self.role == "control"


class Composition:
    """What recipes for one network and for several have in common: a name, and parts that are settled once.

    A subclass is a method with settings: a frozen dataclass of them, whose `compose` says which parts follow.
    """

    info: RecipeInfo
    part_names: tuple[str, ...] = ()
    _origin: Composition | None = None

    def __post_init__(self) -> None:
        """A subclass has its settings: find its parts, before anybody asks for one."""
        self._settle(self.compose())

    def compose(self) -> Mapping[str, object]:
        """The parts that follow from the settings, but for those that are a setting by the same name. Asked once."""
        raise NotImplementedError(f"{type(self).__name__} must say by compose() what its parts are")

    def _settle(self, parts: Mapping[str, object]) -> None:
        self.__dict__.update(parts)
        self._check(f"recipe '{self.info.name}'")

    def _check(self, where: str) -> None:
        """Refuse parts that are none."""
        del where

    @property
    def parts(self) -> dict[str, Any]:
        """All parts by name."""
        return {name: getattr(self, name) for name in self.part_names}

    def _changed(self, other: Mapping[str, object]) -> dict[str, Any]:
        """All parts, some of them replaced."""
        for name in other:
            if name in OLD_SETTINGS:
                raise ConfigError(f"{name} is now {OLD_SETTINGS[name]} (recipe '{self.info.name}')")
            if name not in self.part_names:
                raise UnknownNameError(f"part of recipe '{self.info.name}'", name, self.part_names)
        return {**self.parts, **other}

    def _after(self, first: Composition) -> Self:
        """Remember of which recipe this is a variation, for `repr`."""
        self.__dict__["_origin"] = first if first._origin is None else first._origin
        return self

    def __setattr__(self, name: str, value: object) -> None:
        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> None:
        raise FrozenInstanceError(f"cannot delete field {name!r}")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Composition) or type(other) is not type(self):
            return NotImplemented
        return self.info == other.info and self.parts == other.parts

    def __hash__(self) -> int:
        return hash((self.info.name, *self.parts.values()))

    def __repr__(self) -> str:
        if self._origin is not None:
            first = self._origin.parts
            other = {
                name: part
                for name, part in self.parts.items()
                if part is not first[name] and part != first[name]
            }
            return f"{self._origin!r}.with_parts({_written(other)})"
        if is_dataclass(self):
            default = {each.name: each.default for each in fields(self)}
            given = {name: getattr(self, name) for name in default}
        else:
            default = {name: getattr(type(self), name, MISSING) for name in self.part_names}
            given = {"info": self.info, **self.parts}
        return f"{type(self).__name__}({_written(given, default)})"


def _written(given: Mapping[str, object], default: Mapping[str, object] | None = None) -> str:
    """As a call has it, without what it need not say."""
    known = default or {}
    return ", ".join(
        f"{name}={value!r}"
        for name, value in given.items()
        if known.get(name, MISSING) is MISSING or value != known[name]
    )


OptimizerState = Literal["exact", "zeroed", "kept"]
"""What becomes of what an optimizer remembers of entries that a recipe makes new; see `Recipe`."""


class Parts(TypedDict, total=False):
    """The parts of a `Recipe` by name."""

    criterion: Criterion
    select: Selection
    renew: Renewal
    when: Schedule
    grace_steps: int | None
    min_loss: float | None
    newborn: bool
    optimizer_state: OptimizerState
    exclude_first: bool
    drop: bool
    init: str | None
    guard: Guard | None
    gain_check: GainCheck | None
    network: NetworkRenewal | None
    network_when: Schedule | None
    layers: tuple[str, ...]
    hidden_alone: bool


EVERY_KIND: Final = ("conv", "conv_transpose", "linear")
"""All kinds of layers, for `Recipe.layers`."""

OLD_SETTINGS: Final = {
    "reset_optimizer": "optimizer_state: 'exact' where it was true, 'kept' where it was false"
}
"""Settings that had other names once, and what is written now."""

BY_WITH_PARTS: Final = {
    **{name: f"recipe.with_parts({name}=...)" for name in ("criterion", "select", "renew", "when")},
    **OLD_SETTINGS,
}
"""Where parts are changed, by the names that `dataclasses.replace` changes them by no longer; and old settings."""


class Recipe(Composition):
    """A published method, or your own: which filters, when, and what becomes of them.

    Give the parts, or write a class of settings that finds them: a frozen keyword-only dataclass that inherits from
    this one, with its ``info`` and a method ``compose`` that returns its `Parts`. `RandomOut` is such a class.

    Args:
        info: Name and source.
        criterion: One score a filter.
        select: Scores to masks.
        renew: Masks to new values.
        when: At which optimizer steps.
        grace_steps: A renewed filter is not renewed again in this many steps after its renewal. None: 0, or 1 where
            its own gradient is exactly 0 until its readers have moved (they start at 0).
        newborn: The grace period protects filters after the beginning of the training too, as if all were renewed then.
        min_loss: Act only while the training loss is at least this; None = always. The loss is told by
            `Regrower.tell`.
        optimizer_state: What becomes of what the optimizer remembers of renewed entries. ``exact``: what a fresh entry
            has, its own age included, so that it trains on as in a new optimizer. ``zeroed``: moments as of a fresh
            entry, while the tensor's count of steps goes on (what most released codes do). ``kept``: nothing is
            touched, or, after a drop, comes back as it was.
        exclude_first: Leave the first layer of the network alone.
        drop: A selected filter first leaves the network, and is renewed when the schedule ends the phase without it.
        init: What fresh filters are drawn from, instead of what `attach` was told; None = as
            `attach` was told.
        guard: What no optimizer step may do, whatever is renewed: `regrow.guard`.
        gain_check: Scale layers that pass next to nothing on, or far too much, right before the first training pass.
        network: What becomes of all of the network's parameters at once: `regrow.renewal.network`.
        network_when: At which optimizer steps, or `regrow.schedule.AtBoundary`; None: at boundaries.
        layers: Kinds of layers to act on where `attach` is not told.
        hidden_alone: Of these kinds leave alone what writes to a residual stream or takes part in attention, unless
            ``attach(include=...)`` names it.

    Edge cases:
        A part that is none, or a negative grace period or loss, is a ConfigError.
    """

    part_names = tuple(Parts.__annotations__)

    criterion: Criterion
    select: Selection
    renew: Renewal
    when: Schedule
    grace_steps: int | None = 0
    newborn: bool = False
    min_loss: float | None = None
    optimizer_state: OptimizerState = "exact"
    exclude_first: bool = False
    drop: bool = False
    init: str | None = None
    guard: Guard | None = None
    gain_check: GainCheck | None = None
    network: NetworkRenewal | None = None
    network_when: Schedule | None = None
    layers: tuple[str, ...] = ("conv",)
    hidden_alone: bool = False
    grace: int
    """The grace period in steps, also where `grace_steps` is None."""

    def __init__(
        self,
        *,
        info: RecipeInfo,
        criterion: Criterion,
        select: Selection,
        renew: Renewal,
        when: Schedule,
        grace_steps: int | None = 0,
        newborn: bool = False,
        min_loss: float | None = None,
        optimizer_state: OptimizerState = "exact",
        exclude_first: bool = False,
        drop: bool = False,
        init: str | None = None,
        guard: Guard | None = None,
        gain_check: GainCheck | None = None,
        network: NetworkRenewal | None = None,
        network_when: Schedule | None = None,
        layers: tuple[str, ...] = ("conv",),
        hidden_alone: bool = False,
    ) -> None:
        parts = Parts(
            criterion=criterion,
            select=select,
            renew=renew,
            when=when,
            grace_steps=grace_steps,
            newborn=newborn,
            min_loss=min_loss,
            optimizer_state=optimizer_state,
            exclude_first=exclude_first,
            drop=drop,
            init=init,
            guard=guard,
            gain_check=gain_check,
            network=network,
            network_when=network_when,
            layers=layers,
            hidden_alone=hidden_alone,
        )
        self._settle({"info": info, **parts})

    def with_parts(self, **parts: Unpack[Parts]) -> Recipe:
        """The same recipe with other parts.

        Args:
            **parts: Those that are other ones, by name: ``criterion``, ``select``, ``renew``, ``when`` and the rest of
                what `Recipe` takes but ``info``.

        Returns:
            A recipe of the same name. It has no settings, as they may be true of it no longer.

        Edge cases:
            A part that there is not is an UnknownNameError, something that is no such part a ConfigError.

        Examples:
            >>> from regrow import RandomOut
            >>> from regrow.schedule import Every
            >>> RandomOut(threshold=1e-6).with_parts(when=Every(steps=50))
            RandomOut(threshold=1e-06).with_parts(when=Every(steps=50, epochs=None, active_fraction=1.0, at_end=True))
        """
        return Recipe(info=self.info, **self._changed(parts))._after(self)

    def _check(self, where: str) -> None:
        from regrow.criteria.base import Criterion
        from regrow.renewal.base import Renewal
        from regrow.schedule import Schedule
        from regrow.selection import Selection

        kinds: dict[str, type] = {
            "criterion": Criterion,
            "select": Selection,
            "renew": Renewal,
            "when": Schedule,
        }
        if self.guard is not None:
            from regrow.guard import Guard

            kinds["guard"] = Guard
        if self.network is not None:
            from regrow.renewal.network import NetworkRenewal

            kinds["network"] = NetworkRenewal
        if self.network_when is not None:
            kinds["network_when"] = Schedule
        for name, kind in kinds.items():
            part = getattr(self, name, None)
            if isinstance(part, type) or not isinstance(part, kind):
                raise ConfigError(
                    f"{name} must be a {kind.__name__} (inherit from {kind.__module__}.{kind.__name__}), got {part!r} "
                    f"({where})"
                )
        if self.select.graded and not self.renew.partial:
            raise ConfigError(
                f"select={self.select!r} says how far units are moved, and renew={self.renew!r} renews them as a "
                f"whole: take renewal.Blend() ({where})"
            )
        if self.drop and self.renew.partial:
            raise ConfigError(
                f"drop=True takes filters out as a whole, and renew={self.renew!r} moves them a part of the way "
                f"({where})"
            )
        check_choice(
            self.optimizer_state, ("exact", "zeroed", "kept"), name="optimizer_state", where=where
        )
        grace = self.grace_steps
        if grace is None:
            grace = int(self.renew.touches_readers and not self.renew.draws_readers)
        check_not_negative(grace, name="grace_steps", where=where)
        self.__dict__["grace"] = grace  # worked out once: it is asked for at every decision
        if self.min_loss is not None:
            check_not_negative(self.min_loss, name="min_loss", where=where)
