"""Where the time of a step goes that a recipe adds to a loop: for `family_cost.py --profile`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from regrow.activity import ActivityMeter
from regrow.activity.outlet_range import OutletRange
from regrow.loop import stepper
from regrow.loop.activity.step_activity import StepActivity
from regrow.loop.measure.outgoing import OutgoingSizes
from regrow.surgery import correction

PARTS: tuple[tuple[int, str, object, str], ...] = (
    (0, "read what units give", OutletRange, "read"),
    (0, "end of the pass", ActivityMeter, "_end_pass"),
    (0, "before the optimizer's step", stepper.Stepper, "gradients_ready"),
    (1, "what the passes have shown", StepActivity, "take"),
    (1, "weights that read units", OutgoingSizes, "of"),
    (1, "running averages", stepper, "observe"),
    (1, "score and select", stepper, "decide"),
    (0, "after the optimizer's step", stepper.Stepper, "step_made"),
    (1, "steps of young entries", correction.Correction, "after_step"),
    (2, "what their ages come to", correction.AgeTables, "now"),
    (2, "large tensors", correction, "settle_in_blocks"),
    (2, "small tensors", correction.SmallTensors, "settle"),
    (1, "renewals", stepper.Stepper, "_carry_out"),
)
"""How deep it lies in another part, what it is, and the function that does it."""


@contextmanager
def timed_parts() -> Iterator[dict[str, float]]:
    """While this lasts, the seconds of each part."""
    spent = {name: 0.0 for _, name, _, _ in PARTS}
    before = [(where, name, getattr(where, name)) for _, _, where, name in PARTS]
    for (_, part, where, name), (_, _, function) in zip(PARTS, before, strict=True):
        setattr(where, name, _timed(function, part, spent))
    try:
        yield spent
    finally:
        for where, name, function in before:
            setattr(where, name, function)


def _timed(function: Callable[..., Any], part: str, spent: dict[str, float]) -> Callable[..., Any]:
    @wraps(function)
    def called(*args: Any, **named: Any) -> Any:
        started = time.thread_time()
        try:
            return function(*args, **named)
        finally:
            spent[part] += time.thread_time() - started

    return called


def parts_of(
    case: str, mine: Callable[[], None], plain: Callable[[], None], *, steps: int = 100
) -> list[str]:
    """The lines of one case: two loops take turns, a step each."""
    whole = other = 0.0
    with timed_parts() as spent:
        for _ in range(steps):
            started = time.thread_time()
            plain()
            between = time.thread_time()
            mine()
            other += between - started
            whole += time.thread_time() - between
    outer = sum(spent[name] for depth, name, _, _ in PARTS if depth == 0)
    rows = [
        (0, "the whole step", whole),
        (0, "a step of the plain loop", other),
        *((depth, name, spent[name]) for depth, name, _, _ in PARTS),
        (0, "seen in none of these", whole - other - outer),
    ]
    return [
        f"| {case} | {'&emsp;' * depth}{name} | {1e3 * seconds / steps:.2f} | {seconds / other:.2f} |"
        for depth, name, seconds in rows
    ]
