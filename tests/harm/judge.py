"""What the oracle says of every renewal in a situation, and whether the dead were found and the others named."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from harm.oracle import Class
from harm.recipes import Case
from harm.registry import Kill, Quiet, Situation
from harm.training import Run, train
from regrow.errors import RegrowError
from regrow.history import Renewed

Row = dict[str, Any]

CLASSES = ("living", "rare", "dead", "blocked", "starved")
WINDOW, LOOK_EVERY, FULL = 300, 100, 32
"""The issue's numbers: examples of a window, steps between two looks, and the batch from which ten steps are enough."""


def limit(situation: Situation, kill: Kill, case: Case) -> int:
    """Steps from a unit's death in which it must be found, by the issue's limits."""
    small = situation.batch < FULL
    window = -(-WINDOW // situation.batch) + 1 if small else 10
    if kill.limit is not None:
        window = kill.limit
    return window + case.act + (LOOK_EVERY if kill.hidden else case.see)


def judge(situation: Situation, name: str, case: Case, replayed: Sequence[Renewed] = ()) -> Row:
    """Train a situation with a recipe, and have the oracle judge what was renewed.

    Args:
        situation: What happens.
        name: Of the recipe.
        case: The recipe.
        replayed: For the random control.

    Returns:
        The row. What must not be is listed in its ``faults``, for recipes whose rule is death.
    """
    row: Row = {"situation": situation.name, "kind": situation.kind, "recipe": name}
    row["rule"] = case.rule
    try:
        run = train(situation, case, replayed)
    except RegrowError as error:
        row |= {"refused": f"{type(error).__name__}: {error}"}
        return row | {"faults": [f"refused: {error}"] if case.rule == "death" else []}
    row |= _units(situation, run) | _renewals(situation, run)
    row["kills"] = [_found(situation, kill, name, case, run) for kill in situation.kills]
    row["left_dead"] = _left(situation, case, run)
    row |= _named(situation, run) | {"warnings": run.said}
    return row | {"faults": list(_faults(row)) if case.rule == "death" else []}


def _class_of(situation: Situation, layer: str, unit: int, found: Class) -> str:
    """What the situation says of a unit, before what the oracle says."""
    for kind in ("blocked", "starved"):
        quiet: Quiet | None = getattr(situation, kind).get(layer)
        if quiet is not None and (quiet.units is None or unit in quiet.units):
            return kind
    # Who is not asked has nothing to answer for.
    return "living" if layer in situation.spared or found == "unasked" else found


def _units(situation: Situation, run: Run) -> Row:
    """Units of the layers that are watched, when the last one has been killed."""
    step = max((kill.step for kill in situation.kills), default=0)
    counts: Counter[str] = Counter()
    for layer, found in run.oracle.classes(run.states[step]).items():
        if layer in run.report.layers:
            counts.update(_class_of(situation, layer, n, each) for n, each in enumerate(found))
    return {"units": counts.total(), **{each: counts[each] for each in CLASSES}}


def _renewals(situation: Situation, run: Run) -> Row:
    """Renewals by what the unit was right before its step, or before it was dropped."""
    counts: Counter[str] = Counter()
    harmed: list[str] = []
    for event in run.events:
        state = run.states[event.step if event.dropped is None else event.dropped]
        found = run.oracle.classes(state)[event.layer]
        for unit in event.filters:
            kind = _class_of(situation, event.layer, unit, found[unit])
            if _is_over(situation, event, unit, run):
                kind = found[unit]
            counts[kind] += 1
            if kind != "dead":
                harmed.append(f"{kind} {event.layer}[{unit}] at step {event.step}")
    return {f"{each}_renewed": counts[each] for each in CLASSES} | {"harmed": harmed[:5]}


def _is_over(situation: Situation, event: Renewed, unit: int, run: Run) -> bool:
    """Whether what kept a unit quiet had been renewed before."""
    quiet = situation.starved.get(event.layer)
    if quiet is None or quiet.until is None or unit not in (quiet.units or ()):
        return False
    layer, cause = quiet.until
    return any(e.layer == layer and cause in e.filters and e.step < event.step for e in run.events)


def _found(situation: Situation, kill: Kill, name: str, case: Case, run: Run) -> Row:
    """After how many steps a killed unit was renewed, and what the oracle says of it when it was killed."""
    after = [
        event.step - kill.step
        for event in run.events
        if event.layer == kill.layer and kill.unit in event.filters and event.step >= kill.step
    ]
    return {
        "unit": f"{kill.layer}[{kill.unit}]",
        "step": kill.step,
        "oracle": run.oracle.classes(run.states[kill.step])[kill.layer][kill.unit],
        "after": min(after, default=None),
        "judged": kill.judged and name not in kill.needs_frozen,
        "said": any(
            note.startswith(f"{kill.layer}: not renewed before ") for note in run.report.notes
        )
        if name in kill.needs_frozen
        else kill.layer in getattr(run.report, "unjudged", ()),
        "limit": limit(situation, kill, case),
    }


def _left(situation: Situation, case: Case, run: Run) -> list[str]:
    """Units that were dead for longer than the limit at the end, whoever killed them, and were left so."""
    hidden = any(kill.hidden for kill in situation.kills)
    patience = situation.patience or limit(situation, Kill(layer="", unit=0, hidden=hidden), case)
    since = len(run.states) - 1 - patience
    if since < 0:
        return []
    recent = {(e.layer, unit) for e in run.events if e.step >= since for unit in e.filters}
    given_up = getattr(run.report, "given_up", {})
    first = run.oracle.classes(run.states[since])
    left = [
        (layer, unit)
        for layer in first
        if layer in run.report.layers
        for unit in range(len(first[layer]))
        if (layer, unit) not in recent and unit not in given_up.get(layer, ())
    ]
    for state in (*run.states[since::5], run.states[-1]):
        if left:  # most often nobody is, from the first on
            look = run.oracle.classes(state)
            left = [
                (layer, unit)
                for layer, unit in left
                if _class_of(situation, layer, unit, look[layer][unit]) == "dead"
            ]
    return [f"{layer}[{unit}]" for layer, unit in left]


def _named(situation: Situation, run: Run) -> Row:
    """Whether the report names who is left alone and why, one warning does, and nobody else is named."""
    unnamed: list[str] = []
    misnamed: list[str] = []
    lines = [line for line in str(run.report).splitlines() if not re.search("renewals? of", line)]
    for kind in ("blocked", "starved", "given_up"):
        wanted: dict[str, Quiet] = dict(getattr(situation, kind))
        named: dict[str, Sequence[int]] = getattr(run.report, kind, {})
        lasting = {layer: quiet for layer, quiet in wanted.items() if quiet.named}
        for layer, quiet in lasting.items():
            units = set(range(run.report.layers[layer]) if quiet.units is None else quiet.units)
            missing = units - set(named.get(layer, ()))
            if missing:
                unnamed.append(f"{len(missing)} {kind} units of {layer} not in report.{kind}")
            if not _says(lines, layer, quiet):
                unnamed.append(f"{kind} {layer} with its cause in no line of the report")
        if lasting and not any(_says(run.said, layer, quiet) for layer, quiet in lasting.items()):
            unnamed.append(f"{kind} {', '.join(lasting)}: none with its cause in a RegrowWarning")
        for layer, units in named.items():
            quiet = wanted.get(layer)
            allowed = quiet is not None and (quiet.units is None or set(units) <= set(quiet.units))
            if units and not allowed:
                misnamed.append(f"{kind} {layer}{list(units)}")
    return {"unnamed": unnamed, "misnamed": misnamed}


def _says(texts: Sequence[str], layer: str, quiet: Quiet) -> bool:
    """Whether one of these texts names a layer, and what its situation gives as the cause."""
    return any(layer in text and (quiet.cause or layer) in text for text in texts)


def _faults(row: Row) -> Iterator[str]:
    """What must not be, where the rule is death."""
    for kind in ("living", "blocked", "starved"):
        if row[f"{kind}_renewed"]:
            yield f"{row[f'{kind}_renewed']} {kind} units renewed: {'; '.join(row['harmed'][:3])}"
    for kill in row["kills"]:
        if kill["oracle"] != "dead":
            yield f"{kill['unit']} was killed and is {kill['oracle']}"
        if not kill["judged"]:
            if not kill["said"]:
                yield f"{kill['unit']} cannot be judged, and the report does not say so"
        elif kill["after"] is None:
            yield f"{kill['unit']}, killed at step {kill['step']}, never found"
        elif kill["after"] > kill["limit"]:
            yield f"{kill['unit']} found after {kill['after']} steps, limit {kill['limit']}"
    if row["left_dead"]:
        yield f"left dead: {', '.join(row['left_dead'])}"
    yield from row["unnamed"]
    yield from (f"wrongly named: {each}" for each in row["misnamed"])
