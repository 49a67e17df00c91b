"""AddNoise: the scion is Gaussian noise that shrinks from epoch to epoch (Filter Grafting, first source)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self, final

import torch

from regrow._checks import check_fraction, check_positive
from regrow._renamed import renamed
from regrow._shapes import FilterRows, Mask
from regrow.draw import Key
from regrow.draw.keys import normal_rows
from regrow.errors import ConfigError
from regrow.renewal.scion import Scion
from regrow.schedule import Clock


@final
@renamed({"reset_memory": "reset_optimizer"})
@dataclass(frozen=True, kw_only=True)
class AddNoise(Scion):
    """Add Gaussian noise to a filter's weights: less of it with every epoch.

        w_i  <-  w_i + decay^t * n_i,    n_i ~ N(0, 1),   t = whole epochs done, this step's counted

    so that t = 1 at the last step of the first epoch, and 0 before it.

    Args:
        decay: The paper's a, above 0 and at most 1: the factor from epoch to epoch.
        reset_optimizer: The filter counts as new, for the optimizer and for companions; see `Scion`.
        steps_per_epoch: Optimizer steps of an epoch. None: as ``attach(steps_per_epoch=...)`` says.

    Raises:
        ConfigError: A decay that is no such number.

    Edge cases:
        The noise does not know the size of a layer's weights: its standard deviation is the same in every layer, and
        a filter of F numbers gets an l1 norm of about 0.8 F decay^t. Weights in half precision get rounded noise.

    Source:
        Meng et al., "Filter Grafting for Deep Neural Networks", CVPR 2020, Section 3: the noise as scion,
        sigma_t = a^t with 0 < a < 1. https://arxiv.org/abs/2001.05868
    """

    decay: float = 0.975
    reset_optimizer: bool = False
    steps_per_epoch: int | None = None

    def __post_init__(self) -> None:
        check_positive(self.decay, name="decay", where="add noise")
        check_fraction(self.decay, name="decay", where="add noise")

    def bind(self, clock: Clock, *, where: str) -> Self:
        """Learn how long an epoch is. A ConfigError where nobody said it."""
        if self.steps_per_epoch is not None:
            return self
        if clock.steps_per_epoch is None:
            raise ConfigError(
                f"decay={self.decay} is the noise's factor from epoch to epoch and needs attach(steps_per_epoch=...) "
                f"({where})"
            )
        return replace(self, steps_per_epoch=clock.steps_per_epoch)

    def deviation(self, step: int) -> float:
        """Standard deviation of the noise that is added after one optimizer step, counted from 0: decay^t."""
        if self.steps_per_epoch is None:
            raise ConfigError(
                "the noise needs to know steps_per_epoch: call bind first (add noise)"
            )
        return self.decay ** ((step + 1) // self.steps_per_epoch)

    def scions(self, present: FilterRows, mask: Mask, *, key: Key) -> tuple[FilterRows, Mask]:
        """Noise for the marked filters. A filter's does not depend on which others are marked."""
        wanted = mask.nonzero()[:, 0]
        noise = normal_rows(key, filters=wanted, count=present.shape[1])
        given = torch.zeros_like(present)
        given[wanted] = (self.deviation(key.step) * noise).to(present.device, present.dtype)
        return given, mask
