"""NewestPass: the newest training pass made once more, for renewals that are a matter of the data.

The stepper says in which steps a renewal may happen (`ask`), and in those references to what the model was called with
are kept. The renewer asks what layers heard (`heard`), from the input on, as it writes one after the other.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Collection, Sequence
from typing import Final

import torch
from torch import Tensor, nn

from regrow._shapes import Mask
from regrow.activity import ActivityMeter, KeptCall
from regrow.errors import ConfigError
from regrow.graph import Filters
from regrow.graph.calling import copied
from regrow.graph.frames import Arguments
from regrow.graph.undisturbed import as_they_are, undisturbed
from regrow.loop.host import Host
from regrow.loop.measure.layer_calls import LayerCall, LayerCalls, cast
from regrow.loop.ranks import Ranks
from regrow.loop.warner import Warner
from regrow.renewal import LayerInput, Sums

_WHY: Final = "a draw by what layers heard"


class NewestPass:
    """Makes the newest training pass once more, as it was called and under its autocast; nothing of it stays.

    It is eager, with the weights and modes of now.
    """

    def __init__(self, host: Host, warner: Warner) -> None:
        self._model, self._ranks, self._warner = host.model, host.ranks, warner
        self._meter = meter = ActivityMeter.of(host.model, host.wiring, called=host.called)
        # What is compiled whole is called whole, and stays in one piece as long as nobody looks inside.
        self._whole: bool | None = True if meter.wrapped else None
        self._deaf: dict[str, str] = {}

    def told(self, notes: tuple[str, ...]) -> tuple[str, ...]:
        """Some notes, and layers that were renewed without having heard anything: those are warned of."""
        new = [note for note in self._deaf.values() if note not in notes]
        for note in new:
            self._warner.deaf(note)
        return (*notes, *new)

    def ask(self, *, wanted: bool) -> None:
        """Say whether a renewal may happen in the coming step."""
        newest = self._meter.calls.newest
        # The first step shows whether a loop calls the model, or its parts.
        if self._whole is None and newest:
            self._whole = "" in newest
        look = self._whole is None
        self._meter.keep_calls(self, wanted=wanted or look, whole=not look and bool(self._whole))

    @property
    def waits(self) -> bool:
        """Whether the coming pass is kept."""
        return self._meter.calls.asked

    def about_to_pass(self, given: Arguments) -> None:
        """What the meter would have seen: a training pass is about to be made, by no module."""
        if self.waits:
            self._meter.calls.keep("", self._model, given)

    def leave(self) -> None:
        """Look at no pass any more."""
        self._meter.keep_calls(self, wanted=False)

    def heard(self, layers: Collection[Filters], *, seed: int, step: int) -> dict[str, LayerInput]:
        """What layers heard, by path. With several ranks, each must call it."""
        why = self._missing()
        # Norms that speak with other ranks would wait for one that makes no pass.
        if self._ranks.mean_of([not why], why=_WHY) != [1.0]:
            why = why or "another rank has no training pass of this step"
        calls = LayerCalls(self._model, layers)
        if not why:
            self._make(calls, seed=seed, step=step)
            why = "nobody was seen to call it with its own weight"
        found: dict[str, LayerInput] = {}
        for layer in layers:
            mine = calls.of(layer.path)
            found[layer.path] = _KeptInput(layer, mine, ranks=self._ranks)
            if not mine:
                note = f"{layer.path}: renewed as if it had heard nothing, for in step {step} {why}"
                self._deaf.setdefault(layer.path, note)
        return found

    def _missing(self) -> str:
        """Why the pass cannot be made once more; "" where it can."""
        newest = self._meter.calls.newest
        if not newest:
            return "the model was not called in training mode"
        if not all(call.is_whole for call in newest.values()):
            return "what the model was called with was written into"
        return ""

    def _make(self, calls: LayerCalls, *, seed: int, step: int) -> None:
        """Make the pass once more, and note the calls of layers in it."""
        with undisturbed(self._model, training=as_they_are(self._model)):
            _seed(seed, step)
            for path, call in self._meter.calls.newest.items():
                target = call.module if path else self._model  # not what it is compiled in
                with cast(call.autocast), calls.noted(call.autocast):
                    _run(target, call)


class _KeptInput:
    """What one layer heard, in all calls of it on all ranks."""

    def __init__(self, layer: Filters, calls: Sequence[LayerCall], *, ranks: Ranks) -> None:
        self._layer, self._calls, self._ranks = layer, calls, ranks

    def sums(self, weight: Tensor, mask: Mask) -> Sums:
        """What the marked filters would make of it with another weight, without the layer's bias."""
        exact = torch.float32 if weight.device.type == "mps" else torch.float64
        axis = -1 if self._layer.kind == "linear" else 1 - weight.ndim
        wanted = mask.nonzero()[:, 0].to(weight.device)
        with torch.no_grad():
            given = [  # (marked, n): of the others it would be as much memory as a pass
                call(weight).movedim(axis, 0).index_select(0, wanted).flatten(1).to(exact)
                for call in self._calls
            ]
        number = sum(each.shape[1] for each in given)
        mean = self._mean([each.sum(1) for each in given], number, len(wanted))
        squares = [(each - mean.to(each)[:, None]).square().sum(1) for each in given]
        spread = self._mean(squares, number, len(wanted)).sqrt()
        whole = torch.zeros(2, len(mask), dtype=torch.float64, device="cpu")
        whole[:, wanted.cpu()] = torch.stack((mean, spread))
        return Sums(mean=whole[0], spread=whole[1])

    def _mean(self, totals: Sequence[Tensor], number: int, count: int) -> Tensor:
        """Over all examples and positions of all ranks; 0 where there are none."""
        whole = torch.zeros(count, dtype=torch.float64, device="cpu")
        for total in totals:
            whole += total.to(whole)
        mean = self._ranks.mean_over(whole, number, why=_WHY)
        return torch.zeros_like(whole) if mean is None else mean


def _run(target: nn.Module, call: KeptCall) -> None:
    args, named = copied(*call.arguments)
    try:
        target(*args, **named)
    except Exception as error:
        raise ConfigError(
            f"the model must run once more on its newest batch, for {_WHY}, and raised {type(error).__name__}: {error}"
        ) from error


def _seed(seed: int, step: int) -> None:
    """Dropout's numbers are the renewal's: what happens must not depend on what else was drawn, or on who resumes."""
    digest = hashlib.blake2b(f"{seed}\x1f{step}".encode(), digest_size=7).digest()
    number = int.from_bytes(digest, "little")
    random.seed(number)
    torch.default_generator.manual_seed(number)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(number)
