"""Axis letters and tensor aliases, with one meaning each everywhere.

``S`` any leading axes (networks trained at once, usually none), ``O`` filters of a layer, ``F`` the
numbers of one filter in a row (input channels x kernel positions), ``N`` examples, ``C`` channels.
"""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor

FilterRows = Float[Tensor, "*S O F"]
"""One row a filter: a convolution's weight (O, I, KH, KW) flattened to (O, I*KH*KW)."""

Scores = Float[Tensor, "*S O"]
"""One number a filter; higher always means worth keeping."""

Mask = Bool[Tensor, "*S O"]
"""True = to be renewed."""
