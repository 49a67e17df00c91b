"""A recipe is told that another task begins."""

from __future__ import annotations

from regrow.loop import Regrower


def tell_boundary(regrower: Regrower | None) -> None:
    """Tell it, if it is one that has a use for that."""
    boundary = getattr(regrower, "boundary", None)
    if boundary is not None:
        boundary()
