"""The zoo's table as a page, from its rows."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from zoo import nets
from zoo.rows import CLASSES, Row

ROOT: Final = Path(__file__).resolve().parents[2]
RESULTS: Final = ROOT / "results" / "zoo"
PAGE: Final = ROOT / "docs" / "zoo.md"
LISTS: Final = {"torchvision": nets.TORCHVISION, "timm": nets.TIMM}

_INTRODUCTION = """\
# The zoo

Every classification CNN of torchvision and a fixed list of 150 CNNs of timm (`tests/zoo/nets.py`), with random
weights: what `regrow.trace` finds there, and whether it is right. Nothing is downloaded. Networks of kinds that neither
has are on [another page](oracle.md).
"""

_MEANING = """\
## What the classes mean

- **followed**: the readers of the filter are known, with their channels. Other filters may be added to it on its
  way (a residual stream): the readers then read their sum, and `Filters.coupled` says so.
- **statistics**: followed channel by channel, but a group normalisation's mean and deviation run over several filters
  of the layer, so that each still moves the other channels of its group a little. `Filters.mixed` names the norm.
- **mixed**: an operation brings the filters of one layer together (normalisation over channels, attention, a softmax or
  a maximum over channels), so that behind it a channel depends on several or on all of them, in ways that cannot be
  told apart. The readers are known. `Filters.mixed` names the operation.
- **refused**: who reads it cannot be known, and `Filters.refused` says why and where. A renewal touches the filter's
  own entries only there, or none with `exclude=["path.of.the.layer"]`; who knows better can pass `wiring=`.
- **wrong**: the judge contradicts the wiring: a reader or a channel that is not named, a channel that is named and
  never changes, or a filter whose own entries are elsewhere.

Filters of the output head (never renewed) and of layers that run in neither mode are not counted. The column s has the
processor seconds of tracing.

## How it is judged

One filter of every layer that was not refused. The network runs, and every layer's input and output are kept; it runs
again with all layers giving what they gave before, except that one filter's channel is disturbed. The inputs of
exactly the named readers must differ, in exactly the named channels, and nothing else by a bit, the output included.
With group statistics only the layers are named, not the channels, and only they are judged. A filter's own entries
are drawn anew as well: its channel must change and no other. Norm parameters, running statistics, layer scales and
gates are drawn at random first, so that no reader hides behind a zero. Images are 64 pixels wide where a network
takes that.

    make zoo                                             # resumes where it was stopped
    .venv/bin/python benchmarks/zoo.py timm/resnet18     # judges these again
    .venv/bin/python benchmarks/zoo.py --page            # only writes this page from results/zoo

`make test` judges a sample, `make test-all` the whole. torchvision and timm are installed as wheels without their
dependencies. Where torchvision's compiled operators do not fit the build of torch, `import torchvision` fails on their
names: `tools/mend_torchvision.py`, which make runs, declares them. Classification networks use none of them.
"""


def load() -> list[Row]:
    """The rows of both packages, in the order of their lists."""
    rows: dict[str, Row] = {}
    for package in LISTS:
        file = RESULTS / f"{package}.jsonl"
        if file.is_file():
            for line in file.read_text().splitlines():
                row = json.loads(line)
                rows[row["name"]] = row
    return [rows[name] for names in LISTS.values() for name in names if name in rows]


def page(rows: Sequence[Row]) -> str:
    """The page, in Markdown."""
    by_package = {
        package: [row for row in rows if row["name"].startswith(f"{package}/")] for package in LISTS
    }
    parts = [_INTRODUCTION, _summary(by_package), _versions(rows), _MEANING]
    parts.append(_tally("## What mixes", "operation", _added(rows, "mixed_by")))
    parts.append(_tally("## Why filters were refused", "reason", _added(rows, "reasons")))
    wrong = [f"- `{row['name']}`: {each}" for row in rows for each in row["wrong"]]
    if wrong:
        parts.append("\n".join(["## Wrong", "", *wrong, ""]))
    for package, some in by_package.items():
        parts.append(_table(package, some))
    left = "\n".join(f"- `torchvision/{name}`: {why}" for name, why in nets.LEFT_OUT.items())
    parts.append(f"## Left out\n\n{left}\n")
    return "\n".join(parts)


def _summary(by_package: dict[str, list[Row]]) -> str:
    head = f"| | networks | filters | {' | '.join(CLASSES)} | judged | wrong | all followed |"
    lines = [head, "|:--|--:|--:|--:|--:|--:|--:|--:|--:|--:|"]
    both = [row for rows in by_package.values() for row in rows]
    for title, rows in (*by_package.items(), ("both", both)):
        total = sum(row["filters"] for row in rows)
        cells = [_share(sum(row[key] for row in rows), total) for key in CLASSES]
        judged = sum(row["judged"] for row in rows)
        wrong = sum(len(row["wrong"]) for row in rows)
        whole = sum(row["followed"] == row["filters"] for row in rows)
        lines.append(
            f"| {title} | {len(rows)} | {total:,} | {' | '.join(cells)} | {judged:,} | {wrong} | {whole} |"
        )
    note = (
        "The last column counts the networks of which every filter is followed. Strictly, 95 % are followed in\n"
        "torchvision's networks and not in timm's list; with those that share group statistics, whose readers are\n"
        "known channel by channel too, in both.\n"
    )
    return "\n".join([*lines, "", note])


def _versions(rows: Iterable[Row]) -> str:
    every = sorted({", ".join(f"{k} {v}" for k, v in row["versions"].items()) for row in rows})
    return f"Measured with {'; '.join(every)}.\n"


def _added(rows: Iterable[Row], key: str) -> Counter[str]:
    added: Counter[str] = Counter()
    for row in rows:
        added.update(row[key])
    return added


def _tally(title: str, what: str, counts: Counter[str]) -> str:
    if not counts:
        return f"{title}\n\nNone.\n"
    lines = [f"| {each} | {count:,} |" for each, count in counts.most_common()]
    return "\n".join([title, "", f"| {what} | filters |", "|:--|--:|", *lines, ""])


def _table(package: str, rows: Sequence[Row]) -> str:
    lines = [
        f"## {package}",
        "",
        f"| network | layers | filters | {' | '.join(CLASSES)} | judged | wrong | s | mixed by, refused for |",
        "|:--|--:|--:|--:|--:|--:|--:|--:|--:|--:|:--|",
    ]
    for row in rows:
        numbers = (row[key] for key in ("layers", "filters", *CLASSES, "judged"))
        notes = "; ".join((*row["mixed_by"], *row["reasons"]))
        lines.append(
            f"| {row['name'].partition('/')[2]} | {' | '.join(f'{n:,}' for n in numbers)} | {len(row['wrong'])} "
            f"| {row['trace_seconds']:.1f} | {notes} |"
        )
    return "\n".join([*lines, ""])


def _share(part: int, total: int) -> str:
    return f"{part:,} ({100 * part / total:.1f} %)" if total else "0"
