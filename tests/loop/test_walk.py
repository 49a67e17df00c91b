"""The walk from ``optimizer.step()`` to a renewed filter: through which files it goes, and in how many calls."""

import sys
from collections import Counter
from pathlib import Path
from types import FrameType

import torch
from torch import nn

import regrow
from traced import attach_traced

ROOT = Path(regrow.__file__).parent
FILES, CALLS = 12, 159
IDLE_FILES, IDLE_CALLS = 6, 32


def _walk(*, renews: bool) -> Counter[tuple[str, str]]:
    """How often each function of regrow is called in one step of Adam."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8 * 36, 5),
    )
    optimizer = torch.optim.Adam(model.parameters())
    images, labels = torch.randn(32, 3, 6, 6), torch.randint(0, 5, (32,))
    recipe = regrow.RandomOut(threshold=1e-8, active_fraction=1.0, confirm="gradient")
    regrower = attach_traced(recipe, model, optimizer, example_inputs=images, total_steps=100)
    calls: Counter[tuple[str, str]] = Counter()

    def seen(frame: FrameType, event: str, argument: object) -> None:
        del argument
        file = Path(frame.f_code.co_filename)
        if event == "call" and file.is_relative_to(ROOT):
            calls[file.relative_to(ROOT).as_posix(), frame.f_code.co_name] += 1

    for step in range(3):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        last = step == 2
        if renews and last:
            for parameter in model[0].parameters():
                assert parameter.grad is not None
                parameter.grad[2] = 0.0
        before = sys.getprofile()
        sys.setprofile(seen if last else before)
        try:
            optimizer.step()
        finally:
            sys.setprofile(before)
    assert [event.filters for event in regrower.report.events] == [(2,)] * renews
    return calls


def test_the_walk_of_a_step_that_renews_does_not_grow() -> None:
    calls = _walk(renews=True)
    assert len({file for file, _ in calls}) <= FILES
    assert sum(calls.values()) <= CALLS


def test_the_walk_of_a_step_that_renews_nothing_does_not_grow() -> None:
    calls = _walk(renews=False)
    assert len({file for file, _ in calls}) <= IDLE_FILES
    assert sum(calls.values()) <= IDLE_CALLS


def test_nobody_passes_what_only_some_need() -> None:
    """Drop phases, passes that are read, calibration data, several optimizers, companions."""
    for folder in ("loop/drop/", "loop/activity/", "loop/measure/", "loop/order", "surgery/co"):
        assert not any(file.startswith(folder) for file, _ in _walk(renews=True)), folder


def test_the_optimizer_s_state_is_checked_once_a_renewal() -> None:
    calls = _walk(renews=True)
    # Weight and bias of the convolution, scale and shift of its norm.
    assert calls["surgery/optimizers/base.py", "check"] == 4
    assert calls["surgery/optimizers/base.py", "state_of_entries"] == 4


def test_a_step_that_renews_nothing_looks_at_no_state_of_the_optimizer() -> None:
    assert not any(file.startswith("surgery/optimizers/") for file, _ in _walk(renews=False))
