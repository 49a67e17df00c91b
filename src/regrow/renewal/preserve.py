"""Cut a filter off without a jump: its readers' slices to zero, its mean into what follows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from regrow._shapes import Mask
from regrow.errors import ShapeError
from regrow.graph.filters import Filters, Reader
from regrow.graph.slices import reader_mask
from regrow.renewal.base import Activity, Edit, ReaderActivity


def cut_off(
    filters: Filters, mask: Mask, *, params: Mapping[str, Tensor], activity: Activity
) -> list[Edit]:
    """Edits after which the marked filters are not heard any more, and were it constant, nobody notices.

    For every reader its slices' edit, and the shift of its bias, or else of the running mean behind it. A reader that
    was not measured (it is never called as a module) is kept: `uncut` names it. A reader with neither a bias nor a
    running mean behind it loses the mean. Slices that other filters share are kept.
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

    No activity: the filters are out of the network before, so that nothing is cut off.
    """
    moved = f"{filters.path}: a renewal moves other channels too, and with them the output, through {filters.mixed}"
    if activity is None:
        return [moved] if filters.mixed else []
    unseen = [reader.path for reader in filters.readers if reader.path not in activity]
    seen = [
        (reader, activity[reader.path]) for reader in filters.readers if reader.path in activity
    ]
    deaf = [reader.path for reader, own in seen if own.bias is None and own.running_mean is None]
    starved = [
        reader.path
        for reader, own in seen
        if reader.groups > 1 and own.inputs_a_group == 1 and own.running_mean is not None
    ]
    notes: list[str] = []
    if unseen:
        notes.append(f"{filters.path}: kept in {', '.join(unseen)}, never called as a module")
    if starved:
        notes.append(
            f"{filters.path}: cut off in {', '.join(starved)}, a depthwise layer with a batch norm behind: its channel "
            f"is constant then, and in training the norm multiplies its gradient by 1 / sqrt(eps)"
        )
    if filters.mixed:
        notes.append(moved)
    if deaf:
        notes.append(
            f"{filters.path}: its mean is lost in {', '.join(deaf)}, without a bias or a running mean behind"
        )
    return notes


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


def constant_response(
    weight: Float[Tensor, ...],
    means: Float[Tensor, " I"],
    *,
    kind: Literal["conv", "conv_transpose", "linear"],
    groups: int = 1,
    taps: float = 1.0,
) -> Float[Tensor, " O"]:
    """The output of a convolution or linear layer, without its bias, whose input channels are constant.

    A channel that is cut off takes its mean response with it. Added to the bias, that response keeps the layer's
    output where the channel was constant.

        response(o) = taps * sum over i of mean(i) * sum over kernel positions p of w(o, i, p)

    Args:
        weight: (O, I/groups, *K) for convolutions, (O, I) for linear layers, (I, O/groups, *K) for transposed ones.
            Zero where a channel is not meant.
        means: (I,), the channels' values.
        kind: What the layer is.
        groups: Groups of the convolution.
        taps: The share of the kernel's positions that meet at one output position; 1 without a stride in a transposed
            convolution.

    Returns:
        (O,).

    Raises:
        ShapeError: `means` has not one entry an input channel.

    Edge cases:
        Zero padding adds zeros, not the constant: at the border the true response is smaller. In a transposed
        convolution with a stride the number of positions that meet can differ from output to output; this is their
        mean.

    Examples:
        >>> constant_response(torch.ones(1, 2, 3, 3), torch.tensor([1.0, 0.5]), kind="conv")
        tensor([13.5000])
    """
    summed = weight.flatten(2).sum(2) if weight.ndim > 2 else weight
    inputs = summed.shape[0] if kind == "conv_transpose" else summed.shape[1] * groups
    if means.shape != (inputs,):
        raise ShapeError(
            f"means of shape ({inputs},) are needed, got {tuple(means.shape)} (constant response)"
        )
    per_group = means.reshape(groups, -1)
    if kind == "conv_transpose":
        by_group = summed.reshape(groups, inputs // groups, -1)  # (g, I/g, O/g)
        return taps * (by_group * per_group[:, :, None]).sum(1).reshape(-1)
    by_group = summed.reshape(groups, summed.shape[0] // groups, -1)  # (g, O/g, I/g)
    return taps * (by_group * per_group[:, None, :]).sum(2).reshape(-1)
