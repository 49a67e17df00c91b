"""A network tried before a study begins: once as it is tested, and once as it is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from regrow._named import in_one_line
from regrow.errors import ConfigError
from regrow.lab.engines.modules import learn
from regrow.lab.member import Member
from regrow.study.mistakes import at

if TYPE_CHECKING:
    from regrow.lab.data import Dataset
    from regrow.study.trials import TrialSpec


def try_step(spec: TrialSpec, data: Dataset, *, where: str) -> None:
    """Train a fresh network for one step, on the last and smallest batch of an epoch, and throw it away."""
    with at(where):
        member = Member(spec, data)
    batch, images, labels = member.last_batch()
    what = f"the last batch of an epoch, images of shape {tuple(images.shape)}"
    way_out = ""
    if len(batch) == 1 < spec.train.batch_size:
        way_out = "; train.drop_last = true leaves a batch of one image out"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(member.noise_key(1))
        told = f"in training mode on {what}{way_out}"
        scores = _answer(member.model, images, told, where=where, training=True)
        checked = _scores(scores, data, count=len(batch), where=f"{where}: in training mode")
        try:
            learn(member, checked, batch, images, labels)
        except Exception as error:  # a loss, a backward pass or a step: torch's, or the user's
            raise ConfigError(
                f"{where}: cannot learn from {what}: {in_one_line(error)}{way_out}"
            ) from error


def try_model(model: nn.Module, dataset: Dataset, *, where: str) -> None:
    """Send two images through a network in evaluation mode."""
    for name, parameter in model.named_parameters():
        if isinstance(parameter, nn.parameter.UninitializedParameter):
            raise ConfigError(
                f"{where}: must know its shapes before it is trained, {name} belongs to a lazy layer"
            )
    images = dataset.x_train[:2]
    told = f"on images of shape {tuple(images.shape)}"
    with torch.no_grad():
        scores = _answer(model, images, told, where=where, training=False)
    _scores(scores, dataset, count=len(images), where=where)


def _answer(model: nn.Module, images: Tensor, what: str, *, where: str, training: bool) -> object:
    """What a network gives in one of its modes, which may be its user's own code; it is in training after that."""
    try:
        _ = model.train() if training else model.eval()
        scores = model(images)
        model.train()
        return scores
    except (Exception, SystemExit) as error:  # whatever the user's network raises
        raise ConfigError(f"{where}: raised {in_one_line(error)} {what}") from error


def _scores(scores: object, data: Dataset, *, count: int, where: str) -> Tensor:
    """What a network gave, if it is one score a class."""
    wanted = (count, len(data.classes))
    if not isinstance(scores, Tensor):
        raise ConfigError(f"{where}: must return a tensor of scores, got {type(scores).__name__}")
    came = tuple(scores.shape)
    if came == wanted:
        return scores
    asked = (
        f"one number for each example, shape {wanted}, for the stream has no classes"
        if wanted[1] == 1
        else f"one score for each of {wanted[1]} classes, shape {wanted} for {wanted[0]} images"
    )
    raise ConfigError(f"{where}: must return {asked}, got {came}")
