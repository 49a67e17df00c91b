"""Who reads whom: run a model once on an example, and follow what every element depends on.

Called once a model, by `attach`, `attach_partners`, the laboratory and users. `graph/traced_run.py` runs the model
under the twin; `graph/assemble.py` makes the wiring of what was written down.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.nn.parameter import is_lazy

from regrow.errors import TraceError
from regrow.graph.assemble import assemble
from regrow.graph.calling import ExampleInputs
from regrow.graph.flows import Flow, merged
from regrow.graph.outlets import normed_modules
from regrow.graph.record import Record
from regrow.graph.scripted import is_scripted
from regrow.graph.traced_run import begin_record, traced_run
from regrow.graph.undisturbed import uncollected
from regrow.graph.wiring import Wiring

_SCRIPTED: Final = (
    "the model must be an nn.Module whose forward is Python, got TorchScript ({}): trace it as it was before "
    "torch.jit"
)
_UNTRAINED: Final = (
    "in training mode the model does not run on the example inputs ({}): what training alone uses is not seen. Give "
    "example inputs with everything that it takes there, such as targets"
)


def trace(model: nn.Module, example_inputs: ExampleInputs) -> Wiring:
    """Find every layer's filters, the norm entries that belong to them, and the layers that read them.

    The model runs in evaluation mode and in training mode, without gradients. With every activation goes a tensor of
    the same shape whose elements name the set of filters that the activation's element depends on. Operations that
    move elements move the names; pointwise operations unite them; a convolution or a matrix product with a parameter
    reads the sets on its input channels, and its output starts with fresh ones. So skip connections, concatenation,
    splits, shuffles, groups, flattening and gates need no rule of their own, and nothing is concluded from the order
    of modules or the sizes of layers.

    Args:
        model: Any network; a `DataParallel`, `DistributedDataParallel` or compiled wrapper is looked through. Left as
            it was: flags, buffers, gradients, hooks, random state.
        example_inputs: One tensor, a tuple or list of positional arguments, or a dict of keyword arguments. One or two
            examples are enough; they are copied, never written to. A model that takes a list of tensors gets it in a
            tuple, ``([first, second],)``; one that needs targets in training mode best gets them too.

    Returns:
        The wiring. `print` it to see it as a table.

    Raises:
        TraceError: A parameter is not initialised yet (a lazy layer), the model is TorchScript, the inputs hold no
            example, the forward fails, its output holds no tensor, no convolution or linear layer works on the inputs,
            or what a `ChannelNorm` says of itself cannot be.

    Edge cases:
        A weight that is computed (`weight_norm`, a mask) or an operation without a rule: what flows in is marked
        `Filters.refused`, with the operation's name and the module's path. What training mode alone uses (auxiliary
        heads, the norms of a split batch) is followed like the rest, and its layers come last; a layer that the two
        modes do not use alike is left alone, and `Wiring.remarks` names it. A layer that nobody reads on this example
        is `Filters.unread`. A `GroupNorm` keeps channels apart here, although its statistics run over a group:
        `Filters.coupled` says so. Weight standardisation is followed; its layers are
        marked as readers (`Reader.standardised`), because zeros in their weights do not silence what they read.

    Examples:
        >>> import torch
        >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 4 * 4, 10))
        >>> wiring = trace(net, torch.zeros(1, 1, 6, 6))
        >>> reader = wiring["0"].readers[0]
        >>> reader.path, reader.channels[1][0], reader.channels[1][-1]
        ('3', 16, 31)
    """
    model = unwrap(model)
    if is_scripted(model):
        raise TraceError(_SCRIPTED.format(type(model).__name__))
    return trace_for_evaluation(model, example_inputs, finds=False)[0]


@uncollected()
def trace_for_evaluation(
    model: nn.Module, example_inputs: ExampleInputs, *, finds: bool = True
) -> tuple[Wiring, dict[str, Flow]]:
    """The wiring of a bare model; with `finds` also where filters leave in evaluation mode, and else no such flows."""
    # `Wiring.flows` are those of training passes: what they pass by differs, and so may the calls that find it again.
    if is_scripted(model):
        raise TraceError(_SCRIPTED.format(type(model).__name__))
    _refuse_lazy(model)
    record = begin_record(model)
    outputs, finder = traced_run(model, example_inputs, record, finds=finds)
    # Before training adds layers of its own to the record.
    flows = finder.flows() if finds else None
    # One record for both modes. What is used in one of them alone is told apart by what each of them used.
    evaluated = frozenset(record.used)
    record.used.clear()
    trained = _in_training(model, example_inputs, record)
    apart = _apart(record, evaluated, trained)
    wiring = assemble(model, record, [*outputs, *trained.outputs], apart=apart)
    if not wiring.layers:
        remarks = f" ({'; '.join(wiring.remarks)})" if wiring.remarks else ""
        raise TraceError(
            f"the model must have a convolution or a linear layer that works on its inputs, and has none{remarks}"
        )
    if not trained.ran:
        wiring = replace(wiring, remarks=(*wiring.remarks, _UNTRAINED.format(trained.why)))
    completed = _completed(trained.flows, flows, model, example_inputs, wiring)
    return replace(wiring, flows=completed), flows or {}


@dataclass(frozen=True, kw_only=True)
class _TrainingRun:
    """What a run in training mode has shown."""

    ran: bool  # the model runs so
    whole: bool  # with norms that are not torch's own in training mode too
    chance: bool = False  # random numbers were drawn: what was not run may be another time
    outputs: Sequence[Tensor] = ()  # the tensors that it gave
    # Where filters leave, as far as it is known.
    flows: Mapping[str, Flow] = field(default_factory=dict[str, Flow])
    why: str = ""  # why it does not run


def _in_training(model: nn.Module, example_inputs: ExampleInputs, record: Record) -> _TrainingRun:
    """Run the model in training mode too, into the same record: what it uses there alone belongs to the wiring."""
    # Where filters leave is seen there as well, before dropout and stochastic depth: where chance is at work, in one
    # run more that looks no further.
    why = ""
    options = _in_training_mode(model)
    for modules in options:
        run = partial(traced_run, model, example_inputs, finds=True, training=modules)
        try:
            outputs, finder = run(record)
            drew = finder.drew
            # Once more, with a record of its own: behind dropout this run knows no filter, which is right for where
            # filters leave and wrong for who reads them.
            if finder.chance:
                _, finder = run(begin_record(model), forgets=True)
        except TraceError as error:
            why = str(error.__cause__ or error)
            continue
        whole = modules == options[0]
        return _TrainingRun(
            ran=True, whole=whole, chance=drew, outputs=outputs, flows=finder.flows()
        )
    return _TrainingRun(ran=False, whole=False, why=why.partition("\n")[0])


def _in_training_mode(model: nn.Module) -> list[frozenset[nn.Module]]:
    """The modules that are put into training mode; with fewer where the model does not run so."""
    # Norms in training mode refuse a single example. Torch's own do the same to channels in both modes; others may use
    # tensors in training that they do not use in evaluation.
    every, normed = frozenset(model.modules()), normed_modules(model)
    known = frozenset(each for each in normed if type(each).__module__.startswith("torch.nn."))
    return list(dict.fromkeys((every - known, every - normed)))


def _apart(record: Record, evaluated: Set[str], trained: _TrainingRun) -> dict[str, str]:
    """The weights of layers that training does not use as evaluation does, or of which that is not known, and why."""
    found: dict[str, str] = {}
    # Weights of layers that evaluation ran and training did not: fused, computed or skipped there. What training does
    # not train with cannot be learnt back.
    for weight in evaluated - frozenset(record.used):
        elsewhere = next((each for each in record.users.get(weight, ()) if not each.owner), None)
        if elsewhere is not None:
            found[weight] = f"{elsewhere.place} computes with its weight"
        # With chance at work the layer may only have been left out this once (stochastic depth).
        elif trained.ran and not trained.chance:
            found[weight] = "it is not run, and could not learn anything back"
    if trained.whole:
        return found
    norms = record.norms.values()
    used = {*record.users, *(name for norm in norms for name in norm.tensors.values())}
    for name in sorted(record.parameters - used):
        owner, why = name.rpartition(".")[0], f"what {name} does is not seen"
        for number in _seen_by_norms_around(record, owner):
            found.setdefault(record.layers[number].weight, why)
        for layer in record.layers if owner and not trained.ran else ():
            if layer.weight.rpartition(".")[0] == owner and not name.endswith(".bias"):
                found.setdefault(layer.weight, why)
    return found


def _seen_by_norms_around(record: Record, owner: str) -> Set[int]:
    """The layers whose filters a norm sees that has a module of this path inside."""
    names = {
        name
        for path, norm in record.norms.items()
        if f"{owner}.".startswith(f"{path}.")
        for seen in norm.seen
        for name in seen
    }
    return record.table.layers_of(names)


def _completed(
    found: Mapping[str, Flow],
    evaluated: Mapping[str, Flow] | None,
    model: nn.Module,
    example_inputs: ExampleInputs,
    wiring: Wiring,
) -> Mapping[str, Flow]:
    """With what a run in evaluation mode shows of layers that the one in training mode has left out."""
    # Only where a layer that could be renewed is missing: a run costs as much as a forward pass.
    asked = (each.path for each in wiring.layers if not (each.is_head or each.refused))
    if all(path in found and found[path].outlets for path in asked):
        return found
    if evaluated is None:
        evaluated = evaluation_flows(model, example_inputs)
    return merged(found, evaluated)


def evaluation_flows(
    model: nn.Module, example_inputs: ExampleInputs, *, mute: Set[str] = frozenset()
) -> dict[str, Flow]:
    """The second half of what `trace_for_evaluation` gives, where the wiring is known already."""
    # With `mute`, names of weights that are 0 throughout: what these layers give is a constant, and filters that it is
    # added to are alone behind the sum.
    return traced_run(model, example_inputs, begin_record(model, mute), finds=True)[1].flows()


def unwrap(model: nn.Module) -> nn.Module:
    """The network inside `DataParallel`, `DistributedDataParallel` and `torch.compile`: regrow uses its names.

    Args:
        model: A network, wrapped or not.

    Returns:
        The network itself: its parameters are named without ``module.`` and ``_orig_mod.``.

    Examples:
        >>> net = nn.Linear(2, 2)
        >>> unwrap(nn.DataParallel(net)) is net
        True
    """
    while True:
        if is_scripted(model):
            return model
        inner = model.module if isinstance(model, (DataParallel, DistributedDataParallel)) else None
        inner = model._modules.get("_orig_mod") if inner is None else inner  # pyright: ignore[reportPrivateUsage]
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def _refuse_lazy(model: nn.Module) -> None:
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if is_lazy(tensor):
            raise TraceError(
                f"every parameter must have its shape, and {name} has none yet: run the model once on an example "
                "before it is traced"
            )
