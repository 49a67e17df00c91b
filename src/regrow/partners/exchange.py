"""Partners on ranks of torch.distributed: each passes its network on to the next rank, and nothing goes by files.

Made by `partners/attach.py`, called by the `Grafter` at each graft; what has come is taken by the `Network`, as in one
process.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, cast, final

import torch
import torch.distributed as dist
from torch import Tensor

from regrow._alike import text_of
from regrow._checks import check_positive
from regrow.errors import ConfigError, PartnerError
from regrow.partners.network import Loan, Measurement
from regrow.partners.parcels import Form, Parcel, common, parcels, plain_forms, read_forms


@final
class RingExchange:
    """The ring of the ranks of one process group.

    Attributes:
        rank: This process's place in the ring.
        size: Number of ranks.
        before: The rank that this one takes from.
        after: The rank that takes from this one.

    Args:
        timeout_s: How long to wait for a partner; None: the timeout of the group.

    Raises:
        ConfigError: torch.distributed is not running, or this process is not in the group; a time that is not above 0.
    """

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
        self._timeout = None if timeout_s is None else timedelta(seconds=timeout_s)
        # Gloo sends from the processor's memory, NCCL from that of this process's GPU.
        nccl = "nccl" in dist.get_backend(self._group)
        self._device = torch.device("cuda", torch.cuda.current_device()) if nccl else None
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
        """Find out what this rank sends to the next and gets from the one before. All must call it.

        Returns:
            Shape and kind of number of all that the rank before has, by name.
        """
        forms = {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}
        plain = plain_forms(forms)
        # Asked anew at each graft where optimizer state travels, which may have begun since. A message whose length the
        # other side does not expect would hang both, or be read as other tensors.
        neighbours = self._neighbours((plain, list(measured)), where=where)
        before, after = (read_forms(neighbours[rank][0]) for rank in (self.before, self.after))
        self._sent = parcels(common(forms, after))
        self._measured = tuple(neighbours[self.before][1])
        received = parcels(common(before, forms))
        if received != self._received:  # fresh memory costs more than the arithmetic
            self._received = received
            device = self._device or torch.device("cpu")
            self._buffers = [
                torch.empty(sum(parcel.lengths), dtype=parcel.dtype, device=device)
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

        Args:
            measure: Gives what it tells of its measured weights, in the order of `agree`; called while they travel.

        Returns:
            What the partner lends, in memory that the next call writes over; and what was measured.

        Edge cases:
            A rank has died, or did not answer in time: a PartnerError. Nothing has been blended then.
        """
        device = self._device or torch.device("cpu")
        outgoing = [each.packed(tensors, device=device) for each in self._sent]
        heard = torch.zeros(2, len(self._measured), dtype=torch.float64, device=device)
        with self._explained(where):
            # Under way, and not waited for: this rank measures its own weights in the meantime.
            works = self._exchanged(outgoing, self._buffers)
        # Outside of `_explained`: an error in measuring is not the partner's.
        measured = measure()
        mine = torch.tensor(
            [
                [each.information for each in measured.values()],
                [each.length for each in measured.values()],
            ],
            dtype=torch.float64,
            device=device,
        )
        with self._explained(where):
            self._wait([*works, *self._exchanged([mine], [heard])])
        lent: dict[str, Tensor] = {}
        for parcel, row in zip(self._received, self._buffers, strict=True):
            lent.update(parcel.opened(row))
        theirs = {
            name: Measurement(information=information, length=length)
            for name, information, length in zip(self._measured, *heard.tolist(), strict=True)
        }
        return Loan(tensors=lent, measured=theirs), measured

    def _exchanged(self, outgoing: Sequence[Tensor], incoming: Sequence[Tensor]) -> list[Any]:
        """What is under way from now on."""
        return dist.batch_isend_irecv(
            [self._message(dist.isend, each, self.after) for each in outgoing]
            + [self._message(dist.irecv, each, self.before) for each in incoming]
        )

    def _message(self, way: Callable[..., Any], tensor: Tensor, rank: int) -> dist.P2POp:
        return dist.P2POp(way, tensor, group=self._group, group_peer=rank)

    def _gather(self, mine: Any, *, where: str) -> list[Any]:
        """What every rank has, in the order of the ranks."""
        everyone: list[Any] = [None] * self.size
        with self._explained(where):
            dist.all_gather_object(everyone, mine, group=self._group)
        return everyone

    def _neighbours(self, mine: Any, *, where: str) -> dict[int, Any]:
        """What the ranks before and after this one have; unlike a gathering, it ends when the time is over."""
        device = self._device or torch.device("cpu")
        row = torch.tensor(list(json.dumps(mine).encode()), dtype=torch.uint8, device=device)
        length = torch.tensor([len(row)], device=device)
        # A ring of two has one neighbour, to whom both messages would go.
        ranks = sorted({self.before, self.after})
        # Lengths first, then texts: the receiver must know how much room to make.
        lengths = [torch.zeros_like(length) for _ in ranks]
        with self._explained(where):
            self._wait(self._swapped(length, lengths, ranks))
            rows = [torch.empty(int(each), dtype=torch.uint8, device=device) for each in lengths]
            self._wait(self._swapped(row, rows, ranks))
        return {
            rank: json.loads(bytes(got.tolist())) for rank, got in zip(ranks, rows, strict=True)
        }

    def _swapped(self, out: Tensor, back: Sequence[Tensor], ranks: Sequence[int]) -> list[Any]:
        """The same to all of those ranks, and something from each, under way."""
        messages = [self._message(dist.isend, out, rank) for rank in ranks]
        messages += [
            self._message(dist.irecv, each, rank) for each, rank in zip(back, ranks, strict=True)
        ]
        return dist.batch_isend_irecv(messages)

    def _wait(self, works: Sequence[Any]) -> None:
        for work in works:
            if self._timeout is None:
                work.wait()
            else:
                work.wait(self._timeout)

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
