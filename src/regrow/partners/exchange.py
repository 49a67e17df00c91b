"""Partners on ranks of torch.distributed: each passes its network on to the next rank, and nothing goes by files.

Made by `partners/attach.py`, called by the `Grafter` at each graft; what has come is taken by the `Network`, as in one
process.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final, cast, final

import torch
import torch.distributed as dist
from torch import Tensor

from regrow._alike import text_of
from regrow._checks import check_positive
from regrow.errors import ConfigError, PartnerError
from regrow.partners.network import Loan, Measurement
from regrow.partners.parcels import Form, Parcel, common, parcels

_CPU: Final = torch.device("cpu")


@final
class RingExchange:
    """The ring of the ranks of one process group: each takes from the rank before, and gives to that after."""

    def __init__(self, group: dist.ProcessGroup | None, *, timeout_s: float | None) -> None:
        if timeout_s is not None:
            check_positive(timeout_s, name="timeout_s", where="attach_partners")
        if not (dist.is_available() and dist.is_initialized()):
            raise ConfigError(
                "one model alone is a partner of those on other ranks, and torch.distributed is not running: start "
                "with torchrun and call init_process_group, or give all networks of this process as a list "
                "(attach_partners)"
            )
        # The process group; None: all ranks.
        self._group = group if group is not None else cast("dist.ProcessGroup", dist.group.WORLD)
        self.rank, self.size = dist.get_rank(self._group), dist.get_world_size(self._group)
        if self.rank < 0:
            raise ConfigError(
                "this process must be one of the group that it is given (attach_partners)"
            )
        self.before, self.after = (self.rank - 1) % self.size, (self.rank + 1) % self.size
        # How long to wait for a partner; none: the timeout of the group.
        self._timeout = () if timeout_s is None else (timedelta(seconds=timeout_s),)
        # Gloo sends from the processor's memory, NCCL from that of this process's GPU.
        nccl = "nccl" in dist.get_backend(self._group)
        self._device = torch.device("cuda", torch.cuda.current_device()) if nccl else _CPU
        self._sent: list[Parcel] = []
        self._received: list[Parcel] = []
        self._buffers: list[Tensor] = []
        self._measured: tuple[str, ...] = ()

    def compare(self, settings: Mapping[str, object], *, where: str) -> None:
        """Refuse settings that differ from rank to rank. Every rank must call it."""
        everyone = self._gather(
            {name: text_of(value) for name, value in settings.items()}, where=where
        )
        for other, theirs in enumerate(everyone):
            for name, value in everyone[0].items():
                if theirs.get(name) != value:
                    raise ConfigError(
                        f"{name} must be the same on every rank: rank 0 has {value}, rank {other} has "
                        f"{theirs.get(name)} ({where})"
                    )

    def agree(
        self, tensors: Mapping[str, Tensor], measured: Sequence[str], *, where: str
    ) -> Mapping[str, Form]:
        """Find out what this rank sends on; what the rank before has, by name, comes back. All must call it."""
        forms = {name: Form(tensor.shape, tensor.dtype) for name, tensor in tensors.items()}
        # Asked anew at each graft where optimizer state travels, which may have begun since. A message whose length the
        # other side does not expect would hang both, or be read as other tensors.
        neighbours = self._neighbours((forms, tuple(measured)), where=where)
        before, self._measured = neighbours[self.before]
        after, _ = neighbours[self.after]
        self._sent = parcels(common(forms, after))
        received = parcels(common(before, forms))
        if received != self._received:  # fresh memory costs more than the arithmetic
            self._received = received
            self._buffers = [
                torch.empty(sum(parcel.lengths), dtype=parcel.dtype, device=self._device)
                for parcel in received
            ]
        return before

    def refuse_together(self, problem: str, *, where: str) -> None:
        """Refuse on every rank what one of them has found to be wrong ("" = nothing). Every rank must call it."""
        everyone = self._gather(problem, where=where)
        for rank, theirs in enumerate(everyone):
            if theirs:
                raise ConfigError(theirs if rank == self.rank else f"on rank {rank}: {theirs}")

    def pass_on(
        self,
        tensors: Mapping[str, Tensor],
        measure: Callable[[], Mapping[str, Measurement]],
        *,
        where: str,
    ) -> tuple[Loan, Mapping[str, Measurement]]:
        """Send this network to the next rank and get that of the rank before. Every rank must call it.

        `measure` gives what it tells of its measured weights, in the order of `agree`, and is called while they travel.
        The loan is in memory that the next call writes over. Where a rank has died, or did not answer in time, nothing
        has been blended.
        """
        outgoing = [each.packed(tensors, device=self._device) for each in self._sent]
        heard = torch.zeros(len(self._measured), 2, dtype=torch.float64, device=self._device)
        with self._explained(where):
            # Under way, and not waited for: this rank measures its own weights in the meantime.
            works = self._under_way(
                [(each, self.after) for each in outgoing],
                [(each, self.before) for each in self._buffers],
            )
        # Outside of `_explained`: an error in measuring is not the partner's.
        measured = measure()
        mine = torch.tensor([*measured.values()], dtype=torch.float64, device=self._device)
        with self._explained(where):
            self._wait([*works, *self._under_way([(mine, self.after)], [(heard, self.before)])])
        lent: dict[str, Tensor] = {}
        for parcel, row in zip(self._received, self._buffers, strict=True):
            lent.update(parcel.opened(row))
        theirs = map(Measurement._make, heard.tolist())
        told = dict(zip(self._measured, theirs, strict=True))
        return Loan(tensors=lent, measured=told), measured

    def _under_way(
        self, outgoing: Iterable[tuple[Tensor, int]], incoming: Iterable[tuple[Tensor, int]]
    ) -> list[Any]:
        """What is under way from now on, each to its rank or from it."""
        return dist.batch_isend_irecv(
            [
                dist.P2POp(way, tensor, group=self._group, group_peer=rank)
                for way, messages in ((dist.isend, outgoing), (dist.irecv, incoming))
                for tensor, rank in messages
            ]
        )

    def _gather(self, mine: Any, *, where: str) -> list[Any]:
        """What every rank has, in the order of the ranks."""
        everyone: list[Any] = [None] * self.size
        with self._explained(where):
            dist.all_gather_object(everyone, mine, group=self._group)
        return everyone

    def _neighbours(self, mine: Any, *, where: str) -> dict[int, Any]:
        """What the ranks before and after this one have; unlike a gathering, it ends when the time is over."""
        row = torch.tensor(list(pickle.dumps(mine)), dtype=torch.uint8, device=self._device)
        length = torch.tensor([len(row)], device=self._device)
        # A ring of two has one neighbour, to whom both messages would go.
        ranks = sorted({self.before, self.after})
        # Lengths first, then texts: the receiver must know how much room to make.
        lengths = [torch.zeros_like(length) for _ in ranks]
        with self._explained(where):
            self._swap(length, lengths, ranks)
            rows = [row.new_empty(int(each)) for each in lengths]
            self._swap(row, rows, ranks)
        # From ranks of the same training, as all that torch.distributed gathers.
        return {
            rank: pickle.loads(bytes(got.tolist()))  # noqa: S301 # as above
            for rank, got in zip(ranks, rows, strict=True)
        }

    def _swap(self, out: Tensor, back: Sequence[Tensor], ranks: Sequence[int]) -> None:
        """The same to all of those ranks, and something from each."""
        incoming = zip(back, ranks, strict=True)
        self._wait(self._under_way([(out, rank) for rank in ranks], incoming))

    def _wait(self, works: Sequence[Any]) -> None:
        for work in works:
            work.wait(*self._timeout)

    @contextmanager
    def _explained(self, where: str) -> Generator[None]:
        """Turn what a broken connection or a timeout says into what it means."""
        try:
            yield
        except (dist.DistError, RuntimeError) as error:
            told = " ".join(str(error).split())[:300]
            raise PartnerError(
                f"rank {self.before} or rank {self.after}, the partners of rank {self.rank}, must take part, and "
                f"one of them has ended or did not answer in time ({where}). This network is as it was before. Stop "
                f"all ranks and start them again from the last checkpoint. What torch.distributed said: {told}"
            ) from error
