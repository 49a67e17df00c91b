"""How a recipe comes to read a training's passes: refused where they cannot be read."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from regrow.activity import ActivityMeter
from regrow.compose import Recipe
from regrow.criteria import Signal, watching
from regrow.errors import ConfigError
from regrow.graph import Filters, Wiring
from regrow.loop.activity.step_activity import StepActivity
from regrow.loop.ranks import Ranks
from regrow.loop.trained import Trained


def step_activity(
    recipe: Recipe,
    model: nn.Module,
    called: nn.Module,
    wiring: Wiring,
    layers: Sequence[Filters],
    *,
    trained: Trained,
    every: int,
    ranks: Ranks,
) -> StepActivity | None:
    """What reads the training's passes, for a criterion that asks for them.

    Args:
        recipe: Whose criterion may ask.
        model: The bare model.
        called: The model as the loop calls it.
        wiring: Its wiring.
        layers: Those that are watched.
        trained: What the optimizers train.
        every: `attach`'s `activity_every`.
        ranks: The processes that train the model together.

    Returns:
        It; None where the criterion does not ask.

    Raises:
        ConfigError: Passes that cannot be read, or not in this wiring.
    """
    if isinstance(every, bool) or not isinstance(every, int) or every < 1:  # pyright: ignore[reportUnnecessaryIsInstance] # users' words
        raise ConfigError(
            f"activity_every must be a whole number of at least 1, got {every!r} (attach)"
        )
    if Signal.ACTIVITY not in recipe.criterion.needs:
        return None
    if isinstance(called, nn.DataParallel) and len(called.device_ids) > 1:
        raise ConfigError(
            f"the criterion {type(recipe.criterion).__name__} reads forward passes, and DataParallel makes them in "
            f"copies on several devices: use DistributedDataParallel, or confirm='gradient' (attach)"
        )
    found = StepActivity(
        ActivityMeter.of(model, wiring, called=called),
        model=model,
        wiring=wiring,
        layers=layers,
        trained=trained,
        sums=watching(recipe.criterion) is None,
        every=every,
        ranks=ranks,
    )
    if len(found.unknown) == len(layers):
        raise ConfigError(
            f"the criterion {type(recipe.criterion).__name__} must know where filters leave, and this wiring says it "
            f"of no layer: give attach(example_inputs=...), a wiring that regrow.trace made, or confirm='gradient' "
            f"(attach)"
        )
    return found


def neighbours(wiring: Wiring) -> dict[str, frozenset[str]]:
    """By layer, those that hear it and those that it hears.

    Args:
        wiring: Of the model.

    Returns:
        Paths by path.
    """
    found: dict[str, set[str]] = {}
    for layer in wiring.layers:
        for reader in layer.readers:
            found.setdefault(layer.path, set()).add(reader.path)
            found.setdefault(reader.path, set()).add(layer.path)
    return {path: frozenset(others) for path, others in found.items()}
