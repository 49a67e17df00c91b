"""A single trial, trained in the test's own process."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from regrow.history import Renewed
from regrow.lab.checkpoint import CheckpointFile
from regrow.lab.data import Dataset
from regrow.lab.trial import Request, train_together
from regrow.lab.weights import Weights, WeightsFile
from regrow.study.document import EngineName
from regrow.study.records import EpochRecord, TrialResult
from regrow.study.trials import TrialSpec


def run_trial(
    spec: TrialSpec,
    data: Dataset,
    *,
    like: Sequence[Renewed] | None = None,
    teachers: Sequence[Weights] = (),
    weights: WeightsFile | None = None,
    checkpoint: CheckpointFile | None = None,
    on_epoch: Callable[[EpochRecord], object] = lambda _: None,
    engine: EngineName = "modules",
) -> TrialResult:
    """Train it to its end; what `on_epoch` raises ends it."""
    found: list[TrialResult] = []
    request = Request(
        specs=(spec,),
        like=like,
        teachers=tuple((lambda each=each: each) for each in teachers),
        weights=weights,
        checkpoint=checkpoint,
    )
    train_together(
        [request],
        data,
        engine=engine,
        on_fork=_never,
        on_epoch=lambda _, record: on_epoch(record),
        on_end=found.extend,
    )
    return found[0]


def _never(specs: tuple[TrialSpec, ...]) -> None:
    raise RuntimeError(f"a single trial cannot part with {specs[0].trial}")
