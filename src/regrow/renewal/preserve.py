"""Cut a filter off without a jump: its readers' slices to zero, its mean into what follows them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from regrow._shapes import Mask
from regrow.functional.constants import constant_response
from regrow.graph.filters import Filters, Reader
from regrow.graph.slices import reader_mask
from regrow.renewal.base import Activity, Edit, ReaderActivity


def cut_off(
    filters: Filters, mask: Mask, *, params: Mapping[str, Tensor], activity: Activity
) -> list[Edit]:
    """Edits after which the marked filters are not heard any more, and were it constant, nobody notices.

    Args:
        filters: The layer.
        mask: (O,), True = cut off.
        params: Parameters and buffers by name.
        activity: What its readers receive.

    Returns:
        For every reader its slices' edit, and the shift of its bias, or else of the running mean behind it.

    Edge cases:
        A reader that was not measured (it is never called as a module) is kept: `uncut` names it. A reader with
        neither a bias nor a running mean behind it loses the mean. Slices that other filters share are kept.
    """
    found: list[Edit] = []
    for reader in filters.readers:
        seen = activity.get(reader.path)
        if seen is None:
            continue
        weight = params[reader.weight].detach()
        where = reader_mask(reader, mask, tuple(weight.shape), only_alone=True)
        found.append(Edit(name=reader.weight, mask=where, value=0.0))
        found.extend(_shift(reader, seen, torch.where(where, weight, 0.0), params))
    return found


def uncut(filters: Filters, activity: Activity | None) -> list[str]:
    """Where a renewal without a jump has one at a layer, one note each.

    Args:
        filters: The layer.
        activity: What its readers receive; None: the filters are out of the network before, so that nothing is cut off.

    Returns:
        Notes for a report.
    """
    if activity is None:
        return [note for note in (_moved(filters),) if note]
    unseen = [reader.path for reader in filters.readers if reader.path not in activity]
    deaf = [
        reader.path
        for reader in filters.readers
        if reader.path in activity
        and activity[reader.path].bias is None
        and activity[reader.path].running_mean is None
    ]
    notes: list[str] = []
    if unseen:
        notes.append(f"{filters.path}: kept in {', '.join(unseen)}, never called as a module")
    starved = [
        reader.path
        for reader in filters.readers
        if reader.path in activity
        and reader.groups > 1
        and activity[reader.path].inputs_a_group == 1
        and activity[reader.path].running_mean is not None
    ]
    if starved:
        notes.append(
            f"{filters.path}: cut off in {', '.join(starved)}, a depthwise layer with a batch norm behind: its channel "
            f"is constant then, and in training the norm multiplies its gradient by 1 / sqrt(eps)"
        )
    if filters.mixed:
        notes.append(_moved(filters))
    if deaf:
        notes.append(
            f"{filters.path}: its mean is lost in {', '.join(deaf)}, without a bias or a running mean behind"
        )
    return notes


def _moved(filters: Filters) -> str:
    if not filters.mixed:
        return ""
    return f"{filters.path}: a renewal moves other channels too, and with them the output, through {filters.mixed}"


def _shift(
    reader: Reader, seen: ReaderActivity, removed: Tensor, params: Mapping[str, Tensor]
) -> list[Edit]:
    """Move the response to the removed slices' mean into the bias, or out of the running mean behind."""
    name, sign = (seen.bias, 1.0) if seen.bias is not None else (seen.running_mean, -1.0)
    if name is None:
        return []
    response = constant_response(  # on the CPU: not every device has float64
        (removed.t() if reader.columns else removed).to("cpu", torch.float64),
        seen.mean.to("cpu", torch.float64),
        kind=reader.kind,
        groups=reader.groups,
        taps=seen.taps,
    )
    old = params[name].detach()
    shifted = (old.to("cpu", torch.float64) + sign * response).to(old.dtype)
    moved = response != 0  # entries that nothing was removed from keep their bits
    return [
        Edit(name=name, mask=moved, value=shifted, is_parameter=seen.bias is not None, fresh=False)
    ]
