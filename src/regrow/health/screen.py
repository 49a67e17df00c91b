"""A health report on one screen: the layers that matter most, the symptoms, and the advice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Final

from regrow._plural import count, plural
from regrow.health.layer_health import LayerHealth
from regrow.health.symptoms import Symptom

if TYPE_CHECKING:
    from regrow.health.health import Health

WIDTH: Final = 110
_LAYERS: Final = 14
_COLUMNS: Final = (
    ("dead", "dead"),
    ("rare", "rare"),
    ("dormant", "dormant"),
    ("saturated", "satur."),
    ("duplicate", "dupl."),
    ("low_gradient", "GraMa"),
    ("effective_rank", "e.rank"),
    ("gain", "gain"),
    ("weight_ratio", "|w|/fresh"),
    ("step", "step/w"),
)


def screen(health: Health) -> str:
    """All of it, some forty lines."""
    layers, symptoms, advice = health.layers, health.symptoms, health.advice
    units, told = sum(layer.count for layer in layers), ", ".join(health.evidence)
    lines = [
        f"{count(len(layers), 'layer')}, {units:,} {plural(units, 'unit')}, "
        f"{health.examples:,} {plural(health.examples, 'example')}; from {told}",
        *_resolution(health.examples),
        "",
        *_table(layers, symptoms),
        "",
        "symptoms, which are no verdicts:" if symptoms else "symptoms: none",
    ]
    for line in _grouped(symptoms, layers):
        lines += _wrapped(line)
    lines += ["", "advice" if advice else "advice: none that was measured here fits these symptoms"]
    for each in advice:
        costs = f"; costs {each.cost}" if each.cost else ""
        lines += _wrapped(f"- {each.title} (shown in {each.source}{costs})")
        if each.code:
            lines.append(f"    {each.code}")
    if advice:
        lines.append("what was measured, and where it does not hold: health.advice")
    if health.notes:
        lines += ["", *_wrapped(f"not measured: {health.notes[0]}")]
        if len(health.notes) > 1:
            lines.append(f"  and {len(health.notes) - 1} more: health.notes")
    return "\n".join(lines)


def _resolution(examples: int) -> list[str]:
    """What so few examples cannot tell apart: zero of n seen says at most 3 / n, with 95 % confidence."""
    share = 3 / max(examples, 1)
    if share < 0.01:
        return []
    return [
        f"a unit that fires on fewer than {100 * min(share, 1):.2g} % of all examples may look dead here"
    ]


def _table(layers: Sequence[LayerHealth], symptoms: Sequence[Symptom]) -> list[str]:
    sick = {each.layer for each in symptoms}
    order = sorted(range(len(layers)), key=lambda place: layers[place].path not in sick)
    shown = [layers[place] for place in sorted(order[:_LAYERS])]
    columns = [
        (key, title)
        for key, title in _COLUMNS
        if any(key in layer.units or key in layer.numbers for layer in layers)
    ]
    rows = [["layer", "units", *(title for _, title in columns)]]
    rows += [
        [_fit(layer.path), str(layer.count), *(_cell(layer, key) for key, _ in columns)]
        for layer in shown
    ]
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    lines.insert(1, "-" * max(map(len, lines)))
    left = len(layers) - len(shown)
    return [*lines, f"and {left} more {plural(left, 'layer')}: health.layers"] if left else lines


def _grouped(symptoms: Sequence[Symptom], layers: Sequence[LayerHealth]) -> list[str]:
    """A line a measure; of many layers the one that has it most."""
    counts = {layer.path: layer.count for layer in layers}
    by_measure: dict[str, list[Symptom]] = {}
    for each in symptoms:
        by_measure.setdefault(each.measure, []).append(each)
    lines: list[str] = []
    for several in by_measure.values():
        worst = max(several, key=lambda each: each.count / counts.get(each.layer, 1))
        told = f"{worst.layer or 'network'}: {worst.text}"
        if len(several) > 1:
            units = sum(each.count for each in several)
            of_units = f", {count(units, 'unit')}" if units else ""
            first = f"in {len(several)} layers{of_units}"
            told = f"{first}; {told}"
        lines.append(f"- {told} ({worst.evidence}: {worst.formula})")
    return lines


def _cell(layer: LayerHealth, key: str) -> str:
    if key in layer.units:
        return str(len(layer.units[key]))
    number = layer.numbers.get(key)
    if number is None:
        return "-"
    if not math.isfinite(number):
        return str(number)
    return f"{number:.3g}" if number < 1e4 else f"{number:.1e}"


def _fit(path: str) -> str:
    name = path or "(the model)"
    return name if len(name) <= 34 else f"…{name[-33:]}"


def _wrapped(text: str) -> list[str]:
    return wrap(text, WIDTH, subsequent_indent="  ")
