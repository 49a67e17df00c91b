"""One self-contained page of a study, worked out here for `page.html`, which says how it looks."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from operator import attrgetter
from types import MappingProxyType
from typing import Final, cast

from regrow.report import wording
from regrow.report.drawing import MANY_CELLS, Drawing, Place, file_name
from regrow.report.effort import effort
from regrow.report.findings import StudySummary
from regrow.report.judged import judged_by
from regrow.report.table import Table, table_of
from regrow.report.template import filled
from regrow.study.grouped import grouped
from regrow.study.keys import flat
from regrow.study.results import Results
from regrow.study.statistics import FEWEST_PAIRS

Drawn = Sequence[tuple[Drawing, bytes]]  # figures, each with its SVG

_FIRST: Final = ("data", "model", "stream", "train", "arms", "grid", "seeds")
"""Settings in the order of the page; others come after them."""

_LONG: Final = 30  # rows of a table that is folded up at first


def page(
    results: Results,
    found: StudySummary,
    drawn: Drawn,
    *,
    narrow: Mapping[str, bytes] = MappingProxyType({}),
) -> str:
    """Write the report as one HTML document that loads nothing; `narrow` has wide figures for a narrow screen."""
    document, environment = results.study.document, results.environment
    told = [key for key in dict.fromkeys((*_FIRST, *document)) if key not in {"name", "note"}]
    inlined = [(one, _base64(svg), _base64(narrow.get(one.name, b""))) for one, svg in drawn]

    def figures_at(place: Place, of: str = "") -> list[tuple[Drawing, str, str]]:
        return [each for each in inlined if (each[0].place, each[0].of) == (place, of)]

    def arm_figures(cell: str) -> dict[str, list[Drawing]]:
        return grouped((one for one, _ in drawn if one.of == cell and one.arm), attrgetter("arm"))

    def arm_links(cell: str) -> dict[str, str]:
        return {arm: f"figure-{own[0].name}" for arm, own in arm_figures(cell).items()}

    return filled(
        "page.html",
        results=results,
        found=found,
        about=_about(results),
        judged=judged_by(results.study.stream),
        several=any(arm.networks > 1 for cell in found.cells for arm in cell.arms),
        note=document.get("note"),
        file_name=file_name,
        figures_at=figures_at,
        arm_figures=arm_figures,
        arm_links=arm_links,
        cell_links={cell.cell: f"cell-{place}" for place, cell in enumerate(found.cells)},
        crashed=_crashed(results, found),
        settings=_settings_table({key: document[key] for key in told if key in document}),
        environment=_settings_table(environment),
        command=environment.get("command"),
        version=environment.get("regrow"),
        document=json.dumps(document, indent=2, ensure_ascii=False),
        spent=effort(results),
        long=_LONG,
        many_cells=MANY_CELLS,
        fewest_pairs=FEWEST_PAIRS,
    )


def _about(results: Results) -> list[str]:
    """Data set and model, and how many cells, arms and seeds there are."""
    study = results.study
    parts = (study.document.get(key) for key in ("data", "model"))
    names = [
        str(cast("dict[str, object]", p).get("name", "")) for p in parts if isinstance(p, dict)
    ]
    counts = [wording.count(len(study.arms), "arm"), wording.count(len(study.seeds), "seed")]
    if study.grid:
        counts.insert(0, wording.count(len(results.cells), "cell"))
    return [*filter(None, names), " \N{MULTIPLICATION SIGN} ".join(counts)]


def _crashed(results: Results, found: StudySummary) -> Table:
    crashed = [trial for trial in results.trials if trial.status == "crashed"]
    # A large sweep may have thousands, most of them alike.
    large = bool(found.panels) and not found.cells
    listed = sorted(crashed, key=lambda trial: trial.trial)[: _LONG if large else None]
    left = len(crashed) - len(listed)
    more = f" {left} more are in results.sqlite." if left else ""
    return table_of(
        listed,
        {
            "Trial": lambda trial: trial.trial,
            "Epochs": lambda trial: str(trial.epochs or 0),
            "Error": lambda trial: trial.error or wording.NOTHING,
        },
        caption=f"Trials that stopped with an error: counted as failed, in no mean.{more}",
        words={"Trial", "Error"},
    )


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _settings_table(document: Mapping[str, object]) -> Table:
    return table_of(
        settings_of(document).items(),
        {"Setting": lambda each: each[0], "Value": lambda each: each[1]},
        caption="",
        words={"Setting", "Value"},
    )


def settings_of(document: Mapping[str, object]) -> dict[str, str]:
    """Write nested settings by dotted key; what is unset or empty is left out."""
    every = flat(document)
    return {key: _written(value) for key, value in every.items() if value not in (None, [], {})}


def _written(value: object) -> str:
    if isinstance(value, list):
        items = cast("list[object]", value)
        whole = [item for item in items if isinstance(item, int)]
        run = len(whole) == len(items) > 3 and whole == [*range(whole[0], whole[0] + len(whole))]
        return f"{whole[0]} to {whole[-1]}" if run else ", ".join(_written(item) for item in items)
    return value if isinstance(value, str) else json.dumps(value)
