"""The tables of a study with a stream: what each arm keeps, whether its choice matters, and each at its own rate.

Called by `report/diagnostic_tables.py` for a cell, by the page for the whole study.
"""

from __future__ import annotations

from collections.abc import Callable

from regrow.report import wording
from regrow.report.compared import Against, between
from regrow.report.findings import Comparison
from regrow.report.judged import judged_by
from regrow.report.rates import at_their_rates
from regrow.report.table import Table, differences, last_differences, table_of
from regrow.report.task_numbers import ArmTasks, arm_tasks, fresh_arm
from regrow.report.unit import Unit
from regrow.study.results import Results

_SHOWN = ("n", "Difference", "95 % CI", "Verdict")


def tasks_table(results: Results, cell: str) -> Table:
    """What each arm reached over the tasks; no rows without a stream."""
    stream = results.study.stream
    unit = judged_by(stream).unit
    count = 1 if stream is None else stream.judged_tasks
    few = f"{count} tasks" if count > 1 else "task"
    fresh = fresh_arm(results)
    share = probed = ""
    if fresh is not None:
        share = (
            f" Share of the gap: of what {fresh} is {_better(unit)} {results.study.baseline} in what trials are "
            f"judged by, over the seeds of both; none is given where {fresh} is not shown to be {_better(unit)} it."
        )
    online = "Online accuracy (right predictions, each before the update that its batch led to)"
    if unit.lower:
        online = (
            "Mean squared error (of predictions each made before the update that its batch led to)"
        )
    rows = arm_tasks(results, cell)
    probe: dict[str, Callable[[ArmTasks], str]] = {}
    if any(row.probe is not None for row in rows):
        probe["Fresh-probe gap"] = lambda arm: wording.decimal(arm.probe, digits=2)
        probed = (
            " Fresh-probe gap: the loss that is left after diagnostics.probe_steps steps on shuffled labels, minus "
            "that of a fresh network, after the last task: above 0 where the network learns worse."
        )
    return table_of(
        rows,
        {
            "Arm": lambda arm: arm.label,
            "n": lambda arm: str(arm.n),
            f"First {few}{unit.of_value}": lambda arm: unit.value(arm.first),
            f"Last {few}{unit.of_value}": lambda arm: unit.value(arm.last),
            f"All tasks{unit.of_value}": lambda arm: unit.value(arm.every),
            f"At the end{unit.of_value}": lambda arm: unit.value(arm.end),
            "Share of the gap (%)": lambda arm: wording.percent(arm.kept, digits=0),
            "Renewed per task": lambda arm: wording.decimal(arm.renewed),
            "Of them again (%)": lambda arm: wording.percent(arm.again, digits=0),
            "Dead (%)": lambda arm: wording.percent(arm.dead),
            "Dormant (%)": lambda arm: wording.percent(arm.dormant),
            **probe,
        },
        caption=(
            f"{online} in the first and last "
            f"tasks and in all, means over n trials; a trial that stopped early counts in the tasks that it ended. At "
            f"the end: {'error on new examples' if unit.lower else 'accuracy on the images'} of the last {few} when "
            f"they end.{share} "
            "Of them again: units renewed in the task before as well. Dead: units that give 0 on all "
            "test images looked at; dormant: at most a tenth of their layer's mean; both after the last task, over all "
            f"layers' units.{probed}"
        ),
    )  # fmt: skip


def _better(unit: Unit) -> str:
    """On which side of another an arm is better."""
    return "below" if unit.lower else "above"


def chance_table(results: Results, cell: str) -> Table:
    """Each arm against its control that picks at random; no rows without a stream or such a control."""
    pairs: list[tuple[str, str]] = []
    if results.study.stream is not None:
        arms = results.study.by_cell[cell]
        pairs = [
            (tested, control)
            for control, tested in results.study.replays.items()
            if tested in arms and control in arms
        ]
        pairs += [(arm.label, arm.neutral_control) for arm in arms.values() if arm.neutral_control]
    judged = judged_by(results.study.stream)
    renewed = {arm.label: wording.decimal(arm.renewed) for arm in arm_tasks(results, cell)}
    return table_of(
        [between(results, cell, tested, Against(other, "control")) for tested, other in pairs],
        {
            "Arm": lambda found: found.arm,
            "Picked at random": lambda found: found.versus,
            "Renewed per task": lambda found: f"{renewed[found.arm]} / {renewed[found.versus]}",
            **differences(judged.unit, *_SHOWN, "Wilcoxon p"),
        },
        caption=(
            "Whether the criterion is better than chance: each arm minus the one that renews as many units of the same "
            f"layers at the same steps, picked at random; {judged.accuracy}, paired over n seeds"
            f"{', below 0 where it is better' if judged.unit.lower else ''}."
        ),
        words={"Arm", "Picked at random", "Verdict"},
    )


def rates_table(results: Results) -> Table:
    """The arms from the best to the worst, each seed at the learning rate that the other half of the seeds chose."""
    judged = judged_by(results.study.stream)
    unit = judged.unit
    baseline, fresh = results.study.baseline, fresh_arm(results)
    rows = sorted(
        at_their_rates(results), key=lambda row: (row.after is None, -unit.worth(row.after or 0.0))
    )
    kept = ""
    if fresh is not None:
        kept = f" Share of the gap: of what {fresh} is {_better(unit)} {baseline}, both at their own rates."
    best = "least" if unit.lower else "largest"

    def rate(found: float | None) -> str:
        return wording.NOTHING if found is None else f"{found:g}"

    return table_of(
        [(row, row.versus) for row in rows],
        {
            "Arm": lambda row: row[0].label,
            "Rates": lambda row: " / ".join(dict.fromkeys(map(rate, row[0].chosen))),
            "At the grid's end": lambda row: "yes" if row[0].at_the_end else "",
            f"Where it was chosen{unit.of_value}": lambda row: unit.value(row[0].before),
            f"Judged{unit.of_value}": lambda row: unit.value(row[0].after),
            "Share of the gap (%)": lambda row: wording.percent(row[0].kept, digits=0),
            **last_differences(unit, *_SHOWN),
            f"Minus picked at random{unit.of_difference}": lambda row: _with_interval(
                row[0].chance
            ),
            f"Behind the first{unit.of_difference}": lambda row: _with_interval(row[0].behind),
        },
        caption=(
            f"Each arm at its own learning rate, from the best to the worst: {judged.accuracy}, each half of the seeds "
            f"at the rate with the {best} mean over the other half (where both halves chose one, it stands there "
            f"once).{kept} Difference: from {baseline} at its own rates, paired over n seeds. Minus picked at random: "
            "from the arm that renews as many units of the same layers at the same steps, at the same rates. Behind "
            "the first: from the arm at the top, which was found by looking. A best rate at the grid's end may lie "
            "beyond it: give the grid one more on that side."
        ),
        words={"Arm", "At the grid's end", "Verdict"},
    )


def _with_interval(found: Comparison | None) -> str:
    """A difference and its interval, in one cell."""
    if found is None:
        return wording.NOTHING
    numbers, unit = found.numbers, found.unit
    ends = unit.interval(numbers.low, numbers.high)
    return f"{unit.difference(numbers.mean_difference)} [{ends}]"
