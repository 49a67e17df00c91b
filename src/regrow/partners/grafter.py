"""Grafter: several networks that meet in a ring, in this process or on ranks.

Made by `partners/attach.py`; it acts behind the optimizers' steps, and lets the `Network`s take from each other.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Self, final

from torch import Tensor

from regrow._plural import count
from regrow.errors import ConfigError, NonFiniteWarning, StateError
from regrow.history import Grafted, PartnerReport
from regrow.loop.detached import Detached
from regrow.loop.optimizers import OptimizerWatch
from regrow.partners.exchange import RingExchange
from regrow.partners.network import Network, graft_ring
from regrow.partnership import PartnerRecipe
from regrow.schedule import Clock
from regrow.schedule.base import bound

STATE_VERSION: Final = 1


@final
class Grafter:
    """What `regrow.attach_partners` returns: the recipe at work; also a context manager that detaches at its end.

    Attributes:
        report: What happened so far.

    Args:
        recipe: What to do.
        networks: Those of this process, in the order of the ring.
        watches: The optimizers of each network, in the order in which they step.
        clock: The length of the training.
        exchange: The ring of ranks, for one network a rank; None: all are here.
        hooks: Act by the optimizers' step hooks.
        notes: What is left alone, blended half and half or not matched.
    """

    def __init__(
        self,
        recipe: PartnerRecipe,
        *,
        networks: Sequence[Network],
        watches: Sequence[Sequence[OptimizerWatch]],
        clock: Clock,
        exchange: RingExchange | None,
        hooks: bool,
        notes: Sequence[str] = (),
    ) -> None:
        self._recipe = recipe
        self._networks = tuple(networks)
        self._watches = [watch for each in watches for watch in each]
        self._exchange = exchange
        self._schedule = None
        if hooks:
            self._schedule = bound(recipe.when, clock, where=f"recipe '{recipe.info.name}'")
        self._steps = [0] * len(self._networks)
        self._met = 0
        self._callbacks: list[Callable[[Grafted], object]] = []
        self._owner = {id(watch): k for k, each in enumerate(watches) for watch in each}
        self._ends = {id(each[-1]) for each in watches if each}
        self.report = PartnerReport(
            recipe=recipe.info.name, partners=recipe.partners, notes=tuple(notes)
        )
        for watch in self._watches if hooks else ():
            watch.listen(self)

    # ---- inside an optimizer's step

    def gradients_ready(self, watch: OptimizerWatch) -> None:
        """An optimizer is about to step: refused where its network has come to a graft, and others have not yet."""
        network = self._owner[id(watch)]
        steps = self._steps[network]
        if steps > self._met and self._due(steps - 1):
            late = [k for k, made in enumerate(self._steps) if made < steps]
            raise ConfigError(
                f"network {network} waits to be grafted after {steps} steps, and network {late[0]} has made "
                f"{self._steps[late[0]]}: train every partner to the end of the epoch before one begins the next "
                f"(recipe '{self._recipe.info.name}')"
            )

    def step_made(self, watch: OptimizerWatch) -> None:
        """An optimizer has stepped; with the last one of the last network that is due, all are grafted."""
        if id(watch) not in self._ends:
            return
        network = self._owner[id(watch)]
        self._steps[network] += 1
        steps = self._steps[network]
        self.report.steps = min(self._steps)
        if self._due(steps - 1) and all(made == steps for made in self._steps):
            self._graft(step=steps - 1)

    def tell(self, *, loss: Tensor | float) -> None:
        """Nothing depends on the loss."""

    def _due(self, step: int) -> bool:
        return self._schedule is not None and step in self._schedule.steps

    # ---- grafting

    def graft(self) -> tuple[Grafted, ...]:
        """Graft now, for loops that were attached with ``hooks=False``: between two steps, at the end of an epoch.

        Returns:
            One event a layer and network of this process.

        Raises:
            ConfigError: The hooks are on, and do this already.
        """
        if self._schedule is not None:
            raise ConfigError(
                "grafter.graft() is for attach_partners(hooks=False): the optimizers' hooks do it already"
            )
        return self._graft(step=self.report.grafts)

    def _graft(self, *, step: int) -> tuple[Grafted, ...]:
        started, first = time.perf_counter(), 0
        if self._exchange is None:
            found = graft_ring(self._networks)
        else:
            found = [self._meet_ranks(self._exchange, step=step)]
            first = self._exchange.rank
        events = tuple(
            replace(event, step=step, partner=first + k)
            for k, each in enumerate(found)
            for event in each
        )
        self._met = step + 1
        self.report.grafts += 1
        self.report.events.extend(events)
        self.report.seconds += time.perf_counter() - started
        self._warn(events)
        for event in events:
            for callback in self._callbacks:
                callback(event)
        return events

    def _meet_ranks(self, exchange: RingExchange, *, step: int) -> list[Grafted]:
        network, where = self._networks[0], f"graft after step {step + 1}"
        lent = network.lend()
        if self._recipe.memory == "graft":  # optimizers may have begun to keep state since
            exchange.agree(lent, network.weights, where=where)
        partner, measured = exchange.pass_on(lent, network.measured, where=where)
        return network.take(partner, measured=measured)

    def _warn(self, events: Sequence[Grafted]) -> None:
        alone = [
            each
            for each in events
            if not math.isfinite(each.information + each.partner_information)
        ]
        if alone and not self._told_nonfinite:
            self._told_nonfinite = True
            warnings.warn(
                f"network {alone[0].partner}, {alone[0].layer}: its weights or its partner's are not finite, "
                f"and the layer is left alone (graft after step {alone[0].step + 1}, "
                f"{count(len(alone), 'layer')}; shown once)",
                NonFiniteWarning,
                stacklevel=4,
            )

    _told_nonfinite = False

    # ---- what a user calls

    def on_graft(self, callback: Callable[[Grafted], object]) -> None:
        """Call a function of a `Grafted` after each graft, once for each layer and network of this process."""
        self._callbacks.append(callback)

    def detach(self) -> None:
        """Stop acting. What has been blended stays."""
        for watch in self._watches:
            watch.release()

    def __enter__(self) -> Self:
        """The grafter itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Detach."""
        self.detach()

    def __reduce__(self) -> tuple[type[Detached], tuple[str, PartnerReport, dict[str, Any]]]:
        """A copy is `Detached`: optimizers are copied without the hooks that this one belongs to."""
        return Detached, ("Grafter", self.report, self.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """Everything that is needed to resume bit for bit; loadable with ``weights_only=True``."""
        return {
            "version": STATE_VERSION,
            "recipe": self._recipe.info.name,
            "networks": len(self._networks),
            "steps": list(self._steps),
            "met": self._met,
            "report": self.report.saved(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from a saved state. Load the models and the optimizers first; with ranks, on each of them.

        Args:
            state: What `state_dict` gave.

        Raises:
            StateError: It is of another version, recipe or number of networks, or not whole. Nothing is changed.
        """
        mine = self.state_dict()
        _refuse_missing(mine, state, "a saved state")
        for key in ("version", "recipe", "networks"):
            if state[key] != mine[key]:
                raise StateError(
                    f"{key} must be {mine[key]!r}, the saved state has {state[key]!r} (grafter)"
                )
        if len(state["steps"]) != len(self._steps):
            raise StateError(
                f"steps must be one number for each of {len(self._steps)} networks, the saved state has "
                f"{state['steps']!r} (grafter)"
            )
        _refuse_missing(mine["report"], state["report"], "a saved report")
        if self._exchange is not None:
            self._exchange.compare({"steps": state["steps"]}, where="load_state_dict")
        self._steps, self._met = list(state["steps"]), int(state["met"])
        self.report.restore(state["report"])
        self.report.steps = min(self._steps)


def _refuse_missing(needed: Iterable[str], saved: Mapping[str, Any], what: str) -> None:
    if missing := [key for key in needed if key not in saved]:
        raise StateError(f"{what} must hold {', '.join(missing)} (grafter)")
