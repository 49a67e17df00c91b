"""What is kept of a study: how its arms stand to each other, and what each trial leaves behind.

Plain records that a worker sends, the store keeps and the report reads, one table a class (`regrow.study.tables`).
A new kind of record is a class here and a field of `TrialResult`. Those of several networks are in
`study/partner_records.py`, those of the tasks of a stream in `study/task_records.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

from regrow.study.known import Role
from regrow.study.partner_records import GraftRecord, PartnerRecord, TogetherRecord
from regrow.study.tables import table
from regrow.study.task_records import HealthRecord, ProbeRecord, TaskRecord

Status = Literal["finished", "diverged", "crashed"]


@table("arms", key="cell label", of_trial=False)
class ArmRecord:
    """One arm in one cell as it stands to the others, resolved when the study begins."""

    cell: str  # the cell
    label: str  # the arm's label
    recipe: str  # its recipe
    role: Role  # what it is for
    identity: str  # a text that is the same in two cells where all is that determines its trials
    networks: int  # how many networks a trial trains; its accuracy is their mean
    epochs: int  # epochs of each
    held_out: int  # training images that are not trained on
    replays: str | None  # for a control, the arm that it is like
    # What its recipe decides, where it can be neutral: ``filters`` or ``shares``.
    decides: Literal["filters", "shares"] | None
    neutral: bool  # whether its decision says nothing: a ranking at random, shares of a half
    neutral_control: str | None  # the arm that is the same but neutral
    apart_control: str | None  # the arm that trains as many networks in the same way, apart
    # Epochs that its teachers' networks were trained for, and those of their teachers, in all.
    teachers: int
    files: int  # teachers that are files: what their training cost is not known
    # Whether its network is another one than the baseline's: an epoch of it is another price.
    own_model: bool
    relative: float  # all epochs of a trial and its teachers over those of the baseline's


@table("trials", key="trial", of_trial=False)
class Trial:
    """A trial that ended, in one row; metrics are those of its last epoch, accuracies fractions.

    Of a trial over a stream `test_accuracy` is what it is judged by: the mean over the last tenth of its tasks. Where
    numbers are learnt and not classes, all accuracies are None, and `test_loss` is what it is judged by.
    """

    trial: str  # its name
    cell: str  # its cell of the grid, "base" without one
    arm: str  # its arm's label
    seed: int  # its seed
    status: Status  # how it ended
    test_accuracy: float | None  # None if it crashed: a crashed trial measured nothing
    test_loss: float | None  # mean loss over the test set
    train_accuracy: float | None  # during the last epoch
    train_loss: float | None  # during the last epoch
    majority_share: float | None  # share of the commonest class in the test set
    epochs: int | None  # epochs trained
    steps: int | None  # optimizer steps taken
    renewed: int | None  # filters renewed in all
    renewal_steps: int | None  # optimizer steps at which any filter was renewed
    nonfinite: int | None  # scores that were NaN or infinite
    restarts: int | None  # times that the whole network was drawn anew
    error: str | None  # the message of a crash
    seconds: float | None  # wall time of all epochs, over all sessions of an interrupted trial
    recipe_seconds: float | None  # wall time inside the recipe
    finished_at: str | None  # time, for people


@table("epochs", key="epoch")
class EpochRecord:
    """The metrics of one epoch; None where a number is not finite or was not measured."""

    epoch: int  # 1-based
    train_loss: float | None  # mean over the examples as they were trained on
    train_accuracy: float | None  # share, of the same predictions; None where numbers are learnt
    test_loss: float | None  # mean over the test set after the epoch
    test_accuracy: float | None  # share
    seconds: float  # wall time, evaluation included


@table("renewals", key="step layer filter")
class RenewalRecord:
    """One renewed filter."""

    step: int  # optimizer step, 0-based
    epoch: int  # 1-based epoch of that step
    layer: str  # module path
    filter: int  # index in the layer
    score: float | None  # its score; None if not finite
    # The step after which it left the network; None where it was renewed at once.
    dropped: int | None = None
    # How far all renewals of this step moved the model's output; None where that was not measured.
    change: float | None = None


@table("layers", key="layer")
class LayerRecord:
    """One layer that a recipe or a diagnostic watches, in the network's order."""

    layer: str  # module path
    filters: int  # how many it has


@table("resting", key="layer filter")
class RestingRecord:
    """One filter that was out of the network when the training ended."""

    layer: str  # module path
    filter: int  # index in the layer
    dropped: int  # the step after which it left the network, 0-based


@table("overlaps", key="epoch layer")
class OverlapRecord:
    """How the filters of one layer overlap after one epoch."""

    epoch: int  # 1-based
    layer: str  # module path
    # Mean inter-filter overlap of the filters in the network; None if not finite.
    mean: float | None
    largest: float | None  # the largest of them
    out: int  # filters that are out of the network


@table("correlations", key="epoch ranking")
class CorrelationRecord:
    """How well one ranking of the filters agrees with the oracle's after one epoch."""

    epoch: int  # 1-based
    ranking: str  # name of the ranking
    # Pearson's correlation of its scores with the oracle's over all filters; None where it is not defined.
    value: float | None
    rank: float | None  # Spearman's
    filters: int  # how many filters were ranked: those in the network


@table("weights", key="epoch partner layer")
class WeightRecord:
    """What the weights of one layer carry after one epoch."""

    epoch: int  # 1-based
    partner: int  # number of the network
    layer: str  # module path
    entropy: float | None  # of the layer's weights; None if not finite
    below_1: float  # share of the filters whose l1 norm is below 1
    below_0_1: float  # below 0.1
    below_0_01: float  # below 0.01
    below_0_001: float  # below 0.001


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """A trial that ended.

    What it left behind is a record each; empty where the study did not ask for it or there is nothing of the kind.
    """

    trial: str
    cell: str
    arm: str
    seed: int
    # ``finished``, ``diverged`` (non-finite loss or weights; stopped there) or ``crashed``.
    status: Status
    # Share of the most common class in the test set; None if it crashed.
    majority_share: float | None = None
    epochs: tuple[EpochRecord, ...] = ()
    steps: int = 0
    renewals: tuple[RenewalRecord, ...] = ()
    resting: tuple[RestingRecord, ...] = ()
    layers: tuple[LayerRecord, ...] = ()
    overlaps: tuple[OverlapRecord, ...] = ()
    correlations: tuple[CorrelationRecord, ...] = ()
    partners: tuple[PartnerRecord, ...] = ()
    together: tuple[TogetherRecord, ...] = ()
    grafts: tuple[GraftRecord, ...] = ()
    weights: tuple[WeightRecord, ...] = ()
    tasks: tuple[TaskRecord, ...] = ()
    health: tuple[HealthRecord, ...] = ()
    probes: tuple[ProbeRecord, ...] = ()
    nonfinite: int = 0  # scores that were no numbers
    restarts: int = 0  # times that the whole network was redrawn
    recipe_seconds: float = 0.0  # wall time inside regrow's hooks
    error: str | None = None  # the message of a crash
    # What a trial over a stream is judged by; None without a stream: by the last epoch.
    judged: float | None = None
    # Likewise where numbers are learnt: a mean squared error; None elsewhere.
    judged_loss: float | None = None

    @property
    def last(self) -> EpochRecord | None:
        """The last epoch's metrics."""
        return self.epochs[-1] if self.epochs else None

    @property
    def number(self) -> float | None:
        """What the trial is judged by: its accuracy, or its error where numbers are learnt."""
        return self.accuracy if self.judged_loss is None else self.judged_loss

    @property
    def accuracy(self) -> float | None:
        """What the trial is judged by: the last epoch's test accuracy, or what its stream says."""
        if self.judged is not None or self.last is None:
            return self.judged
        return self.last.test_accuracy

    @property
    def seconds(self) -> float:
        """Wall time of all epochs, over all sessions of an interrupted trial."""
        return sum(record.seconds for record in self.epochs)

    def row(self, *, finished_at: str) -> Trial:
        """The trial in one row."""
        counted: dict[str, Any] = {
            "epochs": len(self.epochs),
            "test_accuracy": self.accuracy,
            "renewed": len(self.renewals),
            "renewal_steps": len({record.step for record in self.renewals}),
            "finished_at": finished_at,
        }
        if self.judged_loss is not None:
            counted["test_loss"] = self.judged_loss
        # Everything else has the name that it has here, or in the record of the last epoch.
        names = [each.name for each in fields(Trial) if each.name not in counted]
        own = {name: getattr(self, name) for name in names if hasattr(self, name)}
        metrics = {name: getattr(self.last, name, None) for name in names if name not in own}
        return Trial(**own, **metrics, **counted)

    @property
    def details(self) -> tuple[object, ...]:
        """All records but the row."""
        return tuple(
            record
            for each in fields(self)
            if isinstance(found := getattr(self, each.name), tuple)
            for record in found
        )


DETAILS: Final[tuple[type, ...]] = tuple(
    get_args(hint)[0] for hint in get_type_hints(TrialResult).values() if get_origin(hint) is tuple
)
"""The classes of what is kept of a trial beside its row."""
