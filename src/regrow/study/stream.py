"""What a study says of a stream of tasks: `[stream]`, one class a kind. Nothing here imports torch.

`study/document.py` has it in a study. What the images, the labels and the order of a task are is worked out in
`regrow.streams`, one file a kind; `docs/streams.md` has the protocols and their sources.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Literal, Self, cast

from pydantic import Field, TypeAdapter, model_validator

from regrow.errors import ConfigError
from regrow.study.task_stream import InSteps, JudgedBy, LossName, Sampled, TaskStream

if TYPE_CHECKING:
    from regrow.study.document import Arm, Training


class RandomLabels(Sampled):
    """Labels that say nothing: each task is to be learnt by heart. Its images are the seed's, the same in all tasks."""

    kind: Literal["random-labels"]
    # ``drawn``: each label at random among the classes; ``dealt``: the true labels, shuffled.
    labels: Literal["drawn", "dealt"] = "drawn"


class Permuted(Sampled):
    """The same classes, seen through another permutation of the pixels in each task."""

    kind: Literal["permuted"]


class PermutedLabels(Sampled):
    """The same images, with the classes' names exchanged in each task."""

    kind: Literal["permuted-labels"]


class Stationary(Sampled):
    """Nothing changes: the control for streams whose images are drawn anew."""

    kind: Literal["stationary"]


class WarmStart(InSteps):
    """First a share of the images, then all of them."""

    uneven: ClassVar[str] = "'warm-start' have different numbers of images"

    kind: Literal["warm-start"]
    tasks: int = Field(default=2, ge=2, le=2)
    # Of the training images, in the first task; drawn for each seed.
    share: float = Field(default=0.5, gt=0, lt=1)
    # ``true``, or ``random``: those of the first task say nothing.
    first_labels: Literal["true", "random"] = "true"


class ClassIncremental(InSteps):
    """Classes arrive in groups, in an order of the seed: each task has the images of all that have arrived."""

    uneven: ClassVar[str] = "'class-incremental' have more and more images"

    kind: Literal["class-incremental"]
    # Classes that arrive with each task; None: all of them, evenly over the tasks.
    group: int | None = Field(default=None, ge=1)


class Interpolated(Sampled):
    """Tasks of another kind, with its images, each of which moves in from the one before, bit by bit."""

    judged_by: ClassVar[JudgedBy] = "end"

    kind: Literal["interpolated"]
    of: Literal["random-labels", "permuted", "permuted-labels"]  # the kind that the tasks are of
    # Share of a task's steps, its first ones, in which it moves from the last task to what it is.
    moving: float = Field(default=0.5, gt=0, le=1)
    # ``sample``: each image as the last task or as this one has it, by chance, more and more as this one;
    # ``blend``: each pixel between what the two have.
    how: Literal["sample", "blend"] = "sample"
    levels: int | None = Field(default=None, ge=1)  # of a blend, between the two tasks. None: 9.

    @model_validator(mode="after")
    def _blends_pixels(self) -> Self:
        if self.how == "blend" and self.of != "permuted":
            raise ValueError(
                f"how must be 'sample' where of = '{self.of}', for a label is a class and has nothing between it and "
                "another, got 'blend'"
            )
        if self.how == "sample" and self.levels is not None:
            raise ValueError(f"levels is for how = 'blend', got {self.levels} with 'sample'")
        return self

    @property
    def base(self) -> AnyStream:
        """The stream of the same tasks that change at once."""
        return _ANY.validate_python(
            {"kind": self.of, **self.model_dump(include=set(Sampled.model_fields))}
        )


class Noisy(TaskStream):
    """A share of the labels is wrong, throughout or in the first tasks."""

    judged_by: ClassVar[JudgedBy] = "end"

    kind: Literal["noisy"]
    # Share of the training images that get the label of another class, drawn once for each seed.
    noise: float = Field(default=0.4, gt=0, lt=1)
    # So many tasks have them, and those behind the true labels; None: all have them.
    noisy_tasks: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _within_the_tasks(self) -> Self:
        if self.noisy_tasks is not None and self.noisy_tasks > self.tasks:
            raise ValueError(
                f"noisy_tasks must be at most tasks ({self.tasks}), got {self.noisy_tasks}"
            )
        return self


BITS: Final = "bits"
"""The data set of a stream that makes its own examples: it says how many inputs there are, and nothing else."""


class BitFlipping(TaskStream):
    """A number is to be learnt from bits, most of which stay as they are for a long time: regression."""

    loss: ClassVar[LossName] = "squared"

    kind: Literal["bit-flipping"]
    # 1: every example is met once, in the order in which it was made.
    epochs: int | None = Field(default=1, ge=1, le=1)
    # Length of a task: a bin of the figure, or what lies between two flips.
    examples: int = Field(default=10_000, ge=1)
    # Examples between two flips, counted over all tasks; None: as many as a task has.
    flip_every: int | None = Field(default=None, ge=1)
    bits: int = Field(default=20, ge=1)  # inputs of an example
    # How many of them, the first, keep their value until they flip; the others are random each time.
    flipping: int = Field(default=15, ge=0)
    # Of the target network: linear threshold units behind weights of 1 and -1.
    units: int = Field(default=100, ge=1)
    # Share of its inputs that must agree with a unit's weights for it to be on.
    beta: float = Field(default=0.7, ge=0, le=1)
    # ``article``: one of the slow bits flips at a time; ``shipped``: the released settings, which draw all of them
    # anew, and the released code's thresholds (`regrow.streams.bit_flipping`).
    form: Literal["article", "shipped"] = "article"

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if self.steps is not None or self.epochs is None:
            raise ValueError(
                "the length of a task of 'bit-flipping' is said by examples, each of which is met once: steps must be "
                f"left out, got {self.steps}"
            )
        if self.flipping > self.bits:
            raise ValueError(f"flipping must be at most bits ({self.bits}), got {self.flipping}")
        return self


AT_EACH_TASK: Final = "restart-each-task"
"""The recipe that a stream's other arms are measured by: a fresh network for each task."""

AnyStream = (
    RandomLabels
    | Permuted
    | PermutedLabels
    | Stationary
    | WarmStart
    | ClassIncremental
    | Interpolated
    | Noisy
    | BitFlipping
)
StreamChoice = Annotated[AnyStream, Field(discriminator="kind")]
"""The table `[stream]`."""

_ANY: Final = TypeAdapter[AnyStream](StreamChoice)


def makes_examples(stream: object) -> bool:
    """Whether a `[stream]`, as it was written, makes its own examples."""
    kind = cast("Mapping[str, object]", stream).get("kind") if isinstance(stream, Mapping) else None
    return kind == "bit-flipping"


_SETTLED: Final = {"augment": "none", "eval_every_epochs": 1, "eval_last_epochs": 1}
"""What a stream leaves no choice of: tasks are measured when they end, and show images as they are."""


def stream_in(document: Mapping[str, object]) -> AnyStream | None:
    """The stream of a study that was stored as plain data; None where it has none."""
    found = document.get("stream")
    return None if found is None else _ANY.validate_python(found)


def refuse_beside_stream(
    stream: TaskStream, arm: Arm, training: Training, *, networks: bool, where: str
) -> None:
    """Refuse what an arm of a study with a stream cannot have, several `networks` among it."""
    for key, settled in _SETTLED.items():
        found = getattr(training, key)
        if found != settled:
            raise ConfigError(
                f"{where}: train.{key} must be {settled!r} in a study with a stream, got {found!r}"
            )
    for holds, what in ((networks, "trains several networks"), (arm.teachers, "has teachers")):
        if holds:
            raise ConfigError(f"{where}: {what}, which a study with a stream cannot")
    if arm.recipe == "restart" and isinstance(stream, ClassIncremental):
        raise ConfigError(
            f"{where}: recipe 'restart' begins anew where a network is no better than the commonest of all classes, "
            f"and in [stream] kind 'class-incremental' a task has some of them; '{AT_EACH_TASK}' begins anew with "
            "each task"
        )
    if stream.loss == "cross-entropy":
        return
    if training.held_out:
        raise ConfigError(
            f"{where}: train.held_out must be 0 with [stream] kind 'bit-flipping', which makes as many examples as it "
            f"needs, got {training.held_out}"
        )
    if arm.recipe == "restart":
        raise ConfigError(
            f"{where}: recipe 'restart' begins anew where a network is no better than the commonest class, and "
            f"[stream] kind 'bit-flipping' has no classes; '{AT_EACH_TASK}' begins anew with each task"
        )
