"""Parts of a model that TorchScript runs: they are not looked into, since no training pass can be read there either."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn

from regrow.graph.record import Call, Record

_ADVICE: Final = (
    "; it is left alone, as by exclude=['{}']: put the part in as a module to have it followed"
)


def is_scripted(module: object) -> bool:
    """Whether a module is compiled TorchScript (`torch.jit.script`, `torch.jit.trace`), whatever it has inside."""
    return isinstance(module, torch.jit.ScriptModule)


def note_scripted(
    record: Record,
    module: nn.Module,
    path: str,
    before: Sequence[Tensor],
    after: Sequence[Tensor],
) -> None:
    """Note that a scripted module has run: who reads what flowed in is not known, and its weights work there."""
    if not is_scripted(module):
        return
    call = Call(
        op="TorchScript", arguments={"given": before}, outputs=after, path=path, in_place=False
    )
    own = {id(tensor) for tensor in module.parameters()}
    record.note_other_uses(
        call, [each for each in record.ledger.tensors.values() if id(each) in own]
    )
    live = any(map(record.ledger.is_live, before))
    record.ledger.mark(after, live=live, computed=not live, by=call.place)
    record.stop(call, "what it does inside is not seen", advice=_ADVICE.format(path))
