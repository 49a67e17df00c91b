"""What `regrow.inspect` found of one network, worked out here for `health.html`, which says how it looks.

Called by `cli/inspect` with a `Health`; the page is written by `report/template`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Final

import regrow
from regrow._whole import write_whole
from regrow.errors import StoreError
from regrow.health.layer_health import STATES, LayerHealth
from regrow.health.measures import BY_KEY, INPUT_SHIFT, MEASURES, PROBE_GAP
from regrow.report import wording
from regrow.report.pixels import filter_image
from regrow.report.table import Table, table_of
from regrow.report.template import filled

if TYPE_CHECKING:
    from regrow.health import Advice, Health, Symptom

_WORDS: Final = {"": "nothing named", "unknown": "not judged"}


@dataclass(frozen=True, kw_only=True)
class Run:
    """Units side by side that are in one state."""

    state: str  # key of the measure; "" and "unknown" besides
    word: str  # the same in words
    start: int  # the first of them
    count: int  # how many


@dataclass(frozen=True, kw_only=True)
class Strip:
    """One layer as a strip of its units."""

    layer: LayerHealth  # the layer
    runs: tuple[Run, ...]  # from its first unit to its last
    told: str  # the same in words, for those who do not see it


def health_page(health: Health, *, title: str) -> str:
    """Write it as one HTML document that loads nothing and reads without its script."""
    strips = [_strip(layer) for layer in health.layers]
    present = {run.state for strip in strips for run in strip.runs}
    return filled(
        "health.html",
        title=title,
        health=health,
        version=regrow.__version__,
        headline=_headline(health),
        legend=[(key, _word(key)) for key in (*STATES, "", "unknown") if key in present],
        strips=strips,
        links={_named(layer): f"layer-{place}" for place, layer in enumerate(health.layers)},
        pictures=_pictures(health),
        advice=[(each, _places(each, health.symptoms)) for each in health.advice],
        symptoms=_symptoms(health.symptoms),
        units=_units(health.layers),
        values=_numbers(health.layers),
        measures=_measures(),
    )


def write_health_page(health: Health, path: Path, *, title: str) -> None:
    """Write the page into a file, whole or not at all."""
    try:
        write_whole(path, health_page(health, title=title).encode())
    except OSError as error:
        raise StoreError(f"{path}: the page cannot be written: {error}") from error


def _headline(health: Health) -> str:
    if not health.symptoms:
        return "Nothing found: leave it as it is."
    layers = {each.layer for each in health.symptoms if each.layer}
    told = wording.count(len(health.symptoms), "symptom")
    return f"{told} in {wording.count(len(layers), 'layer')}." if layers else f"{told}."


def _named(layer: LayerHealth) -> str:
    return layer.path or "(the model)"


def _word(state: str) -> str:
    return _WORDS.get(state) or BY_KEY[state].title


def _strip(layer: LayerHealth) -> Strip:
    runs: list[Run] = []
    for state, several in groupby(layer.states()):
        start = runs[-1].start + runs[-1].count if runs else 0
        runs.append(Run(state=state, word=_word(state), start=start, count=len(list(several))))
    counts = Counter(map(_word, layer.states()))
    told = ", ".join(f"{count} {word}" for word, count in counts.items())
    return Strip(
        layer=layer, runs=tuple(runs), told=f"{wording.count(layer.count, 'unit')}: {told}"
    )


def _pictures(health: Health) -> list[tuple[int, str, str]]:
    """Of the first layer: number, state in words, image."""
    if not health.pictures:
        return []
    states = health.layers[0].states()
    return [
        (number, states[number], filter_image(each)) for number, each in enumerate(health.pictures)
    ]


def _places(advice: Advice, symptoms: Sequence[Symptom]) -> list[str]:
    """The layers that a piece of advice is about, in their order."""
    found = [each.layer for each in symptoms if each.layer and each.measure in advice.measures]
    return list(dict.fromkeys(found))


def _symptoms(symptoms: Sequence[Symptom]) -> Table:
    return table_of(
        symptoms,
        {
            "Layer": lambda each: each.layer or "network",
            "Symptom": lambda each: each.text,
            "Units": lambda each: str(each.count) if each.count else wording.NOTHING,
            "Evidence": lambda each: each.evidence,
            "Formula": lambda each: each.formula,
        },
        caption="None of them is a verdict: networks with dead or dormant units often train well.",
        words={"Layer", "Symptom", "Evidence", "Formula"},
    )


def _units(layers: Sequence[LayerHealth]) -> Table:
    taken = [key for key in STATES if any(key in layer.units for layer in layers)]
    asked = [key for key in taken if any(layer.units.get(key) for layer in layers)]
    none = ", ".join(BY_KEY[key].title for key in taken if key not in asked)
    return table_of(
        layers,
        {
            "Layer": _named,
            "Units": lambda layer: str(layer.count),
            **{_heading(key): partial(_counted, key) for key in asked},
        },
        caption=(
            "Units that each measure names, a dash where it could not be taken. A unit may be named by several; the "
            f"strip shows the worst.{f' Nobody is named by: {none}.' if none else ''}"
        ),
    )


def _counted(key: str, layer: LayerHealth) -> str:
    return str(len(layer.units[key])) if key in layer.units else wording.NOTHING


def _numbers(layers: Sequence[LayerHealth]) -> Table:
    asked = [
        each.key
        for each in MEASURES
        if not each.of_units and any(each.key in layer.numbers for layer in layers)
    ]
    return table_of(
        layers,
        {"Layer": _named, **{_heading(key): partial(_written, key) for key in asked}},
        caption="A dash where it could not be taken. Formulas and sources are below.",
    )


def _written(key: str, layer: LayerHealth) -> str:
    number = layer.numbers.get(key)
    if number is None:
        return wording.NOTHING
    return f"{number:.3g}" if math.isfinite(number) else str(number)


def _heading(key: str) -> str:
    title = BY_KEY[key].title
    return title[:1].upper() + title[1:]


def _measures() -> Table:
    return table_of(
        (*MEASURES, INPUT_SHIFT, PROBE_GAP),
        {
            "Measure": lambda each: each.title,
            "Formula": lambda each: each.formula,
            "Taken from": lambda each: each.evidence,
            "Source": lambda each: each.source,
        },
        caption="h is what a unit gives its readers, behind norm, activation and pooling, over examples and positions.",
        words={"Measure", "Formula", "Taken from", "Source"},
    )
