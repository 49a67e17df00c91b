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
@dataclass(frozen=True, kw_only=True, slots=True)
class ArmRecord:
    """One arm in one cell as it stands to the others, resolved when the study begins.

    Attributes:
        cell: The cell.
        label: The arm's label.
        recipe: Its recipe.
        role: What it is for.
        identity: A text that is the same in two cells where all is that determines its trials.
        networks: How many networks a trial trains; its accuracy is their mean.
        epochs: Epochs of each.
        held_out: Training images that are not trained on.
        replays: For a control, the arm that it is like.
        decides: What its recipe decides, where it can be neutral: ``filters`` or ``shares``.
        neutral: Whether its decision says nothing: a ranking at random, shares of a half.
        neutral_control: The arm that is the same but neutral.
        apart_control: The arm that trains as many networks in the same way, apart.
        teachers: Epochs that its teachers' networks were trained for, and those of their teachers, in all.
        files: Teachers that are files: what their training cost is not known.
        own_model: Whether its network is another one than the baseline's: an epoch of it is another price.
        relative: All epochs of a trial and its teachers over those of the baseline's.
    """

    cell: str
    label: str
    recipe: str
    role: Role
    identity: str
    networks: int
    epochs: int
    held_out: int
    replays: str | None
    decides: Literal["filters", "shares"] | None
    neutral: bool
    neutral_control: str | None
    apart_control: str | None
    teachers: int
    files: int
    own_model: bool
    relative: float


@table("trials", key="trial", of_trial=False)
@dataclass(frozen=True, kw_only=True)
class Trial:
    """A trial that ended, in one row; metrics are those of its last epoch, accuracies fractions.

    Of a trial over a stream `test_accuracy` is what it is judged by: the mean over the last tenth of its tasks. Where
    numbers are learnt and not classes, all accuracies are None, and `test_loss` is what it is judged by.

    Attributes:
        trial: Its name.
        cell: Its cell of the grid, "base" without one.
        arm: Its arm's label.
        seed: Its seed.
        status: How it ended.
        test_accuracy: None if it crashed: a crashed trial measured nothing.
        test_loss: Mean loss over the test set.
        train_accuracy: During the last epoch.
        train_loss: During the last epoch.
        majority_share: Share of the commonest class in the test set.
        epochs: Epochs trained.
        steps: Optimizer steps taken.
        renewed: Filters renewed in all.
        renewal_steps: Optimizer steps at which any filter was renewed.
        nonfinite: Scores that were NaN or infinite.
        restarts: Times that the whole network was drawn anew.
        error: The message of a crash.
        seconds: Wall time of all epochs, over all sessions of an interrupted trial.
        recipe_seconds: Wall time inside the recipe.
        finished_at: Time, for people.
    """

    trial: str
    cell: str
    arm: str
    seed: int
    status: Status
    test_accuracy: float | None
    test_loss: float | None
    train_accuracy: float | None
    train_loss: float | None
    majority_share: float | None
    epochs: int | None
    steps: int | None
    renewed: int | None
    renewal_steps: int | None
    nonfinite: int | None
    restarts: int | None
    error: str | None
    seconds: float | None
    recipe_seconds: float | None
    finished_at: str | None


@table("epochs", key="epoch")
@dataclass(frozen=True, kw_only=True, slots=True)
class EpochRecord:
    """The metrics of one epoch; None where a number is not finite or was not measured.

    Attributes:
        epoch: 1-based.
        train_loss: Mean over the examples as they were trained on.
        train_accuracy: Share, of the same predictions; None where numbers are learnt.
        test_loss: Mean over the test set after the epoch.
        test_accuracy: Share.
        seconds: Wall time, evaluation included.
    """

    epoch: int
    train_loss: float | None
    train_accuracy: float | None
    test_loss: float | None
    test_accuracy: float | None
    seconds: float


@table("renewals", key="step layer filter")
@dataclass(frozen=True, kw_only=True, slots=True)
class RenewalRecord:
    """One renewed filter.

    Attributes:
        step: Optimizer step, 0-based.
        epoch: 1-based epoch of that step.
        layer: Module path.
        filter: Index in the layer.
        score: Its score; None if not finite.
        dropped: The step after which it left the network; None where it was renewed at once.
        change: How far all renewals of this step moved the model's output; None where that was not measured.
    """

    step: int
    epoch: int
    layer: str
    filter: int
    score: float | None
    dropped: int | None = None
    change: float | None = None


@table("layers", key="layer")
@dataclass(frozen=True, kw_only=True, slots=True)
class LayerRecord:
    """One layer that a recipe or a diagnostic watches, in the network's order.

    Attributes:
        layer: Module path.
        filters: How many it has.
    """

    layer: str
    filters: int


@table("resting", key="layer filter")
@dataclass(frozen=True, kw_only=True, slots=True)
class RestingRecord:
    """One filter that was out of the network when the training ended.

    Attributes:
        layer: Module path.
        filter: Index in the layer.
        dropped: The step after which it left the network, 0-based.
    """

    layer: str
    filter: int
    dropped: int


@table("overlaps", key="epoch layer")
@dataclass(frozen=True, kw_only=True, slots=True)
class OverlapRecord:
    """How the filters of one layer overlap after one epoch.

    Attributes:
        epoch: 1-based.
        layer: Module path.
        mean: Mean inter-filter overlap of the filters in the network; None if not finite.
        largest: The largest of them.
        out: Filters that are out of the network.
    """

    epoch: int
    layer: str
    mean: float | None
    largest: float | None
    out: int


@table("correlations", key="epoch ranking")
@dataclass(frozen=True, kw_only=True, slots=True)
class CorrelationRecord:
    """How well one ranking of the filters agrees with the oracle's after one epoch.

    Attributes:
        epoch: 1-based.
        ranking: Name of the ranking.
        value: Pearson's correlation of its scores with the oracle's over all filters; None where it is not defined.
        rank: Spearman's.
        filters: How many filters were ranked: those in the network.
    """

    epoch: int
    ranking: str
    value: float | None
    rank: float | None
    filters: int


@table("weights", key="epoch partner layer")
@dataclass(frozen=True, kw_only=True, slots=True)
class WeightRecord:
    """What the weights of one layer carry after one epoch.

    Attributes:
        epoch: 1-based.
        partner: Number of the network.
        layer: Module path.
        entropy: Of the layer's weights; None if not finite.
        below_1: Share of the filters whose l1 norm is below 1.
        below_0_1: Below 0.1.
        below_0_01: Below 0.01.
        below_0_001: Below 0.001.
    """

    epoch: int
    partner: int
    layer: str
    entropy: float | None
    below_1: float
    below_0_1: float
    below_0_01: float
    below_0_001: float


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """A trial that ended.

    Attributes:
        status: ``finished``, ``diverged`` (non-finite loss or weights; stopped there) or ``crashed``.
        majority_share: Share of the most common class in the test set; None if it crashed.
        nonfinite: Scores that were no numbers.
        restarts: Times that the whole network was redrawn.
        recipe_seconds: Wall time inside regrow's hooks.
        error: The message of a crash.
        judged: What a trial over a stream is judged by; None without a stream: by the last epoch.
        judged_loss: Likewise where numbers are learnt: a mean squared error; None elsewhere.

    What it left behind is a record each; empty where the study did not ask for it or there is nothing of the kind.
    """

    trial: str
    cell: str
    arm: str
    seed: int
    status: Status
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
    nonfinite: int = 0
    restarts: int = 0
    recipe_seconds: float = 0.0
    error: str | None = None
    judged: float | None = None
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
