"""What passes show, as a test wants it: for criteria that count what they see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from regrow.criteria import Criterion, CriterionState, LayerActivity, Observation


def passes(
    positive: Sequence[float],
    *,
    seen: Sequence[bool] | None = None,
    silent: Sequence[bool] | None = None,
    starved: Sequence[bool] | None = None,
) -> Observation:
    """A step in which units give 1 on these shares of examples and else 0, and are read by weights of these sizes."""
    no = torch.zeros(len(positive), dtype=torch.bool)
    share = torch.tensor(positive, dtype=torch.float64)
    return Observation(
        count=len(positive),
        outgoing=share.float(),
        activity=LayerActivity(
            seen=~no if seen is None else torch.tensor(seen),
            silent=no if silent is None else torch.tensor(silent),
            starved=no if starved is None else torch.tensor(starved),
            blocked=no,
            examples=16,
            size=share,
            positive=share,
        ),
    )


def after(
    criterion: Criterion, *steps: Sequence[float], state: CriterionState | None = None, **told: Any
) -> CriterionState:
    """What it remembers of some steps."""
    state = {} if state is None else state
    for positive in steps:
        state = criterion.observe(state, passes(positive, **told))
    return state


def scores(criterion: Criterion, state: CriterionState) -> list[float]:
    """Of one layer."""
    _, found = criterion.score(state, layer="a", count=0, step=0, seed=0)
    assert found is not None
    return found.tolist()
