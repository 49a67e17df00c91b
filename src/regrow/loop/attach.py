"""attach: one line in any training loop.

Checks, traces and chooses with what is in `loop/start`; `loop/assembly` puts the stepper together, and a `Regrower`
goes to the user.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal
from weakref import WeakSet

from torch import nn
from torch.optim import Optimizer

from regrow._checks import check_whole
from regrow.compose import Recipe
from regrow.draw import InitSpec
from regrow.errors import ConfigError, NoEffectWarning, RegrowError, RegrowWarning
from regrow.graph import Filters, Policy, Wiring, trace, unwrap
from regrow.guard import Guard
from regrow.logs import Log
from regrow.logs.base import Written
from regrow.loop.activity.step_activity import StepActivity
from regrow.loop.assembly import assembled
from regrow.loop.drop import droppable, refuse_endless
from regrow.loop.host import Host
from regrow.loop.measure.data import CalibrationData
from regrow.loop.measure.examples import CalibrationLoss
from regrow.loop.measure.instruments import calibration_of, probe_of
from regrow.loop.optimizers import TrainedTensors
from regrow.loop.ranks import Ranks
from regrow.loop.regrower import Regrower
from regrow.loop.start.arguments import checked, optimizers_of, refuse_strings
from regrow.loop.start.initialisers import draws_whole, layers_drawn_whole, resolve_layers
from regrow.loop.start.layers import choose
from regrow.loop.start.needs import judged
from regrow.loop.start.sharding import refuse_sharded_model, refuse_sharded_optimizer
from regrow.loop.start.watches import watches_of
from regrow.loop.start.wiring import refuse_foreign
from regrow.loop.start.working import notes_on, working_layers
from regrow.loop.state_in_optimizer import StateInOptimizer
from regrow.loop.step_log import step_log
from regrow.schedule import Clock
from regrow.surgery import Companion, counted_by_others, refuse_slow_without_hooks

_REGROWERS: WeakSet[Regrower] = WeakSet()
"""Those that `attach` has given, as long as somebody holds them: the optimizer's hooks do."""


def attach(
    recipe: Recipe | Guard,
    model: nn.Module,
    optimizer: object,
    *,
    example_inputs: Any = None,
    wiring: Wiring | None = None,
    total_steps: int | None = None,
    steps_per_epoch: int | None = None,
    seed: int = 0,
    layers: Sequence[str] | None = None,
    include: Sequence[str] = ("*",),
    exclude: Sequence[str] = (),
    coupled: Policy = "writer",
    init: InitSpec | Mapping[str, InitSpec] | None = None,
    companions: Sequence[object] = (),
    calibration_inputs: Any = None,
    calibration_targets: Any = None,
    calibration_loss: CalibrationLoss | None = None,
    reset_state: Literal["exact", "zero"] = "exact",
    activity_every: int = 1,
    dry_run: bool = False,
    hooks: bool = True,
    state_in_optimizer: bool = False,
    log: Log | Written | None = None,
    log_every: int = 100,
    inspect_on: Any = None,
    inspect_every: int = 1000,
) -> Regrower:
    """Let a recipe act on a model while it trains; the training loop stays as it is.

    Gradients are read right before each ``optimizer.step()`` and filters are renewed right after it,
    by the optimizer's step hooks. Until the recipe first acts, training is bit for bit what it would
    be without regrow. Steps are counted from here on: attach before the first one.

    Args:
        recipe: What to do, such as `regrow.KeepAlive`; or a guard alone, such as `regrow.StepLimit`.
        model: The model, also inside DistributedDataParallel or torch.compile.
        optimizer: The optimizer that holds its parameters, or a wrapper with such an ``.optimizer``; see
            ``docs/optimizers.md`` for the known ones. Several: a list, in the order in which they step in the loop;
            the last one's step ends a step.
        example_inputs: A small batch, as the model is called with it (a tensor, or a tuple or dict
            of arguments); the model is run once to find out who reads whom. Not needed with `wiring`.
        wiring: What `regrow.trace` gave, instead of `example_inputs`.
        total_steps: Optimizer steps of the whole training; recipes that act in a part of it need to know.
        steps_per_epoch: Optimizer steps of an epoch; recipes that check once per epoch need to know.
        seed: For all random numbers of the recipe, together with step, layer and filter.
        layers: Kinds of layers to act on: ``conv``, ``conv_transpose``, ``linear``; None: as the recipe says, most
            often ``("conv",)``. Layers that make the model's output are never touched.
        include: Patterns of module paths to act on.
        exclude: Patterns of module paths to leave alone.
        coupled: What to do with filters whose readers read other filters with them, as on a residual
            stream. ``writer``: renew them alone; what they share is kept and listed. ``inner``: leave
            such layers out. ``stream``: renew all writers of a channel together, by the best of their
            scores, and what reads it with them; or none of them.
        init: What fresh filters are drawn from: a name (``kaiming_normal``, ``uniform:0.01``,
            ``match``, ...), a function that fills a tensor, or a mapping from patterns of module
            paths to these. None: the layer class's own default.
        companions: Copies of the model that average it or teach it: `AveragedModel`, timm's `ModelEmaV3`, any module
            with the same names, also behind another prefix (the target of a part of the model), and averages that are
            no modules but hold ``shadow_params`` (diffusers' `EMAModel`). Renewed filters are copied over to them.
        calibration_inputs: Real data, called as `example_inputs`, with the examples at axis 0 of each tensor. For
            recipes with ``preserve=True`` a batch: the model is run on it three times at each step in which filters
            are renewed. For criteria that are measured on data (activations, derivatives, the oracle) as many examples
            as they are to judge by, best some that are not trained on: the model is run on them, in parts and in
            evaluation mode, at each step at which a score is due. They are not part of the saved state. Or a function
            without arguments that gives the newest of them: it is called here, and once for each decision that needs
            data, and what it gives is checked as a tensor is.
        calibration_targets: What the output is compared with, a tensor with one entry an example, for criteria that
            need the loss; or such a function, which is called right behind that of the inputs.
        calibration_loss: Takes the model's output and targets and gives the mean loss of the batch; None: cross
            entropy.
        reset_state: ``exact``: a renewed filter gets the optimizer state of a fresh one; optimizers for which that is
            not known are refused. ``zero``: exact where it is; elsewhere, whatever they keep of its entries is set
            to zero.
        activity_every: For criteria that ask for means of what filters give in training: read the passes of one in so
            many steps. A criterion that asks on its own, as `RandomOut` does, asks as it does.
        dry_run: Score, select and report, and change nothing.
        hooks: False: nothing is hooked, and you call ``regrower.before_step()`` and ``after_step()`` around each
            ``optimizer.step()`` yourself, or ``regrower.step()`` after it.
        state_in_optimizer: The regrower's state is a part of ``optimizer.state_dict()``, of the last optimizer's, and
            is loaded with it, whether that happens before or after this call: what saves and loads the optimizer
            resumes the regrower. Load the model before the optimizer.
        log: Where numbers go that show what it does: one of `regrow.logs`, or a function of a step and of numbers by
            name. One that fails is left out, with a warning.
        log_every: Steps between two entries of the log; a step that renews something has one too, and so has the end.
        inspect_on: Data on which the network is looked at while it trains, as `regrow.inspect` takes them: a batch, or
            a loader of batches, best with targets (``[(images, labels)]``); or a function without arguments that gives
            them. What is found goes into the log as ``regrow/health/...``; the training keeps its bits. None: no look.
        inspect_every: Steps between two such looks; each takes as long as some passes over the data.

    Returns:
        The `Regrower`: report, saved state, detach.

    Raises:
        ConfigError: A setting that contradicts the model, the optimizer or the recipe.

    Edge cases:
        An optimizer that cannot be followed is an OptimizerError, a model that cannot be traced a TraceError; both say
        where and what can be done.
        What nobody trains at the moment (it requires no gradient, lies in no optimizer, or has a learning rate of 0) is
        kept. A layer that is unfrozen or joins an optimizer later takes part from then on, and counts in a share of the
        network from then on; where none is trained yet, a NoEffectWarning says so.

    Examples:
        >>> import torch, regrow
        >>> model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2))
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> recipe = regrow.RandomOut(threshold=1e-8, active_fraction=0.6)
        >>> regrower = attach(recipe, model, optimizer, example_inputs=torch.zeros(2, 1, 8, 8), total_steps=100)
        >>> regrower.report.layers
        {'0': 4}
        >>> regrower.detach()
    """
    recipe = checked(recipe, model, companions)
    refuse_endless(recipe)
    layers = recipe.layers if layers is None else layers
    refuse_strings(layers=layers, include=include, exclude=exclude)
    check_whole(activity_every, name="activity_every", where="attach", least=1)
    if (wiring is None) == (example_inputs is None):
        raise ConfigError("attach needs example_inputs or wiring, one of the two")
    optimizers = optimizers_of(optimizer)
    bare, ranks = unwrap(model), Ranks.of(model)
    parameters = dict(bare.named_parameters(remove_duplicate=False))
    tensors = {**parameters, **dict(bare.named_buffers(remove_duplicate=False))}
    refuse_sharded_model(model, parameters)
    for each in optimizers:
        refuse_sharded_optimizer(each)
        if not hooks:
            refuse_slow_without_hooks(each)
    if wiring is None:
        wiring = trace(bare, example_inputs)
    refuse_foreign(wiring, tensors)
    trained = TrainedTensors(
        optimizers,
        parameters,
        norms=[norm for each in wiring.layers for norm in (*each.norms, *each.shared_norms)],
    )
    chosen = choose(
        recipe,
        wiring,
        layers=layers,
        include=include,
        exclude=exclude,
        parameters=parameters,
        trained=trained,
        coupled=coupled,
    )
    if recipe.drop:
        chosen = droppable(chosen, wiring)
    able = working_layers(recipe, chosen.layers, wiring, trained).now()
    init = init if recipe.init is None else recipe.init
    unknown_init: list[str] = []

    def sleeps(layer: Filters, error: RegrowError) -> bool:
        """Nobody may ever unfreeze it, and then its initialiser is not needed."""
        unknown_init.append(f"{layer.path}: left alone, also when it is unfrozen, for {error}")
        return layer.path not in able

    resolved = resolve_layers(
        bare,
        chosen.layers,
        tensors,
        init=init,
        with_readers=recipe.renew.draws_readers,
        unless=sleeps,
        also=[each.path for each in wiring.layers] if draws_whole(recipe) else (),
    )
    if not resolved:
        raise ConfigError(
            f"there is no filter that the recipe may renew: {unknown_init[0]} (attach)"
        )
    data = CalibrationData(bare, calibration_inputs, targets=calibration_targets)
    resolved = judged(
        recipe.renew,
        resolved,
        model=bare,
        wiring=wiring,
        inputs=lambda: data.inputs if example_inputs is None else example_inputs,
    )
    watched = [layer.filters for layer in resolved]
    working = working_layers(recipe, watched, wiring, trained)
    clock = Clock(total_steps=total_steps, steps_per_epoch=steps_per_epoch)
    ranks.check_same(
        {
            "seed": seed,
            "recipe.info": recipe.info,
            **{f"recipe.{name}": part for name, part in recipe.parts.items()},
            "layers": {layer.path: layer.count for layer in watched},
            "trained": sorted(able),
            "init": {layer.filters.path: layer.initialiser for layer in resolved},
            "clock": clock,
            "coupled": coupled,
            "calibration_inputs given": calibration_inputs is not None,
            "calibration_targets given": calibration_targets is not None,
            "reset_state": reset_state,
            "activity_every": activity_every,
            "dry_run": dry_run,
        },
        where="attach",
    )
    host = Host(
        model=bare,
        called=model,
        wiring=wiring,
        layers={layer.filters.path: layer for layer in resolved},
        working=working,
        companions=[Companion(each, tensors, watched) for each in companions],
        ranks=ranks,
        dry_run=dry_run,
    )
    probe = probe_of(recipe, host, data, loss=calibration_loss)
    activity = StepActivity.asked_by(recipe, host, every=activity_every)
    if not able:
        warnings.warn(
            f"no layer can be renewed now, for what the recipe '{recipe.info.name}' must change is not trained: "
            f"nothing happens before one of {', '.join(layer.path for layer in watched)} is (attach)",
            NoEffectWarning,
            stacklevel=2,
        )
    _warn_of_another(recipe, optimizers, [layer.path for layer in watched], dry_run=dry_run)
    stepper = assembled(
        recipe,
        host,
        include=include,
        exclude=exclude,
        fresh_layers=layers_drawn_whole(
            recipe, bare, wiring, tensors, init=init, trained=trained.now()
        ),
        watches=watches_of(
            recipe, optimizers, parameters, reset_state=reset_state, dry_run=dry_run
        ),
        calibration=calibration_of(recipe, host, data),
        probe=probe,
        activity=activity,
        clock=clock,
        seed=seed,
        streams=chosen.streams,
        hooks=hooks,
        notes=(
            *chosen.notes,
            *notes_on(working, watched, chosen.streams),
            *unknown_init,
            *_too_few(recipe, watched, able),
            *(each.note for each in host.companions if each.note),
            *counted_by_others(bare, [norm.path for each in watched for norm in each.norms]),
            *(probe.notes if probe else ()),
            *(
                f"{path} is not judged: where its filters leave is not known"
                for path in (activity.unknown if activity else ())
            ),
            *wiring.remarks,
        ),
    )
    told = step_log(
        stepper, log, every=log_every, inspect_on=inspect_on, inspect_every=inspect_every
    )
    regrower = Regrower(stepper, log=told)
    _REGROWERS.add(regrower)
    if state_in_optimizer:
        StateInOptimizer(regrower, optimizers[-1])
    return regrower


def _warn_of_another(
    recipe: Recipe, optimizers: Sequence[Optimizer], layers: Sequence[str], *, dry_run: bool
) -> None:
    """The same recipe on the same layers: a cell of a notebook that was run again."""
    for other in () if dry_run else _REGROWERS:
        both = [path for path in layers if path in other.report.layers]
        if both and other.report.recipe == recipe.info.name and other.is_at_work_on(optimizers):
            warnings.warn(
                f"the recipe '{recipe.info.name}' is at work on this optimizer already, in {', '.join(both[:3])}"
                f"{' and more' * (len(both) > 3)}, since {other.report.steps} steps: both act from now on. Keep what "
                "the first attach gave, and call its detach() before you attach again (attach)",
                RegrowWarning,
                stacklevel=3,
            )


def _too_few(recipe: Recipe, watched: Sequence[Filters], able: Collection[str]) -> list[str]:
    """Why the recipe can take nothing of the layers that take part now, where it can of all of them."""
    if not able or len(able) == len(watched):
        return []
    try:
        recipe.select.check({layer.path: layer.count for layer in watched if layer.path in able})
    except ConfigError as error:
        return [f"as long as {', '.join(sorted(able))} alone take part: {error}"]
    return []
