"""HealthLog: the health of a network in training, as numbers for a log."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any, cast

from regrow._checks import check_whole
from regrow.errors import ConfigError, RegrowWarning
from regrow.graph.undisturbed import undisturbed
from regrow.health import OF_UNITS, Health, inspect
from regrow.health.data import generators_kept
from regrow.loop.stepper import Stepper


class HealthLog:
    """Looks at the network every so many steps. A look that fails costs one warning and no training."""

    def __init__(self, stepper: Stepper, examples: Any, *, every: int) -> None:
        check_whole(every, name="inspect_every", where="attach", least=1)
        if isinstance(examples, Iterator):
            raise ConfigError(
                "inspect_on must be a batch, or something that can be gone through more than once: a loader, a list of "
                f"batches, or a function that gives them; got a {type(cast('object', examples)).__name__}, which is "
                "used up after the first look (attach)"
            )
        self._stepper = stepper  # in whose training
        # What `regrow.inspect` takes, each time anew; or a function that gives it.
        self._examples = examples
        self._every = every  # steps
        self._failed = False

    def due(self, steps: int) -> bool:
        """Whether there is a look behind this many steps."""
        return steps % self._every == 0 and not self._failed

    def values(self) -> dict[str, float]:
        """The numbers by name; none where the look has failed."""
        host = self._stepper.renewer.host
        optimizer = self._stepper.watches[0].optimizer
        try:
            given = self._examples
            with generators_kept(given), undisturbed(host.model):  # a function may draw, too
                if callable(given):
                    given = cast("Callable[[], Any]", given)()
                health = inspect(host.model, given, wiring=host.wiring, optimizer=optimizer)
        except Exception as error:  # whatever it is, it is not worth the training
            self._failed = True
            warnings.warn(
                f"the look at the network's health has failed at step {self._stepper.report.steps}, and there is none "
                f"from here on, the training goes on: {type(error).__name__}: {error} (inspect_on; warned once)",
                RegrowWarning,
                stacklevel=2,
            )
            return {}
        return numbers_of(health)


def numbers_of(health: Health) -> dict[str, float]:
    """What of a report is worth a curve: shares of units, and the numbers at which symptoms begin."""
    found: dict[str, float | None] = {key: health.share(key) for key in OF_UNITS}
    found |= {"symptoms": len(health.symptoms), "loss": health.loss}
    for layer in health.layers:
        found |= {
            f"dead/{layer.path}": layer.share("dead"),
            f"effective_rank/{layer.path}": layer.numbers.get("effective_rank"),
            f"gain/{layer.path}": None if layer.settled else layer.numbers.get("gain"),
            f"step/{layer.path}": layer.numbers.get("step"),
        }
    return {f"regrow/health/{key}": each for key, each in found.items() if each is not None}
