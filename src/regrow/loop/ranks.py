"""What the processes of one training must have in common, and how they come to it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast, final

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from regrow._alike import text_of
from regrow.errors import ConfigError


@final
@dataclass(frozen=True, kw_only=True)
class Ranks:
    """The processes that train one model together, or this one alone.

    Decisions need no communication: a step hook sees the gradients that DistributedDataParallel has averaged, the same
    bits on every rank, and all random numbers have keys. What one rank could be given otherwise than another is
    compared once, at attach. What each measures on its own (a loss) is averaged where it is used: at steps that the
    schedule alone picks, so that either all ranks come to the collective or none does.
    """

    # The model in its DistributedDataParallel; None for a process of its own.
    wrapper: DistributedDataParallel | None = None

    @classmethod
    def of(cls, model: nn.Module) -> Ranks:
        """The processes of a model in DistributedDataParallel, also compiled, or as a part of one that runs now."""
        inner: object = model
        while isinstance(inner, nn.Module):
            if isinstance(inner, DistributedDataParallel):
                return cls(wrapper=inner)
            inner = inner._modules.get("_orig_mod")  # pyright: ignore[reportPrivateUsage]
        # As for a callback that has found its model in a pass.
        running = DistributedDataParallel._get_active_ddp_module()  # pyright: ignore[reportPrivateUsage]
        if running is not None and any(each is model for each in running.modules()):
            return cls(wrapper=running)
        return cls()

    @property
    def leads(self) -> bool:
        """Whether this process speaks for all of them."""
        return self.wrapper is None or dist.get_rank(self.wrapper.process_group) == 0

    @property
    def keeps_buffers(self) -> bool:
        """Whether no other rank's buffers are written over this one's before each forward pass."""
        return self.leads or (self.wrapper is not None and not self.wrapper.broadcast_buffers)

    def check_same(self, settings: Mapping[str, object], *, where: str) -> None:
        """Refuse settings that differ from rank to rank. Every rank must call it."""
        if self.wrapper is None:
            return
        prints = [_fingerprint(value) for value in settings.values()]
        mine = torch.tensor(prints, dtype=torch.int64, device=_device(self.wrapper))
        group = self.wrapper.process_group
        everyone, rank = _of_all(mine, group), dist.get_rank(group)
        for other, theirs in enumerate(everyone):
            for name, equal in zip(settings, (theirs == everyone[0]).tolist(), strict=True):
                if not equal:
                    raise ConfigError(
                        f"{name} must be the same on every rank, or the ranks would renew different filters: rank "
                        f"{other} differs from rank 0, rank {rank} has {text_of(settings[name])[:200]} ({where})"
                    )

    def mean(self, values: Tensor, *, why: str) -> Tensor:
        """The mean of a tensor over the ranks. Every rank must call it, with the same shape."""
        if self.wrapper is None:
            return values
        group = self._group(self.wrapper, why)
        total = values.detach().to(_device(self.wrapper), torch.float64, copy=True)
        dist.all_reduce(total, group=group)
        return (total / dist.get_world_size(group)).cpu()

    def mean_over(self, total: Tensor, count: int, *, why: str) -> Tensor | None:
        """The mean of what ranks have added up over so many each; None where that is 0. Every rank must call it."""
        sums = self.mean(torch.cat([total, total.new_tensor([count])]), why=why)
        return sums[:-1] / sums[-1] if sums[-1] > 0 else None

    def mean_of(self, numbers: Sequence[float], *, why: str) -> list[float]:
        """The mean of each of some numbers over the ranks. Every rank must call it."""
        return self.mean(torch.tensor(numbers, dtype=torch.float64, device="cpu"), why=why).tolist()

    def gather(self, several: Sequence[Tensor], *, why: str) -> list[Tensor]:
        """What every rank has, (R, ...) of each tensor. Every rank must call it, with the same shapes."""
        if self.wrapper is None:
            return [each.double()[None] for each in several]
        group = self._group(self.wrapper, why)
        flat = torch.cat([each.detach().flatten() for each in several])
        everyone = torch.stack(_of_all(flat.to(_device(self.wrapper), torch.float64), group))
        parts = everyone.cpu().split([each.numel() for each in several], 1)
        return [
            part.reshape(len(part), *each.shape) for part, each in zip(parts, several, strict=True)
        ]

    @staticmethod
    def _group(wrapper: DistributedDataParallel, why: str) -> dist.ProcessGroup:
        """The processes, where all of them are there."""
        joining = getattr(wrapper, "_join_config", None)
        if joining is not None and joining.enable:
            raise ConfigError(
                f"{why} needs every rank in every step, and inside torch.distributed.algorithms.join.Join those that "
                f"have run out of data are not there: give all ranks the same number of batches"
            )
        return cast("dist.ProcessGroup", wrapper.process_group)

    def mean_loss(self, loss: float | None) -> float | None:
        """The mean of the ranks' losses. Every rank must call it."""
        if self.wrapper is None:
            return loss
        mean, share = self.mean_of([loss or 0.0, float(loss is not None)], why="min_loss")
        return mean if share == 1.0 else None


def _of_all(mine: Tensor, group: dist.ProcessGroup | None) -> list[Tensor]:
    everyone = [torch.empty_like(mine) for _ in range(dist.get_world_size(group))]
    dist.all_gather(everyone, mine, group=group)
    return everyone


def _device(wrapper: DistributedDataParallel) -> torch.device:
    """The model's: a group over NCCL takes nothing else."""
    return next(wrapper.parameters()).device


def _fingerprint(value: object) -> int:
    digest = hashlib.blake2b(text_of(value).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)
