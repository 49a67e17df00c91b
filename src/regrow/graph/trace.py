"""Who reads whom: run a model once on an example, and follow what every element depends on."""

from __future__ import annotations

from collections.abc import Mapping, Set
from contextlib import nullcontext, suppress
from dataclasses import replace

from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.nn.parameter import is_lazy

from regrow.errors import TraceError
from regrow.graph.assemble import assemble, named_layers
from regrow.graph.calling import ExampleInputs, call_arguments, tensors_in
from regrow.graph.declared import ChannelNorm, note_declared
from regrow.graph.flows import Flow, merged
from regrow.graph.foreign import mark_inputs
from regrow.graph.frames import Frames
from regrow.graph.ledger import Ledger
from regrow.graph.outlets import OutletFinder, normed_modules
from regrow.graph.record import Record
from regrow.graph.twin import Twin
from regrow.graph.undisturbed import RunningModule, undisturbed
from regrow.graph.users import Users
from regrow.graph.wiring import Wiring


def trace(model: nn.Module, example_inputs: ExampleInputs) -> Wiring:
    """Find every layer's filters, the norm entries that belong to them, and the layers that read them.

    The model runs once, in evaluation mode and without gradients. Beside every activation goes a tensor of the same
    shape whose elements name the set of filters that the activation's element depends on. Operations that move elements
    move the names; pointwise operations unite them; a convolution or a matrix product with a parameter reads the sets
    on its input channels, and its output starts with fresh ones. So skip connections, concatenation, splits, shuffles,
    groups, flattening and gates need no rule of their own, and nothing is concluded from the order of modules or the
    sizes of layers.

    Args:
        model: Any network; a `DataParallel`, `DistributedDataParallel` or compiled wrapper is looked through. Left as
            it was: flags, buffers, gradients, hooks, random state.
        example_inputs: One tensor, a tuple or list of positional arguments, or a dict of keyword arguments. One or two
            examples are enough; they are copied, never written to.

    Returns:
        The wiring. `print` it to see it as a table.

    Raises:
        TraceError: A parameter is not initialised yet (a lazy layer), the forward fails, its output holds no tensor,
            no convolution or linear layer works on the inputs, or what a `ChannelNorm` says of itself cannot be.

    Edge cases:
        A weight that is computed (`weight_norm`, a mask) or an operation without a rule: what flows in is marked
        `Filters.refused`, with the operation's name and the module's path. Layers that run in training mode only
        (auxiliary heads) are not seen; `Wiring.remarks` lists them. A `GroupNorm` keeps channels apart here, although
        its statistics run over a group: `Filters.coupled` says so. Weight standardisation is followed; its layers are
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
    _refuse_lazy(model)
    record, outputs, _ = _run(model, example_inputs)
    flows, users = _in_training(model, example_inputs)
    wiring = assemble(model, record, outputs, more=users)
    if not wiring.layers:
        remarks = f" ({'; '.join(wiring.remarks)})" if wiring.remarks else ""
        raise TraceError(
            f"the model must have a convolution or a linear layer that works on its inputs, and has none{remarks}"
        )
    return replace(wiring, flows=_completed(flows, model, example_inputs, wiring))


def _run(
    model: nn.Module,
    example_inputs: ExampleInputs,
    *,
    finds: bool = False,
    training: Set[nn.Module] = frozenset(),
) -> tuple[Record, list[Tensor], dict[str, Flow]]:
    """Run the model once and follow it; with `finds`, also where its filters leave."""
    parameters = dict(model.named_parameters())
    ledger = Ledger({**dict(model.named_buffers()), **parameters})
    record = Record(
        ledger=ledger, parameters=frozenset(parameters), late_biases=_late_biases(model)
    )

    def left(module: nn.Module, path: str, given: object, out: object) -> None:
        note_declared(record, module, path, list(tensors_in(given)), list(tensors_in(out)))

    running = RunningModule(model, closed=lambda module: isinstance(module, ChannelNorm), left=left)
    frames = Frames(model)
    finder = OutletFinder(record, frames, forgets=bool(training))
    with undisturbed(model, training=lambda module: module in training):
        args, kwargs = call_arguments(example_inputs)
        ledger.mark(tensors_in((args, kwargs)), live=True, computed=False)
        mark_inputs(record, tensors_in((args, kwargs)))
        frames.install()
        try:
            with running.watching(), finder if finds else nullcontext(), Twin(record, running):
                output = model(*args, **kwargs)
        except TraceError:
            raise
        except Exception as error:
            path = running()
            where = (
                f"module '{path}' ({_kind_of(model, path)})" if path else "the model's own forward"
            )
            raise TraceError(
                f"the model must run on the example inputs; {where} raised {type(error).__name__}: {error}"
            ) from error
        finally:
            frames.remove()
        outputs = list(tensors_in(output))
        if not outputs:
            raise TraceError(
                f"the model's output must hold a tensor, got {type(output).__name__}: return tensors, or tuples, "
                "dictionaries or dataclasses of them"
            )
    return record, outputs, finder.flows()


def _in_training(model: nn.Module, example_inputs: ExampleInputs) -> tuple[dict[str, Flow], Users]:
    """Where filters leave in training mode, where dropout and stochastic depth are at work, and who uses which tensor.

    Neither where the model does not run so, as some that need targets in training.
    """
    normed = normed_modules(model)
    modules = frozenset(module for module in model.modules() if module not in normed)
    with suppress(TraceError):
        record, _, flows = _run(model, example_inputs, finds=True, training=modules)
        return flows, record.users
    return {}, {}


def _completed(
    found: dict[str, Flow], model: nn.Module, example_inputs: ExampleInputs, wiring: Wiring
) -> Mapping[str, Flow]:
    """With what a run in evaluation mode shows of layers that the one in training mode has left out."""
    asked = (each.path for each in wiring.layers if not (each.is_head or each.refused))
    if all(path in found and found[path].outlets for path in asked):
        return found
    return merged(found, _run(model, example_inputs, finds=True)[2])


def _late_biases(model: nn.Module) -> dict[str, frozenset[str]]:
    """By the name of each bias, the weights that it stands beside in some module, by torch's names or in its manner.

    Attention has ``in_proj_bias`` beside ``in_proj_weight``.
    """
    names = {id(tensor): name for name, tensor in model.named_parameters()}
    found: dict[str, set[str]] = {}
    for weight, owners in named_layers(model).items():
        for owner in owners:
            bias = names.get(id(owner._parameters.get("bias")))  # pyright: ignore[reportPrivateUsage]
            if bias is not None:
                found.setdefault(bias, set()).add(weight)
    for module in model.modules():
        for own, tensor in module.named_parameters(recurse=False):
            weight = module._parameters.get(f"{own.removesuffix('bias')}weight")  # pyright: ignore[reportPrivateUsage]
            if own.endswith("bias") and weight is not None and weight.ndim > 1:
                found.setdefault(names[id(tensor)], set()).add(names[id(weight)])
    return {bias: frozenset(weights) for bias, weights in found.items()}


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


def _kind_of(model: nn.Module, path: str) -> str:
    return type(model.get_submodule(path)).__name__
