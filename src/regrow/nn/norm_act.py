"""What a conversion leaves where two modules became one, or one became two."""

from __future__ import annotations

from torch import Tensor, nn


class FusedReLU(nn.Identity):
    """A place whose ReLU is now part of the layer in front of it: gives what it takes.

    It stays, so that no module path changes, and it knows what a conversion back has to put here.
    """

    def __init__(self, norm: nn.Module, *, inplace: bool) -> None:
        super().__init__()
        self._norm = (norm,)  # in a tuple: a module as an attribute would become a submodule
        self.inplace = inplace

    @property
    def norm(self) -> nn.Module:
        """The layer that has the ReLU now."""
        return self._norm[0]

    def extra_repr(self) -> str:
        """The class of the layer that has the ReLU."""
        return f"in the {type(self.norm).__name__} before it"


class NormAct(nn.Module):
    """A norm layer, its dropping and its activation, as one module: what timm's ``BatchNormAct2d`` and kin become.

        act(drop(norm(x)))

    Networks of timm reach for `drop` and `act`; the class that was here is kept as `original`, for a conversion back.
    """

    def __init__(
        self, norm: nn.Module, *, drop: nn.Module, act: nn.Module, original: type[nn.Module]
    ) -> None:
        super().__init__()
        self.norm, self.drop, self.act = norm, drop, act
        self.original = original

    def forward(self, x: Tensor) -> Tensor:
        """Apply the three, one after the other."""
        return self.act(self.drop(self.norm(x)))
