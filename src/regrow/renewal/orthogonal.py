"""Orthogonal: new filters that point where neither the old ones nor the survivors do (RePr)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, final

import torch
from torch import Tensor

from regrow._checks import check_choice
from regrow._shapes import Mask
from regrow.errors import ConfigError
from regrow.functional.orthogonal import avoiding_directions
from regrow.graph.slices import rows, unrows
from regrow.renewal.base import Activity, Edit, Layer
from regrow.renewal.redraw import Redraw


@final
@dataclass(frozen=True, kw_only=True)
class Orthogonal(Redraw):
    """Give a filter a direction that no filter of its layer has, its own old one included.

    Args:
        scale: Length of a new filter: the ``survivors``' mean, or what the layer's ``initialiser`` drew for it.
        bias: As in `Redraw`.
        norm: As in `Redraw`.
        readers: As in `Redraw`.
        preserve: As in `Redraw`.
        draw: None: it is the directions that are drawn here.

    Raises:
        ConfigError: A setting that is not one of those, or another draw.

    Edge cases:
        A layer with as many filters as numbers in a filter, or more, leaves no such direction: those that its filters
        use least are taken, and then the initialiser's. Survivors of length 0 or not finite do not count; without
        any: the initialiser's length. In a grouped layer only filters of the same group are avoided: the others read
        other inputs.

    Source:
        Prakash et al., "RePr", CVPR 2019, Section 3, step 4.
    """

    scale: Literal["survivors", "initialiser"] = "survivors"

    def __post_init__(self) -> None:
        """Check the settings."""
        check_choice(self.scale, ("survivors", "initialiser"), name="scale", where="orthogonal")
        super().__post_init__()
        if self.draw is not None:
            raise ConfigError(
                f"an orthogonal direction is a draw of its own, and leaves no room for draw={self.draw} (orthogonal)"
            )

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
        """New directions, and the edits around them.

        Args:
            layer: Where the filters live and what the noise is drawn from.
            mask: (O,), True = renew.
            params: Parameters and buffers by name; the marked filters hold their old values.
            seed: Part of the random numbers' key.
            step: Part of the random numbers' key.
            activity: What the readers receive; needed with `preserve`.

        Returns:
            One edit a tensor, in the order weight, bias, norms, readers.
        """
        drawn, *around = super().edits(
            layer, mask, params=params, seed=seed, step=step, activity=activity
        )
        filters = layer.filters
        present = rows(params[filters.weight].detach(), filters)
        noise = rows(torch.as_tensor(drawn.value, device=present.device), filters)
        directions = torch.zeros_like(present)
        width = filters.count // filters.groups
        for first in range(0, filters.count, width):  # filters of other groups read other inputs
            group = slice(first, first + width)
            chosen = mask[group]
            if bool(chosen.any()):
                directions[group][chosen] = avoiding_directions(
                    present[group], noise[group][chosen]
                )
        fresh = torch.zeros_like(present)
        fresh[mask] = directions[mask] * self._lengths(present[~mask], noise[mask])
        return [replace(drawn, value=unrows(fresh, filters)), *around]

    def _lengths(self, survivors: Tensor, noise: Tensor) -> Tensor:
        lengths = torch.linalg.vector_norm(survivors, dim=-1)
        living = lengths[(lengths > 0) & lengths.isfinite()]
        if self.scale == "survivors" and len(living):
            return living.mean()
        return torch.linalg.vector_norm(noise, dim=-1, keepdim=True)
