"""A trial whose weights are no numbers any more has diverged, whatever its recipe does then."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from crossed import crossed, seldom
from lab.alone import run_trial
from regrow.lab import data as lab_data
from regrow.lab.plan import plan
from regrow.study.document import Study

MakeStudy = Callable[..., Study]


RANKINGS = (
    *("overlap", "weights", "random", "activations", "apoz"),
    *("gradients", "taylor", "hessian", "oracle"),
)


@pytest.mark.parametrize(("ranking", "s1"), crossed(seldom(RANKINGS, often=RANKINGS[::3]), [1, 2]))
def test_filters_that_leave_or_come_back_then_crash_no_trial(
    tiny_study: MakeStudy, ranking: str, s1: int
) -> None:
    """They leave after one step, when all is finite, or after two, when it is not."""
    cycles = (f"repr.s1={s1}", "repr.s2=2", "repr.cycles=1", "repr.unit=steps")
    settings = (*cycles, f"repr.rank_by={ranking}", "train.held_out=24")
    study = tiny_study("repr", settings=settings, lr=1e10)
    data = lab_data.load(study.data.name, settings=study.data.settings)
    found = run_trial(plan(study).trials[0], data)
    assert found.status == "diverged"
    assert len(found.epochs) == 1
    if s1 == 1:
        assert {record.dropped for record in found.renewals} == {0}
