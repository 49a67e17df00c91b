"""The share of its own that every tensor of a network keeps, from what its layers and its partner's carry.

Called by `partners/network.py` at each graft, before anything is blended.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from regrow.graph.slices import unrows
from regrow.partners.mixing import SMALL
from regrow.partners.plan import Claim, Plan, Unit
from regrow.weighing import Weighing


@final
@dataclass(frozen=True, kw_only=True)
class Spread:
    """Which filters each entry of all claimed tensors sees, in one row; worked out once."""

    sizes: Mapping[str, int]  # entries of each tensor, by name, in the order of the row
    filters: Tensor  # indices of filters, counted over all units; as long as `entries`
    entries: Tensor  # indices of entries of the row
    seen: Tensor  # how many filters each entry sees, float64


def spread_of(plan: Plan, tensors: Mapping[str, Tensor]) -> Spread:
    """Find out what `shares` needs for the tensors that several units may claim."""
    starts, total = [0], 0
    for unit in plan.units:
        starts.append(starts[-1] + unit.count)
    sizes: dict[str, int] = {}
    filters: list[int] = []
    entries: list[int] = []
    for name, claims in plan.claimed.items():
        for claim in claims:
            filters.extend(starts[claim.unit] + each for each in claim.filters)
            entries.extend(total + each for each in claim.entries)
        sizes[name] = tensors[name].numel()
        total += sizes[name]
    index = torch.tensor(entries, dtype=torch.int64, device="cpu")
    seen = torch.zeros(total, dtype=torch.float64, device="cpu")
    seen.index_add_(0, index, torch.ones(len(index), dtype=torch.float64, device="cpu"))
    found = torch.tensor(filters, dtype=torch.int64, device="cpu")
    return Spread(sizes=sizes, filters=found, entries=index, seen=seen)


def shares(
    plan: Plan,
    weigh: Weighing,
    *,
    spread: Spread,
    information: tuple[Tensor, Tensor],
    own: Mapping[str, Tensor],
    partner: Mapping[str, Tensor],
    multiply: bool = False,
) -> tuple[Tensor, dict[str, Tensor]]:
    """What each unit keeps of its own, and what each tensor that is blended, by name.

    A unit's is the mean over its filters where these have their own. Units without a finite share, and what goes with
    them, are left alone: theirs is nan.

    `information` is what the units carry, float64 (U,), and what they carry in the partner; nan where the partner has
    no such layer. By filter, `multiply` the shares of a weight's rows and columns, as the released code does, and leave
    layers without scales alone; else take their mean.
    """
    # nan says "left alone" from here to the end: a layer that the partner has not, that nobody trains, or that blew up.
    finite = information[0].isfinite() & information[1].isfinite()
    layers = torch.where(finite, weigh.share(*information), torch.nan)
    each = [
        _of_filters(unit, layers[index], weigh, own=own, partner=partner, multiply=multiply)
        for index, unit in enumerate(plan.units)
    ]
    half = torch.tensor(0.5, dtype=torch.float64, device="cpu")
    measured = {unit.weight for unit in plan.units}
    claimed = _spread(plan, spread, each)
    # The measured ones are known to be finite by their information; all others are looked at once.
    spoiled = _spoiled({name: partner[name] for name in partner if name not in measured})
    found: dict[str, Tensor] = {}
    for name in own:
        if name not in partner or name in plan.left or name in spoiled:
            continue
        if name in plan.claimed:
            found[name] = claimed[name]
        elif name not in plan.whole:
            found[name] = half
        elif bool((share := each[plan.whole[name]]).isfinite().all()):
            found[name] = share
            if share.ndim and own[name].ndim > 1:
                found[name] = _of_weight(plan, plan.whole[name], each, multiply=multiply)
    means = torch.stack([share.mean() for share in each]) if each else layers
    return means, found


def _spoiled(tensors: Mapping[str, Tensor]) -> set[str]:
    """Names of tensors with something in them that would spoil what they are mixed with."""
    floating = {name: each.detach() for name, each in tensors.items() if each.is_floating_point()}
    # A sum is finite only where all is; one for all small ones is soon done, and almost always nothing is wrong.
    together: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    sums: list[Tensor] = []
    for each in floating.values():
        if each.numel() < SMALL:
            together.setdefault((each.dtype, each.device), []).append(each.reshape(-1))
        else:
            sums.append(each.sum(dtype=torch.float64).cpu())
    sums += [torch.cat(several).sum(dtype=torch.float64).cpu() for several in together.values()]
    if all(bool(each.isfinite()) for each in sums):
        return set()
    return {name for name, each in floating.items() if not bool(each.isfinite().all())}


def _of_filters(
    unit: Unit,
    layer: Tensor,
    weigh: Weighing,
    *,
    own: Mapping[str, Tensor],
    partner: Mapping[str, Tensor],
    multiply: bool,
) -> Tensor:
    """One share, or one a filter; nan leaves it alone."""
    if not weigh.by_filter:
        return layer
    scale = unit.scale
    if scale is None or scale.weight is None or scale.weight not in partner:
        return torch.full_like(layer, torch.nan) if multiply else layer
    entries = torch.tensor([each[0] for each in scale.channels], device="cpu")
    mine, theirs = (
        side[scale.weight].detach().to("cpu", torch.float64)[entries] for side in (own, partner)
    )
    # Weights that are no numbers leave the whole layer alone, as they do without scales.
    return (
        weigh.share_by_scale(mine, theirs) if layer.isfinite() else torch.full_like(mine, torch.nan)
    )


def _spread(plan: Plan, spread: Spread, each: Sequence[Tensor]) -> dict[str, Tensor]:
    """One share an entry: the mean over the filters that it sees, one half where it sees none.

    Filters of a layer that is left alone keep all of theirs.
    """
    if not spread.sizes:
        return {}
    pairs = zip(plan.units, each, strict=True)
    # Of a layer that is left alone every entry keeps all of its own, also where it shares the entry with one that
    # takes.
    row = torch.cat([share.expand(unit.count) for unit, share in pairs]).nan_to_num(1.0)
    total = torch.zeros_like(spread.seen).index_add_(0, spread.entries, row[spread.filters])
    found = torch.where(spread.seen > 0, total / spread.seen.clamp(min=1.0), 0.5)
    parts = found.split(list(spread.sizes.values()))
    return dict(zip(spread.sizes, parts, strict=True))


def _of_weight(plan: Plan, index: int, each: Sequence[Tensor], *, multiply: bool) -> Tensor:
    """By filter: rows by their own filter, columns by the filters that they read."""
    filters = plan.units[index].filters
    if filters is None:
        return each[index]
    rows = each[index][:, None]
    claims = plan.columns.get(index, ())
    kernel = math.prod(filters.weight_shape[2:])
    transposed = filters.inputs_first
    width = filters.weight_shape[0] // filters.groups if transposed else filters.weight_shape[1]
    both = rows.expand(-1, width)
    if claims:
        read = _read(claims, each, width=width * filters.groups)
        by_group = read.reshape(filters.groups, 1, width)
        columns = by_group.expand(-1, filters.count // filters.groups, -1).reshape(-1, width)
        joined = rows * columns if multiply else (rows + columns) / 2
        both = torch.where(columns.isnan(), both, joined)
    return unrows(both[..., None].expand(-1, -1, kernel).reshape(filters.count, -1), filters)


def _read(claims: Sequence[Claim], each: Sequence[Tensor], *, width: int) -> Tensor:
    """The share of each input channel; nan where no filter writes it, or all that do are left alone."""
    total = torch.zeros(width, dtype=torch.float64, device="cpu")
    count = torch.zeros(width, dtype=torch.float64, device="cpu")
    for claim in claims:
        share, entries = each[claim.unit], torch.tensor(claim.entries, device="cpu")
        values = (
            share[torch.tensor(claim.filters, device="cpu")]
            if share.ndim
            else share.expand(len(entries))
        )
        known = values.isfinite()
        total.index_add_(0, entries, values.nan_to_num(0.0))
        count.index_add_(0, entries, known.to(torch.float64))
    return torch.where(count > 0, total / count.clamp(min=1.0), torch.nan)
