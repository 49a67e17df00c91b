"""Scions: what is added to a filter's weights instead of drawing them anew (Filter Grafting inside one network)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

from torch import Tensor

from regrow._shapes import FilterRows, Mask
from regrow.draw import Key
from regrow.graph.slices import rows, unrows, weight_mask
from regrow.renewal.base import Activity, Edit, Layer, Renewal


class Scion(Renewal):
    """A renewal that adds something to the marked filters' weights, and touches nothing else.

        W_f  <-  W_f + scion_f     for every marked filter f

    Bias, norm entries and readers stay as they are. The filters of a layer all have one shape, so that grouped and
    transposed layers are no special case.

    Attributes:
        reset_optimizer: The grafted filters count as new: the optimizer forgets them, and a companion takes the model's
            new weights over. False: they live on, the optimizer with its memory of them, and a companion's filters
            get the scion on top of their own weights.
    """

    reset_optimizer: bool

    @abstractmethod
    def scions(self, present: FilterRows, mask: Mask, *, key: Key) -> tuple[FilterRows, Mask]:
        """What is added to the filters of one layer.

        Args:
            present: (O, F), the layer's weights, one row a filter. Read, never written.
            mask: (O,), True = marked.
            key: Seed, step and layer, for random numbers.

        Returns:
            (O, F), of which the marked rows are used; and (O,), the marked filters that are given something.
        """

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
        """The sums, as an edit of the layer's weight; none where nothing is given to any filter."""
        del activity
        filters = layer.filters
        present = rows(params[filters.weight].detach(), filters)
        key = Key(seed=seed, step=step, layer=filters.path, purpose="scion")
        given, where = self.scions(present, mask.to(present.device), key=key)
        if not bool(where.any()):
            return []
        return [
            Edit(
                name=filters.weight,
                mask=weight_mask(filters, where),
                value=unrows(present + given, filters),
                fresh=self.reset_optimizer,
            )
        ]
