"""inspect: what is wrong with a network, by measurement, without training it.

What `regrow.inspect` is: `health/forward` and `health/gradients` look, `health/layer_values` judges, a `Health` comes
out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, nullcontext, suppress
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from regrow._checks import check_whole
from regrow.errors import ConfigError
from regrow.graph import Filters, Wiring, unwrap
from regrow.graph.calling import call_arguments
from regrow.graph.flows import Flow, merged
from regrow.graph.trace import evaluation_flows, trace_for_evaluation
from regrow.graph.undisturbed import undisturbed
from regrow.health.data import Batch, batches_of, generators_kept
from regrow.health.forward import ForwardReading, first_device
from regrow.health.gradients import (
    Loss,
    MeanGradient,
    check_optimizer,
    loss_of,
    own_loss,
)
from regrow.health.health import Health, tuples
from regrow.health.layer_health import LayerHealth
from regrow.health.layer_values import gradient_values, unit_values, weight_values
from regrow.health.probe import probe_gap
from regrow.health.thresholds import Thresholds
from regrow.nn.gain_check import settled

_PICTURES: Final = 64
"""Filters of the first layer that a page shows, at most."""

_SIDE: Final = 32
"""Rows and columns of such a filter, at most."""


def inspect(
    model: nn.Module,
    batch_or_loader: Any,
    *,
    loss: Loss | None = None,
    targets: Any = None,
    optimizer: object = None,
    steps: int = 0,
    wiring: Wiring | None = None,
    thresholds: Thresholds | None = None,
) -> Health:
    """Look at a network: what is dead, what is dormant, what repeats, what is about to blow up, and what has helped.

    The model is not trained. It runs in evaluation mode, once a batch; where there are targets, with one backward
    pass. Everything is a symptom, no verdict: networks with dead or dormant units often train well.

    Args:
        model: Any network that `regrow.trace` can follow, wrapped or not. Left as it was: parameters, buffers,
            gradients, flags, hooks, random state.
        batch_or_loader: One batch, as the model is called with it (a tensor, a tuple of the forward's arguments, a dict
            of its keyword arguments); or an iterable of batches, each a tensor, such a dict, or a pair of inputs and
            targets. It is gone through once, and nothing of a batch is kept. A list is one of batches.
        loss: Takes the model's output and a batch's targets and gives the mean loss. None: cross entropy where there
            are targets, and where there are none what the model's output has as its ``loss``.
        targets: Of one batch; a loader brings its own.
        optimizer: The optimizer that trains the model: how long its next step would be. It is not stepped.
        steps: Optimizer steps of the fresh-probe gap: copies of this network, and of one with fresh weights, learn the
            first batch with its targets shuffled; 0: it is not measured.
        wiring: What `regrow.trace` gave for this model; None: it is traced.
        thresholds: From which number on something is named; None: the papers' own.

    Returns:
        The report: `print` it, or look at its ``layers``, ``symptoms`` and ``advice``.

    Raises:
        ConfigError: A loader without a batch.

    Edge cases:
        A batch, target, loss or optimizer that does not fit is a ConfigError; a model that cannot be followed, or does
        not run, a TraceError.
        Without targets and without a loss in the model's output nothing that needs a gradient is measured. Layers whose
        units cannot be followed are measured by their weights alone; `Health.notes` says why. A unit that fires on few
        examples looks dead on fewer: the report says which share it cannot see.

    Examples:
        >>> _ = torch.manual_seed(0)
        >>> net = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 2))
        >>> with torch.no_grad():
        ...     _ = net[0].bias[3].fill_(-100)
        >>> health = inspect(net, torch.randn(500, 20), targets=torch.randint(2, (500,)))
        >>> health["0"].units["dead"]
        (3,)
        >>> [str(each.key) for each in health.advice]
        ['renew_dead']
    """
    check_whole(steps, name="steps", where="inspect")
    limits = Thresholds() if thresholds is None else thresholds
    bare = unwrap(model)
    tensors: dict[str, Tensor] = dict(bare.named_parameters(remove_duplicate=False))
    tensors |= bare.named_buffers(remove_duplicate=False)
    bare_optimizer = None if optimizer is None else check_optimizer(optimizer, bare.parameters())
    device = first_device(bare)
    with ExitStack() as stack:
        # Before the loader is asked for anything: to begin takes a random number.
        stack.enter_context(generators_kept(batch_or_loader))
        stack.enter_context(undisturbed(bare))
        stack.enter_context(torch.autocast(device.type, enabled=False))
        # Copied as they come: a loader may fill one tensor again and again.
        batches = (each.on(device) for each in batches_of(batch_or_loader, targets=targets))
        first = next(batches, None)
        if first is None:
            raise ConfigError("batch_or_loader must give a batch, and gave none (inspect)")
        example = first.example()
        found, flows = (
            trace_for_evaluation(bare, example)
            if wiring is None
            else (_checked(wiring, tensors), evaluation_flows(bare, example))
        )
        flows = _beside_nothing(flows, bare, example, found.layers, tensors)
        told = loss is not None or first.targets is not None or _tells_loss(bare, example)
        forward = ForwardReading(bare, found.layers, flows, flat=limits.flat)
        backward = MeanGradient(bare.parameters())
        following: Batch | None = first
        while following is not None:
            batch, following = following, next(batches, None)
            # An empty batch has no mean loss.
            wanted = (backward.possible and len(batch) > 0) and (
                told or batch.targets is not None or _may_have_labels(batch)
            )
            with torch.enable_grad() if wanted else nullcontext():
                given = forward.run(batch, last=following is None)
                value = loss_of(given, batch, loss) if wanted else None
            if value is not None:
                backward.add(value, len(batch))
        gradients = backward.mean()
        gap, kept = (
            probe_gap(bare, first, loss=loss, optimizer=bare_optimizer, steps=steps)
            if steps
            else (None, ())
        )
        measured = tuple(
            _of_layer(
                layer,
                wiring=found,
                flow=flows.get(layer.path, Flow()),
                forward=forward,
                tensors=tensors,
                gradients=gradients,
                optimizer=bare_optimizer,
                limits=limits,
            )
            for layer in found.layers
        )
    evidence = ["weights only", "one forward", *(["one backward"] if gradients else [])]
    if steps:
        evidence.append(f"{steps} steps")
    return Health(
        layers=measured,
        examples=forward.examples,
        evidence=tuple(evidence),
        input_shift=forward.batches.shift(),
        loss=backward.loss,
        probe_gap=gap,
        thresholds=limits,
        notes=(
            *_fresh_norms(bare),
            *(
                f"the fresh-probe gap with fresh values of {name}: no module draws it"
                for name in kept
            ),
            *forward.turns.notes(),
            *_notes(measured, found, optimizer=optimizer, gradients=gradients),
        ),
        pictures=_pictures(found.layers, tensors),
    )


def _checked(wiring: Wiring, tensors: Mapping[str, Tensor]) -> Wiring:
    for layer in wiring.layers:
        if layer.weight not in tensors:
            raise ConfigError(
                f"wiring must be this model's: it names '{layer.weight}', which the model does not have (inspect)"
            )
    return wiring


def _beside_nothing(
    flows: Mapping[str, Flow],
    model: nn.Module,
    example: Any,
    layers: Sequence[Filters],
    tensors: Mapping[str, Tensor],
) -> Mapping[str, Flow]:
    """Where units leave if what is added to them is taken for what it is: an adapter that begins at 0 adds nothing."""
    empty = {each.weight for each in layers if not bool(tensors[each.weight].detach().any())}
    if not empty:
        return flows
    return merged(evaluation_flows(model, example, mute=empty), flows)


def _may_have_labels(batch: Batch) -> bool:
    """Models that work out their loss themselves take labels by name."""
    return isinstance(batch.inputs, Mapping) and any("label" in str(each) for each in batch.inputs)


def _tells_loss(model: nn.Module, example: Any) -> bool:
    """Whether a model works out a loss though nobody has told it labels, as autoencoders do."""
    args, named = call_arguments(example)
    # With gradients some do not run.
    with undisturbed(model), torch.enable_grad(), suppress(Exception):
        value = own_loss(model(*args, **named))
        return value is not None and value.requires_grad
    return False


def _of_layer(
    layer: Filters,
    *,
    wiring: Wiring,
    flow: Flow,
    forward: ForwardReading,
    tensors: Mapping[str, Tensor],
    gradients: Mapping[Tensor, Tensor],
    optimizer: Optimizer | None,
    limits: Thresholds,
) -> LayerHealth:
    weights = weight_values(layer, tensors, flow.factors, limits)
    units = unit_values(
        layer,
        [] if layer.is_head else forward.units[layer.path],
        forward.inlets.get(layer.path),
        tensors=tensors,
        weights=weights,
        limits=limits,
    )
    found = [weights, units]
    if (grad := gradients.get(tensors[layer.weight])) is not None:
        found.append(gradient_values(layer, tensors[layer.weight], grad, optimizer, limits))
    marks = {key: each for values in found for key, each in values.marks.items()}
    if "norm_killed" in marks:
        marks["zero_by_construction"] = marks["zero_by_construction"] & ~marks["norm_killed"]
    if "low_gradient" in marks:
        # Who gives one value throughout is named already, and gets no gradient for that reason.
        for key in ("dead", "blocked", "starved"):
            if key in marks:
                marks["low_gradient"] = marks["low_gradient"] & ~marks[key]
    numbers = {key: each for values in found for key, each in values.numbers.items()}
    if (gain := forward.gains.gain(layer.path)) is not None:
        numbers["gain"] = gain
    return LayerHealth(
        path=layer.path,
        kind=layer.kind,
        count=layer.count,
        is_head=layer.is_head,
        units={key: tuple(each.nonzero()[:, 0].tolist()) for key, each in marks.items()},
        numbers=numbers,
        settled="it is an output layer" if layer.is_head else settled(layer, wiring),
        normed=bool(layer.norms or layer.shared_norms),
        why_not=units.why_not,
    )


def _notes(
    layers: Sequence[LayerHealth],
    wiring: Wiring,
    *,
    optimizer: object,
    gradients: Mapping[Tensor, Tensor],
) -> tuple[str, ...]:
    unjudged = [
        f"what {layer.path or 'the model'} gives: {layer.why_not}"
        for layer in layers
        if layer.why_not and not layer.is_head
    ]
    without: list[str] = []
    if not gradients:
        without.append("gradients: there are no targets and no loss, or nothing is trained")
        if optimizer is not None:
            without.append("the optimizer's next step: it needs a gradient")
    return (*without, *unjudged, *wiring.remarks)


def _fresh_norms(model: nn.Module) -> tuple[str, ...]:
    """Norms that have counted no batch do not normalise in evaluation mode, and what they give is another network's."""
    fresh = [
        path
        for path, module in model.named_modules()
        if isinstance(count := getattr(module, "num_batches_tracked", None), Tensor)
        and int(count) == 0
    ]
    if not fresh:
        return ()
    more = f" and {len(fresh) - 1} more" if len(fresh) > 1 else ""
    return (
        f"what a training pass would show: '{fresh[0]}'{more} has seen no batch yet, so that evaluation mode does not "
        "normalise",
    )


def _pictures(
    layers: Sequence[Filters], tensors: Mapping[str, Tensor]
) -> tuple[tuple[tuple[tuple[float, ...], ...], ...], ...]:
    """The filters of the first layer, where they are images."""
    first = layers[0]
    weight = tensors[first.weight].detach()
    if first.kind != "conv" or weight.ndim != 4 or max(weight.shape[2:]) > _SIDE:
        return ()
    return tuples(weight[:_PICTURES, :3].float().nan_to_num(0.0, 0.0, 0.0).tolist())
