"""Put the stepper of one recipe together: what only some recipes, models and trainings need is chosen here, once.

Called by `loop/attach` once all has been checked; gives the `Stepper` that a `Regrower` holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from regrow.compose import Recipe
from regrow.criteria import Signal
from regrow.errors import ConfigError
from regrow.graph import Streams
from regrow.loop.activity.lookout import Lookout, neighbours
from regrow.loop.activity.step_activity import StepActivity
from regrow.loop.drop import Choice, DropPhase, absent_from
from regrow.loop.host import Host
from regrow.loop.measure.calibration import Calibration
from regrow.loop.measure.live_means import LiveMeans
from regrow.loop.measure.newest_pass import NewestPass
from regrow.loop.measure.probe import Probe
from regrow.loop.network import FreshNetwork, NetworkChange, known_parameters
from regrow.loop.optimizers import OptimizerWatch
from regrow.loop.protection import Protection
from regrow.loop.renewer import Renewer
from regrow.loop.stepper import Stepper
from regrow.loop.warner import Warner
from regrow.renewal import Absence, Layer, Need
from regrow.renewal.network import NetworkNeed
from regrow.schedule import AtBoundary, Clock
from regrow.schedule.base import bound


def assembled(
    recipe: Recipe,
    host: Host,
    *,
    exclude: Sequence[str],
    watches: Sequence[OptimizerWatch],
    calibration: Calibration | None,
    probe: Probe | None,
    activity: StepActivity | None,
    clock: Clock,
    seed: int,
    streams: Streams | None,
    hooks: bool,
    notes: Sequence[str],
    fresh_layers: Sequence[Layer],
    include: Sequence[str],
) -> Stepper:
    """What acts at the optimizer's steps, from here on."""
    where = f"recipe '{recipe.info.name}'"
    schedule = bound(recipe.when, clock, where=where)
    renewal = recipe.renew.bind(clock, where=where)
    if renewal.moves_means and not hasattr(recipe.criterion, "means_of"):
        raise ConfigError(
            f"renew={renewal!r} moves what filters give on the average, which the criterion "
            f"{type(recipe.criterion).__name__} does not remember: use Utility(means=True), or another renewal "
            f"({where})"
        )
    warner = Warner(
        recipe.info.name,
        reads_gradients=Signal.GRADIENTS in recipe.criterion.needs,
        hooked=hooks,
    )
    hears = Need.HEARD in renewal.needs and not host.dry_run
    absence, absent = Absence(host.wiring) if recipe.drop else None, absent_from(host.model)
    renewer = Renewer(
        renewal,
        host,
        surgeons=[watch.surgeon for watch in watches if watch.surgeon is not None],
        calibration=calibration,
        newest=NewestPass(host, warner) if hears else None,
        live=LiveMeans(host) if renewal.moves_means else None,
        drops=recipe.drop,
        reset_state=recipe.optimizer_state != "kept",
        holders=absent,
    )
    drop = DropPhase(
        renewer,
        absence=absence,
        reset_state=recipe.optimizer_state != "kept",
        warner=warner,
    )
    network = _network_change(
        recipe,
        host,
        clock=clock,
        watches=watches,
        renewer=renewer,
        layers=fresh_layers,
        include=include,
        exclude=exclude,
        seed=seed,
    )

    def scaled(factors: Mapping[str, float]) -> None:
        renewer.beginnings.scaled(factors)
        if network is not None:
            network.scaled(factors)

    own = [
        note for layer in host.layers.values() for note in recipe.renew.left_alone(layer.filters)
    ]
    return Stepper(
        recipe=recipe,
        schedule=schedule,
        watches=tuple(watches),
        layers=host.layers,
        working=host.working,
        renewer=renewer,
        drop=drop,
        choice=Choice(
            recipe.select, absent=absent, own=drop.absent, streams=streams, absence=absence
        ),
        seed=seed,
        total_steps=clock.total_steps,
        streams=streams,
        probe=probe,
        lookout=None
        if activity is None
        else Lookout(
            recipe,
            activity=activity,
            neighbours=neighbours(host.wiring),
            warner=warner,
            due=schedule.steps,
        ),
        ranks=host.ranks,
        warner=warner,
        hooked=hooks,
        notes=(
            *recipe.when.notes(clock),
            *own,
            *renewer.notes,
            *(network.notes if network else ()),
            *notes,
        ),
        network=network,
        protection=Protection(
            recipe,
            host,
            watches=watches,
            exclude=exclude,
            warner=warner,
            scaled=scaled,
        )
        if not host.dry_run and (recipe.guard is not None or recipe.gain_check is not None)
        else None,
    )


def _network_change(
    recipe: Recipe,
    host: Host,
    *,
    clock: Clock,
    watches: Sequence[OptimizerWatch],
    renewer: Renewer,
    layers: Sequence[Layer],
    include: Sequence[str],
    exclude: Sequence[str],
    seed: int,
) -> NetworkChange | None:
    """What changes the network as a whole, where the recipe says that something does."""
    if recipe.network is None:
        return None
    when = AtBoundary() if recipe.network_when is None else recipe.network_when
    known = known_parameters(host.model, host.wiring, include=include, exclude=exclude)
    draws = NetworkNeed.FRESH in recipe.network.needs
    return NetworkChange(
        recipe.network,
        bound(when, clock, where=f"recipe '{recipe.info.name}'"),
        at_boundaries=when.at_boundaries,
        known=known,
        fresh=FreshNetwork(host.model, layers, known) if draws else None,
        host=host,
        watches=watches,
        renewer=renewer,
        resets=recipe.optimizer_state != "kept",
        seed=seed,
    )
