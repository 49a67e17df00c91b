"""A trial's parts, put together: network, optimizer, recipe.

Called by `lab/run` and the engines for each member of a run; what a study's names mean is looked up here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd  # pyright: ignore[reportPrivateUsage] # the only common base
from torch.optim import SGD, Adam, AdamW, Optimizer

from regrow import recipes
from regrow.compose import Recipe
from regrow.errors import ConfigError
from regrow.graph import Wiring
from regrow.graph.filters import LayerKind
from regrow.history import Renewed
from regrow.lab.arm_recipes import OWN
from regrow.lab.data import Dataset
from regrow.lab.measure import loss_of
from regrow.lab.models import registry as models
from regrow.lab.models.stridednet import StridedNet
from regrow.loop import Regrower, attach
from regrow.nn import set_start_gain_
from regrow.partners import Grafter, attach_partners
from regrow.partnership import PartnerRecipe
from regrow.streams import tasks
from regrow.streams.task import Task
from regrow.study.document import Training
from regrow.study.generator_keys import generator_key
from regrow.study.trials import TrialSpec

if TYPE_CHECKING:
    from regrow.lab.member import Member

CALIBRATION = 256
"""Training images on which recipes measure where none are held out."""

START_IMAGES = 256
"""Training images that set the gains of a network which asks for it."""


def images_per_epoch(spec: TrialSpec, available: int) -> int:
    """How many images an epoch trains on: all that are available, or as the stream says."""
    if spec.stream is None:
        return available
    batch_size = spec.train.batch_size
    return tasks.images_per_epoch(spec.stream, available=available, batch_size=batch_size)


def steps_per_epoch(training: Training, examples: int) -> int:
    """Optimizer steps of an epoch that trains on so many images."""
    whole, rest = divmod(examples, training.batch_size)
    return whole + (1 if rest and not training.drop_last else 0)


def steps_of(spec: TrialSpec, data: Dataset) -> int:
    """Optimizer steps of an epoch of a trial."""
    return steps_per_epoch(spec.train, images_per_epoch(spec, len(data.x_train)))


def build_model(spec: TrialSpec, data: Dataset, *, seed: int) -> nn.Module:
    """The network of a trial, with fresh weights, in the memory format that it is trained in.

    With the model's setting ``start_gain`` its gains are set by the first images of the seed's first epoch, at most
    256, as they are before augmentation: whoever builds the network again (a trial that goes on, for a recipe that
    looks at fresh filters) has the same bits.
    """
    model = models.build(spec.model.name, settings=spec.model.settings, seed=seed, **data.sizes)
    model.to(data.x_train.device)
    if spec.train.channels_last:
        # Typed for tensors only by torch's stubs, though modules take it too.
        model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue, reportUnknownMemberType]
    if models.starts_from_data(spec.model.name, spec.model.settings):
        images = data.x_train[epoch_order(seed, epoch=1, examples=len(data.x_train))[:START_IMAGES]]
        if spec.train.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        set_start_gain_(model, images)
    return model


def epoch_order(seed: int, *, epoch: int, examples: int) -> Tensor:
    """The order in which a network meets its training images."""
    generator = torch.Generator().manual_seed(generator_key("order", seed, epoch))
    return torch.randperm(examples, generator=generator, device="cpu")


def build_optimizer(training: Training, model: nn.Module, *, lr: float | None = None) -> Optimizer:
    """The optimizer of a trial."""
    parameters = list(model.parameters())
    if not parameters:
        raise ConfigError(
            f"the model must have parameters to train, {type(model).__name__} has none"
        )
    kind = {"sgd": SGD, "adam": Adam, "adamw": AdamW}[training.optimizer]
    rate = training.lr if lr is None else lr
    return kind(parameters, lr=rate, **step_settings(training))


def step_settings(training: Training) -> dict[str, Any]:
    """What an optimizer takes beside the rate."""
    of_sgd = {"momentum": training.momentum, "nesterov": training.nesterov}
    own = of_sgd if training.optimizer == "sgd" else {}
    return {"weight_decay": training.weight_decay, **own}


def arm_recipe(spec: TrialSpec, *, like: Sequence[Renewed] | None = None) -> Recipe | None:
    """The recipe of an arm; None for the arms that the laboratory runs alone, and for recipes of several networks."""
    if spec.recipe in OWN:
        return None
    recipe = recipes.build(spec.recipe, spec.settings, like=like, where=spec.trial)
    return None if isinstance(recipe, PartnerRecipe) else recipe


def attach_recipe(
    spec: TrialSpec,
    data: Dataset,
    model: nn.Module,
    optimizer: Optimizer,
    *,
    recipe: Recipe | None,
    hooks: bool = True,
    wiring: Wiring | None = None,
    newest: Callable[[], Task] | None = None,
) -> Regrower | None:
    """Attach a trial's recipe, if it has one: by the optimizer's hooks, or to be called by whoever makes the steps.

    Recipes that measure on data do so on what is held out, else on the first training images; where there is a stream,
    on the first of those of the task that `newest` gives, by the loss of the outputs that take part.
    """
    if recipe is None:
        return None
    per_epoch = steps_of(spec, data)
    examples: tuple[Any, Any] = data.held_out or (
        data.x_train[:CALIBRATION],
        data.y_train[:CALIBRATION],
    )
    if newest is not None:
        examples = lambda: newest().images[:CALIBRATION], lambda: newest().labels[:CALIBRATION]
    return attach(
        recipe,
        model,
        optimizer,
        example_inputs=data.x_train[:2] if wiring is None else None,
        wiring=wiring,
        calibration_inputs=examples[0],
        calibration_targets=examples[1],
        calibration_loss=loss_of(spec.loss, lambda: newest().outputs if newest else None),
        total_steps=per_epoch * spec.train.epochs,
        steps_per_epoch=per_epoch,
        layers=acted_on(model),
        seed=spec.seed,
        init=models.recorded_init(spec.model.name, spec.model.settings),
        hooks=hooks,
    )


def acted_on(model: nn.Module) -> tuple[LayerKind, ...] | None:
    """The kinds of layers that recipes act on: as each recipe says, which may be convolutions alone.

    But of a network without convolutions its dense layers, and of `stridednet`, whose arms are to be compared and most
    of whose units are dense, both.
    """
    if isinstance(model, StridedNet):
        return ("conv", "linear")
    convolves = any(isinstance(module, _ConvNd) for module in model.modules())
    return None if convolves else ("linear",)


def attach_partner_recipe(
    spec: TrialSpec, data: Dataset, members: Sequence[Member]
) -> Grafter | None:
    """Attach the arm's recipe for several networks, if it has one."""
    if spec.recipe in OWN or not recipes.info(spec.recipe).partners:
        return None
    recipe = recipes.build(spec.recipe, spec.settings, where=spec.trial)
    if not isinstance(recipe, PartnerRecipe):
        raise TypeError(f"recipe '{spec.recipe}' says that it is for several networks, and is none")
    per_epoch = steps_of(spec, data)
    return attach_partners(
        recipe,
        [member.model for member in members],
        [member.optimizer for member in members],
        example_inputs=data.x_train[:2],
        total_steps=per_epoch * spec.train.epochs,
        steps_per_epoch=per_epoch,
    )
