"""Split: the strongest filter shares its work with the renewed one, and the network computes what it did.

One of the draws of `renewal/draws/menu`, called by `renewal/redraw`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, final

import torch
from torch import Tensor

from regrow._shapes import Mask
from regrow.draw import Key
from regrow.draw.keys import normal_rows, uniform_rows
from regrow.errors import ConfigError
from regrow.graph.filters import Filters, Reader
from regrow.graph.slices import reader_mask, rows
from regrow.renewal.base import Edit, Layer, Need, Tensors
from regrow.renewal.draws.base import Draw, Drawn, fresh_rows

_SHARES: Final = (0.3, 0.8)
"""Within which a renewed filter is shorter than the one that it is split from."""


@final
@dataclass(frozen=True, kw_only=True)
class Split(Draw):
    """Split the strongest filters: the renewed one is a shorter copy, and the two share what they are read by.

        w_d  <-  delta * w_o,     b_d  <-  delta * b_o,     delta ~ Uniform(0.3, 0.8)
        v_d  <-  v_o * p_d / delta,     v_o  <-  v_o * p_o,     (p_o, p_d) = softmax of Normal(0, 1), output by output

    o the strongest filter that stays (length of its weights and bias times that of its readers' slices), the next one
    for a second marked filter, and so on; v what the readers multiply a filter by. Where the marked filter gave
    nothing, the network's output stays what it was, to rounding; and as the shares differ from output to output, the
    two are not each other's copies for ever. The bias, the readers' slices and their optimizer state are a part of it.

    Edge cases:
        Only where everything between the filters and their readers is positively homogeneous (ReLU, pooling): other
        layers are refused, and so are grouped ones, those with a norm, and those whose channels are others' too. What
        counts as strong are the weights: a filter that stays and is silent may be the one. No filter that stays: fresh
        ones, and the readers' slices 0. In a companion the living filter is split by the
        companion's own weights, the renewed one is the model's.

    Source:
        Qin et al., "The Dormant Neuron Phenomenon in Multi-Agent Reinforcement Learning Value Factorization"
        (ReBorn), NeurIPS 2024. Differs: only the strongest give, each to as few as possible.
    """

    gives_bias = True  # the donor's, shortened
    # What lies between the layers: the function is kept behind a ReLU alone.
    needs = frozenset({Need.HOMOGENEOUS})
    writes_readers = True  # the shares

    def check(self, layer: Layer) -> None:
        """Refuse, by a ConfigError, layers whose function would not be kept."""
        why = _unfit(layer.filters) or layer.obstacle
        if why:
            raise ConfigError(
                f"draw=Split() keeps the function only of a layer of plain filters that a ReLU follows, and "
                f"'{layer.filters.path}' has {why}"
            )

    def draw(self, layer: Layer, mask: Mask, *, params: Tensors, key: Key) -> Drawn:
        """Shorter copies, and the readers' shares: rows, biases, and two edits a reader."""
        self.check(layer)
        filters = layer.filters
        present = rows(params[filters.weight].detach(), filters)
        bias = None if filters.bias is None else params[filters.bias].detach()
        donors = _donors(filters, mask, present, bias, params)
        if not donors:
            return Drawn(
                rows=fresh_rows(layer, mask, params=params, key=key),
                bias=None if bias is None else torch.zeros_like(bias),
                around=tuple(_silence(reader, mask, params) for reader in filters.readers),
            )
        wanted = torch.tensor(list(donors), device="cpu")
        low, high = _SHARES
        drawn = uniform_rows(replace(key, purpose="split"), filters=wanted, count=1)[:, 0]
        shares = dict(zip(donors, (low + (high - low) * drawn).tolist(), strict=True))
        new, shift = present.clone(), None if bias is None else bias.clone()
        for marked, donor in donors.items():
            new[marked] = shares[marked] * present[donor]
            if shift is not None and bias is not None:
                shift[marked] = shares[marked] * bias[donor]
        around = [
            edit
            for reader in filters.readers
            for edit in _share_out(reader, mask, donors, shares, params=params, key=key)
        ]
        return Drawn(rows=new, bias=shift, around=tuple(around))


def _unfit(filters: Filters) -> str:
    """What of a layer's surroundings stands against it."""
    found = {
        "groups": filters.groups > 1 or any(reader.groups > 1 for reader in filters.readers),
        "a norm behind it": bool(filters.norms or filters.shared_norms),
        "readers that are not all known": bool(filters.refused) or not filters.readers,
        "a reader that standardises": any(reader.standardised for reader in filters.readers),
        "channels that are others' too": bool(filters.coupled or filters.multiplied)
        or not all(flag for each in filters.readers for flags in each.alone for flag in flags),
        "filters that are read by different numbers of channels": any(
            len({len(channels) for channels in each.channels}) > 1 for each in filters.readers
        ),
    }
    return next((why for why, so in found.items() if so), "")


def _by_input(reader: Reader, weight: Tensor) -> Tensor:
    """A reader's weight as (inputs, outputs, *kernel), in the same memory."""
    return weight if reader.inputs_first else weight.transpose(0, 1)


def _donors(
    filters: Filters, mask: Mask, present: Tensor, bias: Tensor | None, params: Tensors
) -> dict[int, int]:
    """For each marked filter the one that is split for it."""
    own = present.double().square().sum(1)
    if bias is not None:
        own = own + bias.double().square()
    heard = torch.zeros_like(own)
    for reader in filters.readers:
        squares = (
            _by_input(reader, params[reader.weight].detach()).double().square().flatten(1).sum(1)
        )
        channels = torch.tensor(reader.channels, device=squares.device)
        heard = heard + squares[channels].sum(1).to(heard.device)
    strength = (own * heard).masked_fill(mask, 0.0)
    strength = strength.masked_fill(~strength.isfinite(), 0.0)
    living = int((strength > 0).sum())
    if not living:
        return {}
    order: list[int] = strength.argsort(descending=True, stable=True)[:living].tolist()
    marked: list[int] = mask.nonzero()[:, 0].tolist()
    return {each: order[place % living] for place, each in enumerate(marked)}


def _share_out(
    reader: Reader,
    mask: Mask,
    donors: Mapping[int, int],
    shares: Mapping[int, float],
    *,
    params: Tensors,
    key: Key,
) -> list[Edit]:
    """What a reader multiplies donors and renewed filters by."""
    weight = params[reader.weight].detach()
    old = _by_input(reader, weight).double()
    new = old.clone()
    own_key = replace(key, purpose=f"split for {reader.path}")
    for donor in sorted(set(donors.values())):
        together = [donor, *(each for each, other in donors.items() if other == donor)]
        noise = normal_rows(
            own_key, filters=torch.tensor(together, device="cpu"), count=old.shape[1]
        )
        parts = torch.softmax(noise, 0).to(old.device)
        given = old[list(reader.channels[donor])]
        wide = (1, -1, *[1] * (old.ndim - 2))
        for each, part in zip(together, parts, strict=True):
            scale = 1.0 if each == donor else shares[each]
            new[list(reader.channels[each])] = given * part.reshape(wide) / scale
    value = _by_input(reader, new).to(weight.dtype)
    return [
        Edit(name=reader.weight, mask=_mask(reader, mask, weight), value=value),
        Edit(
            name=reader.weight,
            mask=_mask(reader, _marks(list(donors.values()), mask), weight),
            value=value,
            fresh=False,
        ),
    ]


def _silence(reader: Reader, mask: Mask, params: Tensors) -> Edit:
    return Edit(name=reader.weight, mask=_mask(reader, mask, params[reader.weight]), value=0.0)


def _mask(reader: Reader, mask: Mask, weight: Tensor) -> Tensor:
    return reader_mask(reader, mask, tuple(weight.shape), only_alone=True)


def _marks(filters: Sequence[int], like: Mask) -> Mask:
    marks = torch.zeros_like(like)
    marks[list(filters)] = True
    return marks
