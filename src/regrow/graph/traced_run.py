"""One run of a model under the twin, and what is to be known of the model before it: the parts of a trace.

Called by `graph/trace.py`, once for each mode and each question; what is seen is written into a `Record`.
"""

from __future__ import annotations

import random
from collections.abc import Set
from contextlib import nullcontext
from typing import Final

from torch import Tensor, nn

from regrow.errors import TraceError
from regrow.graph.calling import ExampleInputs, call_arguments, is_list_of_tensors, tensors_in
from regrow.graph.declared import ChannelNorm, note_declared
from regrow.graph.foreign import mark_inputs
from regrow.graph.frames import Frames
from regrow.graph.ledger import Ledger
from regrow.graph.outlets import OutletFinder
from regrow.graph.record import Record
from regrow.graph.remarks import named_layers
from regrow.graph.scripted import is_scripted, note_scripted
from regrow.graph.twin import Twin
from regrow.graph.undisturbed import RunningModule, undisturbed
from regrow.graph.users import THE_MODEL

_LISTED: Final = (
    "; a list is taken for the forward's arguments one by one: for a model that takes a list of tensors give a tuple "
    "with the list in it, example_inputs=([...],)"
)


def begin_record(model: nn.Module, mute: Set[str] = frozenset()) -> Record:
    """Nothing seen yet; `mute`: names of weights that are 0 throughout."""
    parameters = dict(model.named_parameters())
    ledger = Ledger({**dict(model.named_buffers()), **parameters})
    return Record(
        ledger=ledger,
        parameters=frozenset(parameters),
        late_biases=_late_biases(model),
        mute=mute,
    )


def traced_run(
    model: nn.Module,
    example_inputs: ExampleInputs,
    record: Record,
    *,
    finds: bool = False,
    forgets: bool = False,
    training: Set[nn.Module] = frozenset(),
) -> tuple[list[Tensor], OutletFinder]:
    """Run the model once and follow it; with `finds`, also where its filters leave (`forgets`: see `OutletFinder`)."""

    def left(module: nn.Module, path: str, given: object, out: object) -> None:
        note_declared(record, module, path, list(tensors_in(given)), list(tensors_in(out)))
        note_scripted(record, module, path, list(tensors_in(given)), list(tensors_in(out)))

    running = RunningModule(
        model,
        closed=lambda module: isinstance(module, ChannelNorm) or is_scripted(module),
        left=left,
    )
    frames = Frames(model)
    finder = OutletFinder(record, frames, forgets=forgets)
    with undisturbed(model, training=lambda module: module in training):
        args, kwargs = call_arguments(example_inputs)
        given = list(tensors_in((args, kwargs)))
        if given and not any(tensor.numel() for tensor in given):
            shapes = ", ".join(str(tuple(each.shape)) for each in given)
            raise TraceError(f"example inputs must hold an example, and have no element: {shapes}")
        record.ledger.mark(given, live=True)
        mark_inputs(record, given)
        frames.install()
        # Stochastic depth by hand often asks Python's generator, which no mode sees: its state tells that it was asked.
        dice = random.getstate()
        try:
            with running.watching(), finder if finds else nullcontext(), Twin(record, running):
                output = model(*args, **kwargs)
        except TraceError:
            raise
        except Exception as error:
            path = running()
            kind = type(model.get_submodule(path)).__name__
            where = f"module '{path}' ({kind})" if path else THE_MODEL
            listed = _LISTED if is_list_of_tensors(example_inputs) else ""
            raise TraceError(
                f"the model must run on the example inputs; {where} raised {type(error).__name__}: {error}{listed}"
            ) from error
        finally:
            frames.remove()
        finder.drew = finder.drew or random.getstate() != dice
        outputs = list(tensors_in(output))
        if not outputs:
            raise TraceError(
                f"the model's output must hold a tensor, got {type(output).__name__}: return tensors, or tuples, "
                "dictionaries or dataclasses of them, or objects that hold them as attributes"
            )
    return outputs, finder


def _late_biases(model: nn.Module) -> dict[str, frozenset[str]]:
    """By the name of each bias, the weights that some module has with it, by torch's names or in its manner."""
    # Attention has ``in_proj_bias`` with ``in_proj_weight``.
    names = {id(tensor): name for name, tensor in model.named_parameters()}
    found: dict[str, set[str]] = {}
    for weight, owners in named_layers(model).items():
        for owner in owners:
            bias = names.get(id(owner._parameters.get("bias")))  # pyright: ignore[reportPrivateUsage]
            if bias is not None:
                found.setdefault(bias, set()).add(weight)
    for module in model.modules():
        for own, tensor in module.named_parameters(recurse=False):
            weight = getattr(module, f"{own.removesuffix('bias')}weight", None)
            if own.endswith("bias") and isinstance(weight, nn.Parameter) and weight.ndim > 1:
                found.setdefault(names[id(tensor)], set()).add(names[id(weight)])
    return {bias: frozenset(weights) for bias, weights in found.items()}
