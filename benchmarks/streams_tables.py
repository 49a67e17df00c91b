"""Tables over the studies of streams: a league over streams, questions with their answers, what of a renewal matters.

    python benchmarks/streams_tables.py RUNS       # the folder that holds the studies' own results folders

Every arm is taken at its own learning rate, each half of the seeds at the rate that the other half chose (as in each
study's own table). Written are results/streams-*-tables, each with the numbers beside it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any, Final, cast

from written import write_results

from regrow.report.compared import compare, majority_share, reached
from regrow.report.findings import Comparison
from regrow.report.judged import judged_by
from regrow.report.rates import AtItsRate, at_their_rates, judged_trials
from regrow.report.read import read_results
from regrow.study.records import Trial
from regrow.study.results import Results

RESULTS: Final = Path(__file__).resolve().parents[1] / "results"
LEAGUE: Final = ("memo400", "cmemo300", "perm14")
"""Streams in which plain training loses plasticity, and each arm has a learning rate of its own."""

CONTROL: Final = "stationary14"
"""The stream in which nothing changes."""

QUESTIONS: Final = (
    ("RandomOut (2016) minus a fresh network for each task", "randomout", "fresh"),
    ("RandomOut minus ReDo (2023), each as published", "randomout", "redo"),
    ("RandomOut minus Continual Backprop (2024)", "randomout", "cbp"),
    ("KeepAlive minus a fresh network for each task", "keepalive", "fresh"),
    ("KeepAlive minus RandomOut", "keepalive", "randomout"),
    ("RandomOut: its units minus as many picked at random", "randomout", "random-of-randomout"),
    ("ReDo: its units minus as many picked at random", "redo", "random-of-redo"),
    ("ReDo, readers kept: its units minus as many picked at random", "redo-kept", "random-of-redo-kept"),
    ("Continual Backprop: its units minus as many picked at random", "cbp", "random-of-cbp"),
    ("ReDo: readers kept minus readers zeroed", "redo-kept", "redo"),
    ("ReDo: exact optimizer state minus moments zeroed and the count kept", "redo", "redo-zeroed"),
)  # fmt: skip
"""What is asked, and which two arms answer it."""

BEYOND: Final = {
    "memo400-low": "memo400",
    "cmemo300-high": "cmemo300",
    "perm14-high": "perm14",
    "perm14-low": "perm14",
}
"""Studies of one rate beyond an end of another's grid."""

SGD: Final = "{}-sgd"
"""A stream of the league with plain SGD."""

ARMS: Final = "memo400-arms"
"""Other networks, images and steps in place of renewal, on the first stream of the league."""

ONE_RATE: Final = {
    "two": ("warm-start", "noisy"),  # two tasks, judged by the test accuracy at the end
    "permuted28": ("permuted28",),
}
"""Streams at one learning rate an arm."""

SHORT: Final = {
    "none": "nothing",
    "fresh": "a fresh network for each task (is told where they begin)",
    "keepalive": "`KeepAlive`",
    "randomout": "`RandomOut` (2016)",
    "redo": "`ReDo` (2023)",
    "cbp": "`ContinualBackprop` (2024)",
    "shrink-perturb": "`ShrinkPerturb` (2020; is told)",
}
"""The arms of the README's table, and what they are called there."""

READERS: Final = ("zero", "keep")
STATES: Final = ("exact", "zeroed", "kept")


def found_in(runs: Path, names: tuple[str, ...]) -> dict[str, Results]:
    """The studies that have been run."""
    folders = {name: runs / f"streams-{name}" for name in names}
    return {
        name: read_results(folder)
        for name, folder in folders.items()
        if (folder / "results.sqlite").exists()
    }


def signed(found: Comparison) -> str:
    """A difference in points with its interval, and over how many seeds."""
    numbers = found.numbers
    if numbers.mean_difference is None:
        return ""
    middle = f"{100 * numbers.mean_difference:+.1f}"
    if numbers.low is None or numbers.high is None:
        return middle
    return f"{middle} [{100 * numbers.low:+.1f}, {100 * numbers.high:+.1f}]"


def entry(row: AtItsRate | None) -> str:
    """Accuracy, rate and share of the gap in one cell."""
    if row is None or row.after is None:
        return ""
    rates = "/".join(f"{rate:g}" for rate in dict.fromkeys(row.chosen) if rate is not None)
    end = "*" if row.at_the_end else ""
    kept = "" if row.kept is None else f", {100 * row.kept:.0f} %"
    return f"{100 * row.after:.1f} ({rates}{end}{kept})"


def league(found: Mapping[str, Results]) -> tuple[list[str], dict[str, Any]]:
    """Arms by the mean share of the gap that they keep over the streams that they were run on."""
    rows = {name: {row.label: row for row in at_their_rates(of)} for name, of in found.items()}
    control = of_control(found)
    arms = dict.fromkeys(label for own in rows.values() for label in own)

    def standing(label: str) -> float:
        kept = [own[label].kept for own in rows.values() if label in own]
        return fmean([0.0 if each is None else each for each in kept])

    streams = [name for name in LEAGUE if rows.get(name)]
    heads = [f"{name}, n = {most(rows[name])}" for name in streams]
    heads += ["nothing changes: minus none"] if control else []
    lines = [f"| arm | {' | '.join(heads)} |", f"|:--|{'--:|' * len(heads)}"]
    for label in sorted(arms, key=standing, reverse=True):
        cells = [entry(rows[name].get(label)) for name in streams]
        if control:
            cells.append(signed(control[label]) if label in control else "")
        lines.append(f"| {label} | {' | '.join(cells)} |")
    numbers = {name: [asdict(row) for row in own.values()] for name, own in rows.items() if own}
    if control:
        numbers[CONTROL] = [asdict(each) for each in control.values()]
    return lines, numbers


def of_control(found: Mapping[str, Results]) -> dict[str, Comparison]:
    """By arm, what it does where nothing changes; empty where that was not run."""
    return {each.arm: each for each in against_plain(found[CONTROL])} if CONTROL in found else {}


def short(found: Mapping[str, Results]) -> tuple[list[str], dict[str, Any]]:
    """The README's table: accuracy at each arm's own rates, and what it costs where nothing changes."""
    rows = {
        name: {row.label: row for row in at_their_rates(found[name])}
        for name in (*LEAGUE, *map(SGD.format, LEAGUE))
        if name in found
    }
    control = of_control(found)
    heads = [f"{name}, n = {most(own)}" for name, own in rows.items()]
    lines = [
        f"| what acts | {' | '.join(heads)} | nothing changes: points |",
        f"|:--|{'--:|' * len(heads)}--:|",
    ]
    numbers: dict[str, Any] = {}
    for label, words in SHORT.items():
        after = [own[label].after if label in own else None for own in rows.values()]
        cells = ["" if each is None else f"{100 * each:.1f}" for each in after]
        last = signed(control[label]) if label in control else ""
        lines.append(f"| {words} | {' | '.join(cells)} | {last} |")
        numbers[label] = after
    return lines, numbers


def beyond(
    found: Mapping[str, Results], more: Mapping[str, Results]
) -> tuple[list[str], dict[str, Any]]:
    """What one more rate does for the arms whose best one is an end of the grid."""
    lines = ["| stream | arm | in the grid | beyond its end |", "|:--|:--|--:|--:|"]
    numbers: dict[str, Any] = {}
    for name, results in more.items():
        stream = BEYOND[name]
        rate = cast("Mapping[str, Any]", results.study.document["train"])["lr"]
        rows = {row.label: row for row in at_their_rates(found[stream])}
        for arm in results.study.arms:
            row = rows.get(arm.label)
            if row is not None:
                reached_there = mean(results, "base", arm.label)
                lines.append(
                    f"| {stream} | {arm.label} | {entry(row)} | {reached_there} ({rate:g}) |"
                )
                numbers[f"{stream}/{arm.label}"] = {"rate": rate, "accuracy": reached_there}
    return lines, numbers


def at_own_rates(of: Results) -> tuple[list[str], dict[str, Any]]:
    """The arms of one study, each at its own rates, from best to worst."""
    rows = sorted(at_their_rates(of), key=lambda row: row.after or 0.0, reverse=True)
    own = {row.label: row for row in rows}
    lines = [
        f"| arm, n = {most(own)} | accuracy (rate, share of the gap) | minus none |",
        "|:--|--:|--:|",
    ]
    for row in rows:
        versus = None if row.label == "none" else row.versus
        lines.append(f"| {row.label} | {entry(row)} | {'' if versus is None else signed(versus)} |")
    return lines, {"rows": [asdict(row) for row in rows]}


def at_one_rate(found: Mapping[str, Results]) -> tuple[list[str], dict[str, Any]]:
    """Accuracy, and minus plain training, at the one learning rate that each arm has."""
    versus = {name: {each.arm: each for each in against_plain(of)} for name, of in found.items()}
    heads = [
        f"{name}, n = {max(each.numbers.n for each in own.values())} | minus none"
        for name, own in versus.items()
    ]
    lines = [f"| arm | {' | '.join(heads)} |", f"|:--|{'--:|--:|' * len(heads)}"]
    labels = dict.fromkeys(arm.label for of in found.values() for arm in of.study.arms)
    for label in labels:
        cells = [
            f"{mean(of, 'base', label)} | {signed(versus[name][label]) if label in versus[name] else ''}"
            for name, of in found.items()
        ]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return lines, {name: [asdict(each) for each in own.values()] for name, own in versus.items()}


def most(rows: Mapping[str, AtItsRate]) -> int:
    """Over how many seeds the arms were compared."""
    return max((row.versus.numbers.n for row in rows.values() if row.versus is not None), default=0)


def against_plain(results: Results) -> Iterator[Comparison]:
    """Every arm minus plain training, in the only cell."""
    for arm in results.study.arms:
        if arm.label != results.study.baseline:
            yield minus(results, "base", arm.label, results.study.baseline)


def minus(results: Results, cell: str, first: str, second: str) -> Comparison:
    """One arm minus another in one cell."""
    own, other = results.arm(cell, first), results.arm(cell, second)
    return between(results, (first, own), (second, other))


def between(
    results: Results,
    first: tuple[str, Mapping[int, Trial]],
    second: tuple[str, Mapping[int, Trial]],
) -> Comparison:
    """The trials of one arm minus those of another; chance is the same in all cells."""
    share = majority_share(results, results.cells[0])
    return compare(reached(*first), reached(*second), role="baseline", share=share)


def questions(found: Mapping[str, Results]) -> tuple[list[str], dict[str, Any]]:
    """Pairs of arms, each at its own rates; a control that picks at random has those of its arm."""
    streams = [name for name in LEAGUE if name in found]
    lines = [f"| question | {' | '.join(streams)} |", f"|:--|{'--:|' * len(streams)}"]
    numbers: dict[str, Any] = {name: [] for name in streams}
    judged = {name: judged_trials(found[name]) for name in streams}
    rows = {name: {row.label: row for row in at_their_rates(found[name])} for name in streams}
    for asked, first, second in QUESTIONS:
        cells: list[str] = []
        for name in streams:
            own = judged[name]
            if first not in own or second not in own:
                cells.append("")
                continue
            results = found[name]
            row = rows[name][first]
            answer = (
                row.chance
                if second.startswith("random-of-") and row.chance is not None
                else between(results, (first, own[first]), (second, own[second]))
            )
            numbers[name].append({"question": asked, **asdict(answer)})
            cells.append(signed(answer))
        if any(cells):
            lines.append(f"| {asked} | {' | '.join(cells)} |")
    return lines, numbers


def ablation(results: Results) -> tuple[list[str], dict[str, Any]]:
    """Readers kept or zeroed, the optimizer's state, the criterion: one number each, and what it is against chance."""
    rates = [cell for cell in results.cells if results.trials_in(cell)]
    lines = [
        "| rate | readers | optimizer state | units by ReDo's rule (%) | picked at random (%) | difference (points) |",
        "|:--|:--|:--|--:|--:|--:|",
    ]
    numbers: dict[str, Any] = {}
    for cell in rates:
        rate = cell.partition("=")[2]
        lines += [
            f"| {rate} | | {label} | {mean(results, cell, label)} | | |"
            for label in (results.study.baseline, "fresh")
        ]
        for readers in READERS:
            for state in STATES:
                own, drawn = f"{readers}-{state}", f"random-{readers}-{state}"
                answer = minus(results, cell, own, drawn)
                numbers[f"{cell}/{own}"] = asdict(answer)
                told = {"zero": "zeroed", "keep": "kept"}[readers]
                lines.append(
                    f"| {rate} | {told} | {state} | {mean(results, cell, own)} | "
                    f"{mean(results, cell, drawn)} | {signed(answer)} |"
                )
        pairs = [
            *(("readers kept minus zeroed", f"keep-{state}", f"zero-{state}") for state in STATES),
            *(("state exact minus zeroed", f"{r}-exact", f"{r}-zeroed") for r in READERS),
            *(("state exact minus kept", f"{r}-exact", f"{r}-kept") for r in READERS),
        ]
        for asked, first, second in pairs:
            answer = minus(results, cell, first, second)
            numbers[f"{cell}/{asked}/{first}"] = asdict(answer)
            lines.append(f"| {rate} | {asked} | {first} | | | {signed(answer)} |")
    return lines, numbers


def mean(results: Results, cell: str, label: str) -> str:
    """The mean accuracy of an arm's trials, in percent."""
    known = [
        trial.test_accuracy
        for trial in results.arm(cell, label).values()
        if trial.test_accuracy is not None
    ]
    return f"{100 * fmean(known):.1f}" if known else ""


def main() -> None:
    """Write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path)
    runs = parser.parse_args().runs
    found = found_in(runs, (*LEAGUE, CONTROL))
    by_sgd = found_in(runs, tuple(map(SGD.format, LEAGUE)))
    sgd = {name: by_sgd[key] for name in LEAGUE if (key := SGD.format(name)) in by_sgd}
    judged = {name: judged_by(of.study.stream).whole for name, of in found.items()}
    for name, (lines, numbers) in {
        "league": league(found),
        "short": short({**found, **by_sgd}),
        "beyond": beyond(found, found_in(runs, tuple(BEYOND))),
        "questions": questions(found),
        **({"sgd": league(sgd), "sgd-questions": questions(sgd)} if sgd else {}),
        **{name: ablation(of) for name, of in found_in(runs, ("ablation",)).items()},
        **(
            {"arms": at_own_rates(found_in(runs, (ARMS,))[ARMS])} if found_in(runs, (ARMS,)) else {}
        ),
        **{
            name: at_one_rate(of) for name, them in ONE_RATE.items() if (of := found_in(runs, them))
        },
    }.items():
        write_results(RESULTS / f"streams-{name}-tables", {"judged": judged, **numbers}, lines)
        print("\n".join(lines), end="\n\n")


if __name__ == "__main__":
    main()
