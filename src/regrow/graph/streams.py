"""Filters that write into the same channel: what a residual stream is made of, and what acts on it as one.

Called by the loop when a recipe is attached (`streams_of`, `as_one`), and at each decision (`Streams.gather` before,
`Streams.spread` behind the selection).

In ``x + f(x)`` the last convolution of f and every writer of x add into the same channels. Who reads a channel reads
all of them, so that its weights belong to no single filter. A `Policy` says what a recipe does there:

    writer   renew the filter alone; readers' slices and norm entries that others share are kept
    inner    leave layers out whose filters share their readers
    stream   renew all the writers of a channel together, or none; then its readers and norm entries are theirs
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, chain
from typing import Literal, final

import torch
from torch import Tensor

from regrow._shapes import Mask, Scores
from regrow.graph.filters import Filters, Norm
from regrow.graph.wiring import Wiring

Policy = Literal["writer", "inner", "stream"]

Unit = tuple[str, int]
"""A filter: module path of its layer, and index."""


def is_shared(filters: Filters) -> bool:
    """Whether a layer reads any of these filters together with others, or its readers are not all known.

    Args:
        filters: The layer.

    Returns:
        True where a filter's readers are not its own.
    """
    return bool(filters.refused) or not all(
        flag for reader in filters.readers for flags in reader.alone for flag in flags
    )


def streams_of(wiring: Wiring) -> tuple[tuple[Unit, ...], ...]:
    """The filters that are read together, channel by channel.

    Two filters belong to the same stream if a layer reads both in one channel, or if an entry of a norm sees both; and
    so on from filter to filter.

    Args:
        wiring: From `regrow.trace`.

    Returns:
        Groups of two filters and more, in call order; every filter is in one group at most.

    Edge cases:
        Behind an operation that mixes channels (a `LayerNorm` over them) all filters are one group.
    """
    parent: dict[Unit, Unit] = {}

    def root(unit: Unit) -> Unit:
        while parent.setdefault(unit, unit) != unit:
            # Halving the way to the root: a stream through a hundred blocks would otherwise be a chain of a hundred
            # steps.
            parent[unit] = parent[parent[unit]]
            unit = parent[unit]
        return unit

    first: dict[tuple[str, int], Unit] = {}
    seen: set[tuple[str, int, int]] = set()
    for layer in wiring.layers:
        for path, every_channel, every_flag in _heard_at(layer):
            for index, (channels, alone) in enumerate(zip(every_channel, every_flag, strict=True)):
                mine = root((layer.path, index))
                # A filter that is alone in all its channels enters no group, and yet is known (`root` above has noted
                # it).
                if all(alone):
                    continue
                run = (path, id(channels), id(alone))
                if run in seen and channels:
                    # Behind a mixing operation the filters of a layer share one long list: one channel says it all.
                    channels, alone = channels[:1], alone[:1]  # noqa: PLW2901
                seen.add(run)
                for channel, single in zip(channels, alone, strict=True):
                    if not single:
                        # A channel's first filter stands for it: whoever comes later joins that one's group.
                        other = root(first.setdefault((path, channel), mine))
                        mine = root(mine)
                        parent[mine] = other
    groups: dict[Unit, list[Unit]] = {}
    for layer in wiring.layers:
        for index in range(layer.count):
            unit = (layer.path, index)
            if unit in parent:
                groups.setdefault(root(unit), []).append(unit)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def _heard_at(
    layer: Filters,
) -> Iterator[tuple[str, Sequence[tuple[int, ...]], Sequence[tuple[bool, ...]]]]:
    """Who hears a layer's filters: by name, the channels of each, and whether it is alone there."""
    for reader in layer.readers:
        yield reader.path, reader.channels, reader.alone
    for norm in layer.shared_norms:
        # One tuple of flags a length: runs are known again by identity, and a tuple made anew for each of a mixing
        # layer's filters would make all of them be looked at channel by channel.
        together = {len(each): (False,) * len(each) for each in norm.channels}
        yield (
            f"entries of {norm.path}",
            norm.channels,
            [together[len(each)] for each in norm.channels],
        )


def as_one(filters: Filters) -> Filters:
    """A layer whose streams are renewed whole: what its filters share with their streams counts as their own.

    Args:
        filters: The layer.

    Returns:
        The same layer; every channel of its readers is `Reader.alone`, and the shared norm entries are among its own.

    Edge cases:
        What no filter made stays in the stream whoever is renewed (`Filters.foreign`): those filters' channels and
        entries stay as they are.
    """
    # In ``input + f(x)`` the input stays in the channel when all of its filters are gone: zeroed readers would lose it.
    kept = filters.foreign or (False,) * filters.count
    readers = tuple(
        replace(
            reader,
            alone=tuple(
                flags if keep else (True,) * len(flags)
                for keep, flags in zip(kept, reader.alone, strict=True)
            ),
        )
        for reader in filters.readers
    )
    norms = (*filters.norms, *_some(filters.shared_norms, kept, False))
    return replace(
        filters, readers=readers, norms=norms, shared_norms=_some(filters.shared_norms, kept, True)
    )


def _some(norms: Sequence[Norm], kept: Sequence[bool], wanted: bool) -> tuple[Norm, ...]:
    """The entries of the filters with the wanted flag."""
    found: list[Norm] = []
    for norm in norms:
        channels = tuple(
            each if keep is wanted else () for keep, each in zip(kept, norm.channels, strict=True)
        )
        if any(channels):
            found.append(replace(norm, channels=channels))
    return tuple(found)


@final
class Streams:
    """Groups of filters that are scored, selected and renewed as one.

    Args:
        groups: Filters by layer and index; a filter is in one group at most.
        counts: Number of filters of every layer that takes part.
        barred: Filters that are never selected: a part of their group is out of reach.
        products: Groups are of factors, and are as good as the worst of them: whatever it is multiplied with, a factor
            of 0 gives 0. Else of terms, and are as good as the best.
    """

    def __init__(
        self,
        groups: Sequence[Sequence[Unit]],
        counts: Mapping[str, int],
        *,
        barred: Sequence[Unit] = (),
        products: bool = False,
    ) -> None:
        self._how = "amin" if products else "amax"
        self.groups = tuple(tuple(group) for group in groups)
        self._counts = dict(counts)
        starts = dict(zip(counts, accumulate(counts.values(), initial=0), strict=False))

        def places(units: Iterable[Unit]) -> list[int]:
            return [starts[layer] + index for layer, index in units]

        # Members of groups, the number of each one's group, the groups' first members, and who is barred.
        indices = (
            places(chain.from_iterable(self.groups)),
            [number for number, group in enumerate(self.groups) for _ in group],
            places(group[0] for group in self.groups),
            places(barred),
        )
        self._indices = [torch.tensor(each, dtype=torch.int64, device="cpu") for each in indices]

    def gather(
        self, scores: Mapping[str, Scores], eligible: Mapping[str, Mask]
    ) -> tuple[dict[str, Scores], dict[str, Mask]]:
        """By layer scores and who may be selected: of a group its first filter, if all may, with the score of its best.

        A channel is worth keeping if one of its writers is; a product if all of its factors are: it has the worst one's
        score. A score that is not a number makes its group's one. A group with a layer that was not scored may not be
        selected.
        """
        if not scores:
            return {}, {}
        # A layer without a score has -inf, which no maximum takes over, and False below, which bars its whole group:
        # filters of which nothing is known are not renewed because their neighbours are bad.
        flat = self._flat(scores, missing=float("-inf"))
        may = self._flat(eligible, missing=False)
        members, owners, firsts, barred = (index.to(flat.device) for index in self._indices)
        best = flat.new_zeros(len(self.groups))
        # Either passes nan on, so that one score that is no number spoils its group's; nan is never selected.
        best = best.scatter_reduce(0, owners, flat[members], self._how, include_self=False)
        flat = flat.index_copy(0, members, best[owners])
        all_may = torch.ones(len(self.groups), dtype=torch.int32, device=flat.device)
        all_may = all_may.scatter_reduce(0, owners, may[members].to(torch.int32), "amin")
        may = may.index_fill(0, members, False).index_copy(0, firsts, all_may > 0)
        # Last: a barred filter may be the first of its group, whom the line above has just let in.
        may = may.index_fill(0, barred, False)
        return self._split(flat, scores), self._split(may, eligible)

    def spread(self, masks: Mapping[str, Mask]) -> dict[str, Mask]:
        """What is decided for a group's first filter holds for all of it."""
        if not masks:
            return {}
        flat = self._flat(masks, missing=False)
        members, owners, firsts, barred = (index.to(flat.device) for index in self._indices)
        flat = flat.index_copy(0, members, flat[firsts][owners])
        return self._split(flat.index_fill(0, barred, False), masks)

    def _flat(self, tensors: Mapping[str, Tensor], *, missing: float | bool) -> Tensor:
        first = next(iter(tensors.values()))
        return torch.cat(
            [
                tensors[layer].to(first.device, first.dtype)
                if layer in tensors
                else first.new_full((count,), missing)
                for layer, count in self._counts.items()
            ]
        )

    def _split(self, flat: Tensor, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
        parts = flat.split(list(self._counts.values()))
        return {
            layer: part.to(like[layer].device, like[layer].dtype)
            for layer, part in zip(self._counts, parts, strict=True)
            if layer in like
        }
