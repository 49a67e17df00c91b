"""Blend: a marked filter is moved a part of the way towards a fresh one (CPR).

The renewal of `recipes/partial_reset`: fresh values come from `renewal/redraw`, how far from a graded selection.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import final

import torch
from torch import Tensor

from regrow._checks import check_fraction, check_positive
from regrow._shapes import Mask, Scores
from regrow.errors import ConfigError
from regrow.graph.filters import Filters
from regrow.graph.slices import bias_mask, norm_mask, reader_mask, weight_mask
from regrow.renewal.base import Activity, Edit, Layer, Need, Renewal
from regrow.renewal.redraw import Redraw


@final
@dataclass(frozen=True, kw_only=True)
class Blend(Renewal):
    """Move a filter a part of the way towards what a whole renewal would make of it.

        r_f = strength * (what a graded selection says of filter f, else 1)
        w   <-  (1 - r_f) w + r_f w_fresh      for every entry w of filter f, and what belongs to it

    so that readers that would be zeroed are shrunk: V <- (1 - r_f) V. Nothing jumps: the network's output changes in
    proportion to r. Running statistics of norms are left to what they average: they are wrong by a share of r, and on
    the way to 0 and 1 they would be by more, wherever a filter's variance is far from 1.

    What the optimizer remembers of a blended entry stays as it is, bit for bit: moments, step counts, and the ages of
    entries that are younger than their tensor. It is a mean of gradients at weights that the blend has moved by a share
    of r, and is nearly right for those that it leads to; begun anew it would answer a change of 1 % by steps of full
    length in all units of a layer at once. Of an entry with r = 1 nothing is left: it is fresh, in the optimizer too,
    and the renewal is `towards` itself, bit for bit.

    Args:
        strength: The largest share of the way, above 0 and at most 1.
        towards: The whole renewal. By default weights from the layer's initialiser, bias 0, norm entries as at the
            start, and the weights that read the filter 0.

    Raises:
        ConfigError: A strength outside (0, 1], or a whole renewal that moves means, keeps the output, or says by its
            draw what readers become.

    Edge cases:
        Companions are moved by the same shares towards the same fresh values, from where they are. A share of 0 changes
        no bit. An entry that is no number stays none, unless r = 1. An optimizer that keeps a copy of the weights
        (Lookahead) keeps it too, and pulls the entry back towards it.

    Source:
        "Calibrated partial resets", arXiv 2607.24996, as released: weights towards a fresh draw, those that read the
        unit towards 0, the optimizer's state untouched.

    Examples:
        >>> Blend(strength=0.1).touches_readers
        True
    """

    partial = True

    strength: float = 1.0
    towards: Redraw = field(default_factory=lambda: Redraw(readers="zero"))

    def __post_init__(self) -> None:
        check_positive(self.strength, name="strength", where="blend")
        check_fraction(self.strength, name="strength", where="blend")
        whole = self.towards
        if not isinstance(whole, Redraw):  # pyright: ignore[reportUnnecessaryIsInstance] # users' words
            raise ConfigError(f"towards must be a regrow.renewal.Redraw, got {whole!r} (blend)")
        if whole.preserve or whole.transfer:
            raise ConfigError(
                "towards must leave preserve and transfer as they are: a filter that is still there keeps its mean "
                "(blend)"
            )
        if whole.writes_readers:
            raise ConfigError(
                f"towards must have a draw that leaves the readers alone, got draw={whole.draw} (blend)"
            )

    @property
    def touches_readers(self) -> bool:
        """As `towards`."""
        return self.towards.touches_readers

    @property
    def draws_readers(self) -> bool:
        """As `towards`."""
        return self.towards.draws_readers

    @property
    def needs(self) -> frozenset[Need]:
        """As `towards`."""
        return self.towards.needs

    def check(self, layer: Layer) -> None:
        """Refuse a layer that cannot be drawn for."""
        self.towards.check(layer)

    def left_alone(self, filters: Filters) -> list[str]:
        """As `towards`."""
        return self.towards.left_alone(filters)

    def edits(
        self,
        layer: Layer,
        mask: Mask,
        *,
        params: Mapping[str, Tensor],
        seed: int,
        step: int,
        activity: Activity | None = None,
    ) -> list[Edit]:
        """The whole renewal's edits, each cut down to its share, and in two where of some entries nothing is left."""
        shares = (
            mask.to(torch.float64) if layer.strengths is None else layer.strengths.to(mask.device)
        )
        shares = torch.where(mask, self.strength * shares, 0.0)
        mask = shares > 0
        if not bool(mask.any()):
            return []
        whole = self.towards.edits(
            layer, mask, params=params, seed=seed, step=step, activity=activity
        )
        places = list(_places(layer.filters, shares, params))
        found: list[Edit] = []
        for edit in whole:
            # In the order of the edits: a layer that reads itself has its weight's name twice.
            number = next(number for number, (name, _) in enumerate(places) if name == edit.name)
            found.extend(_blended(edit, places.pop(number)[1], params[edit.name].detach()))
        return found


def _places(
    filters: Filters, shares: Scores, params: Mapping[str, Tensor]
) -> Iterator[tuple[str, Tensor]]:
    """The share of each entry, for all tensors that a whole renewal may edit, in the order of its edits."""
    yield filters.weight, weight_mask(filters, shares)
    if filters.bias is not None:
        yield filters.bias, bias_mask(filters, shares)
    for norm in filters.norms:
        for each in norm.tensors:
            yield each.name, norm_mask(norm, shares, params[each.name].shape[0])
    for reader in filters.readers:
        yield reader.weight, reader_mask(reader, shares, tuple(params[reader.weight].shape))


def _blended(edit: Edit, share: Tensor, present: Tensor) -> Iterator[Edit]:
    """An edit of a whole renewal as one of living entries, and one of those of which nothing is left."""
    mask, share = edit.mask.to(present.device), share.to(present.device)
    part, all_ = mask & (share < 1), mask & (share >= 1)
    if edit.is_parameter and bool(part.any()):
        wide = torch.promote_types(present.dtype, torch.float32)
        fresh = torch.as_tensor(edit.value, dtype=wide, device=present.device)
        share = share.to(wide)
        moved = (1 - share) * present.to(wide) + share * fresh
        yield replace(edit, mask=part, value=moved.to(present.dtype), fresh=False)
    if bool(all_.any()):
        yield replace(edit, mask=all_)
