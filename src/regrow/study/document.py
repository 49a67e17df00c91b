"""What a study asks for: one data set, one model, a training, its arms, its seeds, and a grid.

Contents: `Study` and its parts (`DataChoice`, `ModelChoice`, `Training`, `Diagnostics`, `Arm`), and
`check_document`, which makes a Study from plain data with one clear line for each mistake (`study/mistakes.py`).
`[stream]` is in `study/stream.py`. Nothing here imports torch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal, Self, cast

from pydantic import (
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from regrow.study.mistakes import Part, checked
from regrow.study.stream import BITS, BitFlipping, StreamChoice, makes_examples

LABEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+-]*")
"""What an arm may be called: it becomes part of trial names and of dotted keys."""

EngineName = Literal["modules", "stack"]
"""What makes the steps: torch as a user would write it, or the stacks of `regrow.engine`."""

MAX_SEED: Final = 2**31 - 1
MAX_SEEDS: Final = 100_000
"""More than anybody trains: a larger number is a slip of the keyboard."""


_Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]


def _scalars(value: object) -> object:
    """Settings are what a TOML line can say: text, numbers, true and false; None comes from the command line."""
    if isinstance(value, Mapping):
        for key, entry in cast("Mapping[object, object]", value).items():
            if not (entry is None or isinstance(entry, str | int | float)):
                raise ValueError(f"{key} must be a text, a number, true or false, got {entry!r}")
    return value


Settings = Annotated[dict[str, Any], BeforeValidator(_scalars)]


class DataChoice(Part):
    """A data set by name, and its settings."""

    name: str
    settings: Settings = Field(default_factory=dict)


class ModelChoice(Part):
    """A model by name or ``package.module:function``, and its settings."""

    name: str = "cratercnn"
    settings: Settings = Field(default_factory=dict)


class Training(Part):
    """How every network is trained.

    The unit of `lr` is a step on the loss as `loss_reduction` makes it: a sum over the batch is `batch_size` times
    the mean. `held_out` training images are not trained on: criteria that look at data measure with them (with 0,
    with the first training images). `schedule` "step" divides the rate by 10 after each 30 % of the training;
    "staircase" multiplies it by `stair_factor` after each `stair_steps` steps. With either, step n of the first
    `warm_up_steps` is made with n / `warm_up_steps` of it, and in the last `anneal_epochs` epochs it falls in a line to
    0, step by step. The test accuracy is measured after each `eval_every_epochs` epochs, and after each of the
    last `eval_last_epochs`.
    `partner_rates` "spread" gives partner i of K the rate lr (1 + cos(pi (K - i) / K)) / 2. `overlap_penalty` is
    the weight of `regrow.losses.overlap_penalty`.
    """

    epochs: int = Field(default=30, ge=1)
    batch_size: int = Field(default=64, ge=1)
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    lr: float = Field(default=0.05, gt=0)
    momentum: float = Field(default=0.0, ge=0, lt=1)
    nesterov: bool = False
    weight_decay: float = Field(default=0.0, ge=0)
    loss_reduction: Literal["mean", "sum"] = "mean"
    clip_grad_norm: float | None = Field(default=None, gt=0)
    schedule: Literal["constant", "cosine", "step", "staircase"] = "constant"
    stair_steps: int | None = Field(default=None, ge=1)
    stair_factor: float = Field(default=0.5, gt=0, lt=1)
    warm_up_steps: int = Field(default=0, ge=0)
    anneal_epochs: int = Field(default=0, ge=0)
    partner_rates: Literal["same", "spread"] = "same"
    drop_last: bool = False
    augment: Literal["none", "crop-flip"] = "none"
    held_out: int = Field(default=0, ge=0)
    overlap_penalty: float = Field(default=0.0, ge=0)
    channels_last: bool = False
    eval_every_epochs: int = Field(default=1, ge=1)
    eval_last_epochs: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.optimizer != "sgd" and (self.momentum or self.nesterov):
            raise ValueError(
                f"momentum and nesterov belong to optimizer 'sgd', got '{self.optimizer}'"
            )
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0")
        if (self.schedule == "staircase") != (self.stair_steps is not None):
            raise ValueError(
                f"schedule 'staircase' and stair_steps need each other, got '{self.schedule}' and {self.stair_steps}"
            )
        if self.anneal_epochs > self.epochs:
            raise ValueError(
                f"anneal_epochs must be at most epochs ({self.epochs}), got {self.anneal_epochs}"
            )
        return self


class Diagnostics(Part):
    """What is looked at beside the accuracy. It changes no result, so that a study may go on with other diagnostics.

    `overlap`: after every epoch, the inter-filter overlap of each layer. `weights`: after every epoch, the entropy of
    each layer's weights and the shares of filters with an l1 norm below 1, 0.1, 0.01 and 0.001. `oracle_every_epochs`:
    after so many epochs each, how the rankings of the filters agree with the oracle's on the `train.held_out` images;
    0 = never. `ranks`: with a stream, at each task's end, in how many directions the units of each layer vary, how many
    rarely fire, and how long the optimizer's next step is.
    `probe_steps`: with a stream, at each task's end, the loss that a copy of the network has left after so many steps
    on the same images with shuffled labels, minus that of a fresh one; 0 = never.
    """

    overlap: bool = False
    weights: bool = False
    oracle_every_epochs: int = Field(default=0, ge=0)
    ranks: bool = False
    probe_steps: int = Field(default=0, ge=0)

    @property
    def any(self) -> bool:
        """Whether anything is asked for."""
        return self.overlap or self.weights or self.oracle_every_epochs > 0


class Distillation(Part):
    """How an arm follows its teachers, beside the classes: see `regrow.Teachers`."""

    temperature: float = Field(default=2.0, gt=0)
    weight: float = Field(default=1.0, ge=0)
    combine: Literal["mean", "sum"] = "mean"


class Arm(Part):
    """One contestant: a recipe, its settings, and where its training differs from the study's.

    `like` is for controls: the label of the arm whose renewals are replayed. `model` has settings of the model for
    this arm alone; its key ``name`` takes another network, whose settings start from their defaults. `data` has the
    ``scale`` of the images for this arm alone, which are the same and come in the same order. `teachers` are
    labels of other arms, whose networks of the same cell and seed teach when they are trained, or weight files
    (``*.pt``, relative to the working directory) of fixed networks. `teacher_digests` says the SHA-256 of each file;
    it is filled in.
    """

    recipe: str
    settings: Settings = Field(default_factory=dict)
    train: dict[str, Any] = Field(default_factory=dict)
    like: str | None = None
    model: Settings = Field(default_factory=dict)
    data: Settings = Field(default_factory=dict)
    teachers: list[str] = Field(default_factory=list)
    teacher_digests: dict[str, str] = Field(default_factory=dict)
    distillation: Distillation | None = None

    @model_serializer(mode="wrap")
    def _as_before(self, written: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without `data` where it says nothing: it came later, and results are filed under what is written here."""
        found: dict[str, Any] = written(self)
        if not self.data:
            found.pop("data", None)
        return found


class Study(Part):
    """A whole study, checked on its own; names of recipes, models and data are checked by `load_study`.

    `note` is a sentence or two for the head of its report; it changes no result. `data` is left out where the stream
    makes its own examples.
    """

    stand_ins: ClassVar = ("first_seed",)
    """Keys that stand for others in a document."""

    name: Annotated[str, Field(pattern=r"\S")]
    note: str = ""
    data: DataChoice
    model: ModelChoice = ModelChoice()
    stream: StreamChoice | None = None
    train: Training = Training()
    diagnostics: Diagnostics = Diagnostics()
    arms: dict[str, Arm] = Field(min_length=1)
    grid: dict[str, list[Any]] = Field(default_factory=dict)
    seeds: Annotated[tuple[_Seed, ...], Field(strict=False)] = tuple(range(16))

    @model_validator(mode="before")
    @classmethod
    def _written_out(cls, document: Any) -> Any:
        """``seeds = 16`` and ``first_seed = 100`` stand for the seeds 100 to 115.

        A stream that makes its examples needs no `[data]`: all that is left of it is how many inputs there are.
        """
        if not isinstance(document, Mapping):
            return document
        given = dict(cast("Mapping[str, Any]", document))
        if makes_examples(given.get("stream")) and not given.get("data"):
            given["data"] = {"name": BITS}
        seeds, first = given.get("seeds", 16), given.pop("first_seed", None)
        counted = type(seeds) is int  # true and false are no numbers
        if first is not None and not counted:
            raise ValueError("first_seed: must come with seeds as a number, not as a list")
        if first is not None and not (type(first) is int and 0 <= first <= MAX_SEED):
            raise ValueError(
                f"first_seed: must be a whole number from 0 to {MAX_SEED}, got {first!r}"
            )
        if counted:
            if seeds < 1:
                raise ValueError(f"seeds: must be at least 1, got {seeds}")
            if seeds > MAX_SEEDS:
                raise ValueError(f"seeds: must be at most {MAX_SEEDS}, got {seeds}")
            given["seeds"] = tuple(range(first or 0, (first or 0) + seeds))
        return given

    @model_validator(mode="after")
    def _makes_examples(self) -> Self:
        """Bits belong to streams that make their own examples, and those to nothing else."""
        alone = isinstance(self.stream, BitFlipping)
        if alone != (self.data.name == BITS):
            raise ValueError(
                f"data: must be left out, for [stream] kind 'bit-flipping' makes its own examples, got "
                f"'{self.data.name}'"
                if alone
                else f"data: '{BITS}' is for [stream] kind 'bit-flipping', which makes its own examples"
            )
        if alone and self.diagnostics.probe_steps:
            raise ValueError(
                "diagnostics.probe_steps: must be 0 with [stream] kind 'bit-flipping', for the fresh-probe gap is of "
                f"labels that are shuffled, and it has none, got {self.diagnostics.probe_steps}"
            )
        return self

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if not seeds:
            raise ValueError("must hold at least one seed, got none")
        if len(set(seeds)) < len(seeds):
            twice = next(seed for seed in seeds if seeds.count(seed) > 1)
            raise ValueError(f"must be distinct, got {twice} twice")
        return seeds

    @field_validator("arms")
    @classmethod
    def _labels(cls, arms: dict[str, Arm]) -> dict[str, Arm]:
        for label in arms:
            if not LABEL.fullmatch(label):
                raise ValueError(
                    f"a label must be letters, digits, '_', '+' and '-', got '{label}'"
                )
        return arms

    @model_validator(mode="after")
    def _as_long_as_the_stream(self) -> Self:
        """With a stream its tasks say how many epochs there are, and the training only repeats it."""
        if self.stream is None:
            for name in ("ranks", "probe_steps"):
                if getattr(self.diagnostics, name):
                    raise ValueError(
                        f"diagnostics.{name}: needs a [stream], at whose tasks' ends it is looked at"
                    )
            return self
        if self.diagnostics.oracle_every_epochs:
            raise ValueError(
                "diagnostics.oracle_every_epochs: must be 0 with [stream], for the held-out images are of no task, got "
                f"{self.diagnostics.oracle_every_epochs}"
            )
        whole = self.stream.epochs_in_all
        told = (
            {"train.epochs": self.train.epochs} if "epochs" in self.train.model_fields_set else {}
        )
        told |= {
            f"arms.{label}.train.epochs": arm.train["epochs"]
            for label, arm in self.arms.items()
            if "epochs" in arm.train
        }
        for key, epochs in told.items():
            if epochs != whole:
                raise ValueError(
                    f"{key}: must be left out, for [stream] says how long training is ({whole} epochs), got {epochs!r}"
                )
        return self.model_copy(update={"train": self.train.model_copy(update={"epochs": whole})})


def check_document(document: Mapping[str, Any], *, where: str) -> Study:
    """Make a study from plain data."""
    return checked(Study, document, where=where)


def check_training(values: Mapping[str, Any], *, where: str, path: str = "train") -> Training:
    """Make the training of one arm."""
    return checked(Training, values, where=where, prefix=(path,))
