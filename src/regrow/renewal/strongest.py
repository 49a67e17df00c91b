"""AddStrongest: the i-th largest filter of a layer is added to its i-th smallest (Filter Grafting, second source)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Int
from torch import Tensor

from regrow._renamed import renamed
from regrow._shapes import FilterRows, Mask
from regrow.draw import Key
from regrow.renewal.scion import Scion


@final
@renamed({"reset_memory": "reset_optimizer"})
@dataclass(frozen=True, kw_only=True)
class AddStrongest(Scion):
    """Add the layer's i-th largest filter to its i-th smallest, where that one is marked.

        W_(i)  <-  W_(i) + W_(O+1-i),    (1) ... (O) the layer's filters in the order of their l1 norms

    All sums are of the weights as they were before: what one filter is given changes nothing for another.

    Args:
        reset_optimizer: The filter counts as new, for the optimizer and for companions; see `Scion`.

    Edge cases:
        Ties: equal norms are put in the order of their index, and the strongest are read from the end of that same
        order, so that in a layer of equal filters the last is added to the first.
        The middle filter of an odd number, and the only one of a layer, would be added to itself: it stays as it is
        (a report of the renewal still lists it).
        A marked filter above the middle (more than half of the layer is marked) is given a filter that is weaker than
        itself, as the rule has it. Where all weights are zero, so are all sums.
        Filters with a weight that is not finite are left out of the order: they give nothing and are given nothing.
        A companion's filters are put in their own order: with ``reset_optimizer=False`` another partner may come out.

    Source:
        Meng et al., "Filter Grafting for Deep Neural Networks", CVPR 2020, Section 3: the network's own filters as
        scions. https://arxiv.org/abs/2001.05868
    """

    reset_optimizer: bool = False

    def scions(self, present: FilterRows, mask: Mask, *, key: Key) -> tuple[FilterRows, Mask]:
        """The partners' weights, for the marked filters that have one."""
        del key
        other = partners(present)
        alone = other == torch.arange(len(other), device=other.device)
        return present[other], mask & ~alone


def partners(present: FilterRows) -> Int[Tensor, " O"]:
    """For each filter the one at the mirrored place in the order of the l1 norms, (O,).

    Its own for a filter in the middle, or one that is not finite.
    """
    wide = present.to(torch.promote_types(present.dtype, torch.float32))
    norms = wide.abs().sum(-1)
    # What is not finite is sorted to the end.
    order = norms.argsort(stable=True)[: int(norms.isfinite().sum())]
    found = torch.arange(len(norms), device=norms.device)
    found[order] = order.flip(0)
    return found
