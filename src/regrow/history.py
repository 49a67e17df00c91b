"""What happened: the filters that were renewed, when and why.

Written by the loop and by partners, one record an action; users hold it as `regrower.report`, the laboratory stores
it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final, TypeVar

from regrow._plural import count, plural


@dataclass(frozen=True, kw_only=True)
class Renewed:
    """One layer's renewals at one step.

    Attributes:
        step: Optimizer step, 0-based; the renewal took place right after it.
        layer: Module path.
        filters: Indices of the renewed filters.
        scores: Their scores, in the same order.
        dropped: The step after which they were taken out of the network; None where they were renewed at once.
        change: How far all renewals of this step moved the model's output on the calibration inputs: the largest
            difference as a share of the largest entry. None where it was not measured (without ``preserve=True``).
            Filters that were dropped are renewed in the network without them: that is what it is compared with.
    """

    step: int
    layer: str
    filters: tuple[int, ...]
    scores: tuple[float, ...]
    dropped: int | None = None
    change: float | None = None


@dataclass(frozen=True, kw_only=True)
class Grafted:
    """One layer of one network that took a share of its partner's weights.

    Attributes:
        layer: Module path.
        share: Alpha, what it kept of its own; the mean over its filters where these have shares of their own; nan
            where it was left alone: its information or its partner's is no number, or the recipe has no share for it.
        information: What its weights carried before.
        partner_information: What its partner's carried.
        distance: Length of the difference of both weights before, over the mean of their lengths.
        step: Optimizer step, 0-based; the graft took place right after it.
        partner: Number of the network in the ring, from 0; it took from the one before.
    """

    layer: str
    share: float
    information: float
    partner_information: float
    distance: float
    step: int = 0
    partner: int = 0


@dataclass(kw_only=True)
class PartnerReport:
    """What networks have lent each other so far.

    Attributes:
        recipe: Name of the recipe.
        partners: How many networks there are.
        steps: Optimizer steps that every network has made.
        grafts: How often they met.
        events: Every layer that took a share, in order; on ranks, those of this rank's network.
        seconds: Time spent inside regrow, in all.
        notes: What is left alone, blended half and half or not matched, and why.
    """

    recipe: str
    partners: int
    steps: int = 0
    grafts: int = 0
    events: list[Grafted] = field(default_factory=list["Grafted"])
    seconds: float = 0.0
    notes: tuple[str, ...] = ()

    def saved(self) -> dict[str, Any]:
        """Plain values that a checkpoint can hold."""
        return {
            "grafts": self.grafts,
            "seconds": self.seconds,
            "events": [_saved(event) for event in self.events],
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over what `saved` gave."""
        self.grafts, self.seconds = saved["grafts"], saved["seconds"]
        self.events = [_restored(Grafted, values) for values in saved["events"]]

    def __str__(self) -> str:
        """A few lines for a terminal."""
        lines = [
            f"{self.recipe}: {self.partners} networks, {self.grafts} grafts in {self.steps} steps, "
            f"{self.seconds:.2f} s inside regrow"
        ]
        latest = {(event.partner, event.layer): event for event in self.events}
        for (partner, layer), event in latest.items():
            lines.append(
                f"  network {partner}, {layer}: kept {event.share:.2f} of its own (information "
                f"{event.information:.3g}, the partner's {event.partner_information:.3g}, "
                f"distance {event.distance:.2g})"
            )
        lines.extend(f"  note: {note}" for note in self.notes)
        return "\n".join(lines)


@dataclass(kw_only=True)
class Report:
    """What a recipe has done to a model so far.

    Attributes:
        recipe: Name of the recipe.
        layers: The layers that it watches, with their number of filters: all that were trained so far. One that is
            frozen at first is among them from the step in which it is trained.
        steps: Optimizer steps seen.
        checks: Steps at which scores were taken.
        events: All renewals, in order.
        nonfinite: Scores that were not numbers, over all checks; none of them selected a filter.
        seconds: Time spent inside regrow, in all.
        notes: What the recipe leaves alone in this model, and why.
        resting: The filters that are out of the network now, by layer; empty while it is whole.
        bound: The filters that are out with them, by layer: behind a depthwise layer's input that is out, say, where
            they read nothing else. They come back as they were.
        resting_since: The step after which they were taken out; None while it is whole.
        starved: Filters that are silent and left alone, since all that they hear is constant, by layer.
        blocked: The same, since a factor of 0 stands between them and their readers.
        given_up: The same, since they were renewed again and again and gave no sign of life.
        causes: By layer, what starves or blocks them.
        unjudged: Layers that take another way in training than the one that was traced, step after step, so that nobody
            in them is found dead.
        large: Decisions that took more than a third of a layer or of the network, one line each.
        guarded: Steps that the recipe's guard has shortened, by layer.
        refused: Steps that were not made, since their gradients would have spoilt the optimizer state for ever.
        boundaries: How often the user has said that the task changes (`regrow.loop.Regrower.boundary`).
        network_changes: How often the whole network was changed at once.
        gains: What the weights of a layer were multiplied by before the first step, by the recipe's gain check.
    """

    recipe: str
    layers: dict[str, int]
    steps: int = 0
    checks: int = 0
    events: list[Renewed] = field(default_factory=list["Renewed"])
    nonfinite: int = 0
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    resting: Mapping[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])
    bound: Mapping[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])
    resting_since: int | None = None
    starved: dict[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])
    blocked: dict[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])
    given_up: dict[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])
    causes: dict[str, str] = field(default_factory=dict[str, str])
    unjudged: tuple[str, ...] = ()
    large: tuple[str, ...] = ()
    guarded: Mapping[str, int] = field(default_factory=dict[str, int])
    refused: int = 0
    boundaries: int = 0
    network_changes: int = 0
    gains: Mapping[str, float] = field(default_factory=dict[str, float])

    @property
    def renewed(self) -> int:
        """Number of renewals, filters counted as often as they were renewed."""
        return sum(len(event.filters) for event in self.events)

    def saved(self) -> dict[str, Any]:
        """Plain values that a checkpoint can hold."""
        return {
            "checks": self.checks,
            "nonfinite": self.nonfinite,
            "seconds": self.seconds,
            "large": list(self.large),
            **({"boundaries": self.boundaries} if self.boundaries else {}),
            "events": [_saved(event) for event in self.events],
        }

    def restore(self, saved: Mapping[str, Any], *, steps: int) -> None:
        """Take over what `saved` gave, and the optimizer steps of that time."""
        self.steps = steps
        self.checks, self.nonfinite = saved["checks"], saved["nonfinite"]
        self.seconds, self.large = saved["seconds"], tuple(saved["large"])
        self.boundaries = saved.get("boundaries", 0)
        self.events = [_restored(Renewed, values) for values in saved["events"]]

    def __str__(self) -> str:
        """A few lines for a terminal."""
        lines = [
            f"{self.recipe}: {count(self.renewed, 'renewal')} in {count(self.steps, 'step')}, "
            f"{count(self.checks, 'check')}, {self.seconds:.2f} s inside regrow"
        ]
        for layer, filters in self.layers.items():
            own = [f for event in self.events if event.layer == layer for f in event.filters]
            told = f"{count(len(own), 'renewal')} of {len(set(own))}"
            lines.append(f"  {layer}: {told} of {count(filters, 'filter')}")
        lines += _of_tasks(self)
        for layer, gain in self.gains.items():
            lines.append(f"  {layer}: weights times {gain:.4g} before the first step (gain check)")
        if self.guarded:
            hits = sorted(self.guarded.items(), key=lambda item: -item[1])
            some = ", ".join(f"{layer} {steps}" for layer, steps in hits[:_SHOWN])
            more = f" and {count(len(hits) - _SHOWN, 'more layer')}" * (len(hits) > _SHOWN)
            lines.append(f"  steps that the guard has shortened, by layer: {some}{more}")
        if self.refused:
            lines.append(f"  {count(self.refused, 'step')} not made: gradients were not finite")
        changes = [event.change for event in self.events if event.change is not None]
        if changes:
            lines.append(
                f"  a renewal moved the output by {max(changes):.1e} of its largest entry at most"
            )
        for told, which in (
            ("out of the network now", self.resting),
            ("and with them, since they read nothing but dropped filters", self.bound),
        ):
            if which:
                out = ", ".join(f"{len(filters)} of {layer}" for layer, filters in which.items())
                lines.append(f"  {told}: {out}")
        for why, which in (
            ("starved: what they hear is constant ({cause})", self.starved),
            ("blocked by a factor of 0 ({cause})", self.blocked),
            ("renewed three times without a sign of life", self.given_up),
        ):
            for layer, filters in which.items():
                told = why.format(cause=self.causes.get(layer, ""))
                lines.append(f"  left alone in {layer}: {_few(filters)}, {told}")
        lines.extend(
            f"  not judged: {layer}, whose passes take another way than the one that was traced"
            for layer in self.unjudged
        )
        lines.extend(f"  {each}" for each in self.large[:_SHOWN])
        if len(self.large) > _SHOWN:
            lines.append(f"  and {len(self.large) - _SHOWN} more decisions of this size")
        if self.nonfinite:
            lines.append(f"  {self.nonfinite} scores were not finite; they selected nothing")
        lines.extend(f"  note: {note}" for note in self.notes)
        return "\n".join(lines)


def _of_tasks(report: Report) -> list[str]:
    """What was told of tasks, and what was done to the network as a whole."""
    times = f"the whole network was changed {count(report.network_changes, 'time')}"
    were = plural(report.boundaries, "boundary between tasks was", "boundaries between tasks were")
    told = f"{report.boundaries} {were} told"
    if report.network_changes:
        return [f"  {times}; {told}" if report.boundaries else f"  {times}"]
    return [f"  {told}"] if report.boundaries else []


_SHOWN: Final = 3


def _few(filters: Sequence[int]) -> str:
    """Some numbers of filters."""
    shown = ", ".join(str(each) for each in filters[:8])
    more = f" and {len(filters) - 8} more" * (len(filters) > 8)
    return f"{plural(len(filters), 'filter')} {shown}{more}"


_Event = TypeVar("_Event", Renewed, Grafted)


def _saved(event: Renewed | Grafted) -> list[object]:
    """The values of an event's fields as a checkpoint can hold them."""
    return [list(each) if isinstance(each, tuple) else each for each in vars(event).values()]


def _restored(kind: type[_Event], values: Sequence[Any]) -> _Event:
    """The inverse of `_saved`."""
    given: list[Any] = [tuple(each) if isinstance(each, list) else each for each in values]
    names = [each.name for each in fields(kind)]
    return kind(**dict(zip(names, given, strict=True)))
