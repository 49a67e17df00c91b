"""The mode under which a model runs while it is traced: every operation is seen, and its sets are followed.

`graph/trace.py` runs the model under it. It sends each operation to the one who knows it (`layers`, `moves`, `rules`,
`standardised`), and what they find goes to the `Record`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor
from torch._ops import OpOverload

from regrow.graph import rules
from regrow.graph.dispatch import WatchingMode, address
from regrow.graph.layers import (
    CONVOLUTIONS,
    PRODUCTS,
    begin_from_zeros,
    follow_convolution,
    follow_late_bias,
    follow_product,
)
from regrow.graph.ledger import ReinterpretedError
from regrow.graph.moves import follow_move, follow_origins, is_move, keeps_entries
from regrow.graph.offsets import left_of_zeros
from regrow.graph.record import Call, Record, Run, tensors_in
from regrow.graph.sets import different
from regrow.graph.standardised import follow_standardised
from regrow.graph.undisturbed import RunningModule

_RESHAPES_IN_PLACE: Final = frozenset(
    {"squeeze", "unsqueeze", "transpose", "t", "swapaxes", "swapdims", "as_strided", "detach"}
)
_LOOKS_ONLY: Final = frozenset({"_assert_async", "_assert_scalar", "_assert_tensor_metadata"})
_OTHER_NUMBERS: Final = "it looks at the same memory as another type of number"

_READ_BY_PYTHON: Final = (
    "the forward's Python reads a value (a branch on it, or .item()): what it decides is not seen"
)
_AFTER_PYTHON: Final = (
    "; exclude=[...] leaves the layers before it out, wiring=... takes a wiring that you completed"
)


class Twin(WatchingMode):
    """Follows which filters every element depends on."""

    def __init__(self, record: Record, running: RunningModule) -> None:
        super().__init__()
        self._record = record  # what is found is written here
        # Gives the path of the module that is running, and whether one looks into it.
        self._running = running

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, then follow it."""
        named = dict(kwargs or {})
        # What comes out has to be there before it can be followed: the notes are kept by its storage.
        out = func(*args, **named)
        # A norm that says itself what it is (`ChannelNorm`) is noted when it has run. Followed inside, its parameters
        # would have its arithmetic as a second user, and what has two users no renewal writes.
        if not self._running.inside_closed:
            self._follow(func, args, named, out)
        return out

    def _follow(
        self, func: OpOverload[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], out: object
    ) -> None:
        ledger = self._record.ledger
        # A claim holds for one operation: a weight that a convolution has claimed is in other use when `mul` takes it
        # next.
        self._record.claimed.clear()
        inputs = tensors_in((*args, *kwargs.values()))
        outputs = tensors_in((out,))
        plain = [tensor for tensor in outputs if _is_plain(tensor)]
        known = [notes for tensor in inputs if (notes := ledger.find(tensor))]
        # Noise that is added leaves a filter its channel. Without the mark it would pass for a table of numbers that
        # the forward makes, and the channel would never be the filter's alone again.
        live = any(notes.live for notes in known)
        drawn = torch.Tag.nondeterministic_seeded in func.tags or any(each.drawn for each in known)
        if drawn and not live:
            ledger.mark(plain, drawn=True)
        # Positions, masks and constants: neither the model nor the example comes in, and nothing is to be noted.
        if not known:
            return
        call = _call(func, args, kwargs, plain, self._running())
        if call.op in rules.MADE_ANEW or call.op in _LOOKS_ONLY:
            return
        # Views share the notes of their storage, so there is nothing to do, unless they see it as another type of
        # number.
        if _is_view(func, call, inputs):
            self._blur_reinterpreted(call)
            return
        # Sparse tensors have no one storage to keep notes by. What goes in is refused: nobody would see that it is
        # lost.
        if not all(_is_plain(tensor) for tensor in (*inputs, *outputs)):
            self._stop_at_sparse(call, live=live)
            return

        def run(edit: Callable[[str, object], object]) -> object:
            names = (argument.name for argument in func._schema.arguments)  # pyright: ignore[reportPrivateUsage]
            edited = (edit(name, value) for name, value in zip(names, args, strict=False))
            return func(*edited, **{name: edit(name, value) for name, value in kwargs.items()})

        live = live or begin_from_zeros(call, self._record)
        # A weight whose entries were moved is still that weight. Whatever else a parameter goes into makes a computed
        # one, and a layer that multiplies by it is not renewed: its parameter does not say what the layer does.
        moves = is_move(call.op) or call.op in rules.COPIES
        keeps = moves and keeps_entries(call.op)
        computed = any(notes.computed for notes in known) or (
            not keeps and any(map(self._record.has_parameter, inputs))
        )
        # A copy of a weight that was written into is no copy any more. It would pass for the parameter otherwise, and
        # the layer that uses it for one whose filters can be set.
        if func._schema.is_mutable:  # pyright: ignore[reportPrivateUsage]
            ledger.overwritten(outputs)
        if moves and any(notes.whole or notes.origins is not None for notes in known):
            follow_origins(call, self._record, run)
        # Training may move what these were worked out from: when zeros are tried (`offsets.py`), they count as any
        # number.
        if not live and any(each.own or each.whole or each.origins is not None for each in known):
            ledger.mark(outputs, own=True)
        if live:
            self._follow_live(call, func, run)
        elif computed:
            ledger.mark(outputs, computed=True, by=call.place)
            if follow_standardised(call, self._record, func.tags):
                return  # the operation that uses the result decides what becomes of the parameter
        # Last, when the rules have claimed what they used as a layer or a norm does: the rest is in other use.
        if not keeps or any(notes.derived for notes in known):
            self._record.note_other_uses(call, inputs)

    def _stop_at_sparse(self, call: Call, *, live: bool) -> None:
        if live:
            self._record.stop(call, "it works on tensors that are not dense")

    def _follow_live(self, call: Call, func: OpOverload[..., Any], run: Run) -> None:
        # Before the rule, which may fail: also then what comes out is an activation, and no computed weight.
        self._record.ledger.mark(call.outputs, live=True)
        used = len(self._record.used)
        try:
            self._apply_rule(call, func, run)
        except ReinterpretedError:
            self._record.give_up(call, _OTHER_NUMBERS)
        except (RuntimeError, IndexError, TypeError, ValueError) as error:
            # A form of the operation that its rule does not foresee: said, and never guessed at.
            reason = str(error).partition("\n")[0]
            self._record.give_up(call, f"its rule failed with {type(error).__name__}: {reason}")
        self._record.note_empty(
            call, multiplied=len(self._record.used) > used, moves=is_move(call.op)
        )

    def _apply_rule(self, call: Call, func: OpOverload[..., Any], run: Run) -> None:
        record = self._record
        if call.op in CONVOLUTIONS:
            follow_convolution(call, record)
        # Zeros are tried before the rule in each branch, since an operation in place writes over the names that flowed
        # in. Of a product with a weight nothing is left to note: its output begins with filters of its own.
        elif call.op in PRODUCTS:
            several = sum(notes.live for notes in record.notes_on(call)) > 1
            note = left_of_zeros(call, record, run) if several else None
            used = len(record.used)
            follow_product(call, record)
            if note is not None and len(record.used) == used:
                note()
        # Activations of which nothing is noted, such as the zeros that a recurrent layer begins with. By storage and
        # not by element: an operation that writes into a part changes what is known of the whole.
        elif all(notes.present is None for notes in record.notes_on(call)):
            return
        elif is_move(call.op):
            if not follow_move(call, record, run):
                record.give_up(call, "it adds elements where it moves them")
        elif (rule := rules.rule_for(call)) is not None:
            # Copies keep what is left of filters under the names that they copy; norms with entries of their own say it
            # themselves.
            if call.op in rules.UNCHANGED:
                rule(call, record)
                return
            note = left_of_zeros(call, record, run)
            rule(call, record)
            note()
        elif rules.is_pointwise(call.op, func.tags):
            note = left_of_zeros(call, record, run)
            if call.op == "add" and record.late_biases:
                follow_late_bias(call, record)
            rules.pointwise(call, record)
            note()
        # Not guessed at: an operation that mixes channels and is taken for a pointwise one would give a filter readers
        # that are not its own, and a renewal would zero weights that others need.
        elif call.outputs:
            record.give_up(call, "no rule says what its output depends on")
        else:
            record.give_up(call, _READ_BY_PYTHON, advice=_AFTER_PYTHON)

    def _blur_reinterpreted(self, call: Call) -> None:
        """The real and imaginary parts of a number, or its bytes: the elements are not those that were noted."""
        for out in call.outputs:
            notes = self._record.ledger.find(out)
            if notes is None or notes.present is None or notes.blurred is not None:
                continue
            if notes.itemsize == out.element_size():
                continue
            # Places of the notes and of the elements part here: number 5 of a complex storage's real view is half of
            # element 2. So all that the storage holds becomes one set, which is refused where filters are among it.
            table = self._record.table
            union = table.union(different(notes.present))
            if table.layers_of((union,)):
                union = self._record.refuse(call, [notes.present], _OTHER_NUMBERS)
            self._record.ledger.blur(out, union)


def _call(
    func: OpOverload[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    outputs: Sequence[Tensor],
    path: str,
) -> Call:
    schema = func._schema  # pyright: ignore[reportPrivateUsage]  # the only way to an operation's argument names
    names = (argument.name for argument in schema.arguments)
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    bound: dict[str, object] = {}
    name = schema.name.split("::")[-1]
    # `__iand__` and its like write in place too, but end in no underscore of their own: their name stays as it is.
    in_place = schema.is_mutable and name.endswith("_") and not name.endswith("__")
    for argument in schema.arguments:
        written = argument.alias_info is not None and argument.alias_info.is_write
        if written and not in_place:
            continue  # `out=`: what was there before does not matter
        if argument.name in given or argument.has_default_value():
            bound[argument.name] = given.get(argument.name, argument.default_value)
    return Call(
        op=name.removesuffix("_") if in_place else name,
        arguments=bound,
        outputs=outputs,
        path=path,
        in_place=in_place,
    )


def _is_view(func: OpOverload[..., Any], call: Call, inputs: Sequence[Tensor]) -> bool:
    """Nothing was computed or copied: the outputs look at memory whose notes they share."""
    if func._schema.is_mutable:  # pyright: ignore[reportPrivateUsage]
        # `add_` gives back its argument's memory as `t_` does, and yet has computed: only those that reshape are views.
        return call.in_place and call.op in _RESHAPES_IN_PLACE
    held = {address(tensor) for tensor in inputs if _is_plain(tensor)}
    return bool(call.outputs) and all(address(tensor) in held for tensor in call.outputs)


def _is_plain(tensor: Tensor) -> bool:
    return tensor.layout == torch.strided
