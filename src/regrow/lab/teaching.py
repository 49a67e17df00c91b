"""The teachers of one trial: networks made of kept weights, and the loss that a student has by them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from regrow.errors import ConfigError
from regrow.lab.data import Dataset
from regrow.lab.measure import finite
from regrow.lab.models import registry as models
from regrow.lab.weights import Weights
from regrow.study.trials import TrialSpec
from regrow.teachers import Teachers


class Teaching:
    """What the teachers of a trial add to the loss of its network, or of each of its networks.

    Where every epoch shows the same images (``train.augment = "none"``) the teachers' logits are computed once, here,
    in fixed pieces: a resumed trial has the same bits, and nothing of this is saved. Several networks of one teacher
    (its partners) teach by the mean of their probabilities. The data is without what is held out: batches index its
    images.
    """

    def __init__(self, spec: TrialSpec, data: Dataset, teachers: Sequence[Weights]) -> None:
        if not teachers or len(teachers) != len(spec.teachers):
            raise ConfigError(
                f"{spec.trial}: needs the weights of its {len(spec.teachers)} teachers, got {len(teachers)}"
            )
        asked, fixed = spec.distillation, spec.train.augment == "none"
        self._summed = spec.train.loss_reduction == "sum"
        self._teachers = Teachers(  # their weights, one for each of ``spec.teachers``
            [teacher_network(found, data, temperature=asked.temperature) for found in teachers],
            temperature=asked.temperature,
            combine=asked.combine,
            weight=asked.weight,
            cache=len(data.x_train) if fixed else None,
        )
        if fixed:
            self._teachers.fill(data.x_train)

    def loss(self, logits: Tensor, images: Tensor, indices: Tensor) -> Tensor:
        """The term to be added to the cross entropy of one batch, in its unit: of a sum, N times the mean."""
        term = self._teachers.loss(logits, images, indices)
        return term * len(logits) if self._summed else term


def teacher_network(found: Weights, data: Dataset, *, temperature: float) -> nn.Module:
    """A network that teaches as the given weights do; several are averaged after the temperature has softened them."""
    networks: list[nn.Module] = []
    for index, state in enumerate(found.states):
        network = models.build(
            found.model.name, settings=found.model.settings, seed=0, **data.sizes
        )
        try:
            network.load_state_dict(state)
        except (RuntimeError, KeyError, TypeError) as error:
            told = " ".join(str(error).split())[:300]
            settings = ", ".join(f"{key}={value}" for key, value in found.model.settings.items())
            raise ConfigError(
                f"teacher {found.source}: its weights must fit model '{found.model.name}' ({settings}): {told}"
            ) from error
        # Buffers may hold infinities, as masks do.
        if not finite(network) or any(bool(value.isnan().any()) for value in network.buffers()):
            raise ConfigError(
                f"teacher {found.source}: network {index} of {len(found.states)} has weights that are not finite, and "
                f"nothing to teach"
            )
        networks.append(network.eval().requires_grad_(False))
    return networks[0] if len(networks) == 1 else _Together(networks, temperature)


class _Together(nn.Module):
    """Several networks as one: logits that, softened by T, are the mean of their softened probabilities.

    logits = T log sum over networks of softmax(theirs / T)
    """

    def __init__(self, networks: Sequence[nn.Module], temperature: float) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.temperature = temperature

    def forward(self, images: Tensor) -> Tensor:
        softened = torch.stack(
            [torch.log_softmax(network(images) / self.temperature, -1) for network in self.networks]
        )
        # The logarithm of their sum: what is missing to the mean is the same for every class, and softmax drops it.
        return self.temperature * torch.logsumexp(softened, 0)
