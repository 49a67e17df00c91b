"""One row for every recipe of several networks: what the contract suite needs to know of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from contract.rows import Wrong
from crossed import seldom
from regrow import FilterGrafting, PartnerRecipe
from regrow.errors import RegrowError


@dataclass(frozen=True, kw_only=True)
class PartnerRow:
    """A partner recipe, and settings with which networks meet at the end of every epoch of five steps."""

    make: Callable[..., PartnerRecipe]
    acts: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    wrong: tuple[Wrong, ...] = ()


PARTNER_RECIPES: dict[str, PartnerRow] = {
    "grafting": PartnerRow(
        make=FilterGrafting,
        # A and c: Section 4.1 of the paper; the bins: the released code.
        defaults={
            "partners": 2,
            "criterion": "entropy",
            "amplitude": 0.4,
            "sharpness": 500.0,
            "bins": 10,
            "mode": "paper",
            "memory": "keep",
            "every_epochs": 1,
        },
        wrong=(
            Wrong(settings={"partners": 1}, match="partners must be a whole number of at least 2"),
            Wrong(settings={"criterion": "l2"}, match="'entropy', 'filter_entropy' or 'l1'"),
            Wrong(settings={"amplitude": 1.5}, match=r"amplitude must be within \[0, 1\], got 1.5"),
            Wrong(settings={"sharpness": 0.0}, match="sharpness must be above 0, got 0.0"),
            Wrong(settings={"bins": 0}, match="bins must be a whole number of at least 1, got 0"),
            Wrong(settings={"unit": "net"}, match="unit must be 'layer' or 'filter', got 'net'"),
            Wrong(settings={"mode": "code"}, match="mode must be 'paper' or 'reference'"),
            Wrong(settings={"memory": "no"}, match="memory must be 'keep', 'graft'"),
            Wrong(settings={"every_epochs": 0}, match="at least 1"),
            Wrong(settings={"partner": 2}, match="did you mean 'partners'", error=RegrowError),
        ),
    ),
}

VARIANTS: dict[str, PartnerRow] = PARTNER_RECIPES | {
    f"grafting {word}": PartnerRow(make=FilterGrafting, acts=settings)
    for word, settings in {
        "as released": {"mode": "reference", "drop_maximum": True, "decimals": 2},
        "by filter": {"unit": "filter"},
        "plain averaging": {"amplitude": 0.0},
        "with memory": {"memory": "graft"},
        "with fresh memory": {"memory": "reset"},
    }.items()
}
"""Every partner recipe, and Filter Grafting with its options."""

EACH = seldom(VARIANTS, often=(*PARTNER_RECIPES, "grafting as released", "grafting by filter"))
"""As parameters: quick are the recipes, and each way in which shares are found."""
