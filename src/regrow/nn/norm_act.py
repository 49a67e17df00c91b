"""What a conversion leaves where two modules became one, or one became two."""

from __future__ import annotations

from torch import Tensor, nn


class FusedReLU(nn.Identity):
    """A place whose ReLU is now part of the layer in front of it: gives what it takes.

    It stays, so that no module path changes, and it knows what a conversion back has to put here.

    Args:
        norm: The layer that has the ReLU now. It is remembered, but no submodule of this one.
        inplace: Of the ReLU that was here.
    """

    def __init__(self, norm: nn.Module, *, inplace: bool) -> None:
        super().__init__()
        self._norm = (norm,)  # in a tuple: a module as an attribute would become a submodule
        self.inplace = inplace

    @property
    def norm(self) -> nn.Module:
        """The layer that has the ReLU now."""
        return self._norm[0]

    def restored(self) -> nn.ReLU:
        """The ReLU as it was."""
        return nn.ReLU(inplace=self.inplace)

    def extra_repr(self) -> str:
        """The class of the layer that has the ReLU."""
        return f"in the {type(self.norm).__name__} before it"


class NormAct(nn.Module):
    """A norm layer, its dropping and its activation, as one module: what timm's ``BatchNormAct2d`` and kin become.

        act(drop(norm(x)))

    Args:
        norm: The layer.
        drop: What drops behind it; often an identity.
        act: The activation; often an identity, or a `FusedReLU`.
        original: The class that was here, for a conversion back.

    Attributes:
        norm, drop, act: As above. Networks of timm reach for the last two.
        original: As above.
    """

    def __init__(
        self, norm: nn.Module, *, drop: nn.Module, act: nn.Module, original: type[nn.Module]
    ) -> None:
        super().__init__()
        self.norm, self.drop, self.act = norm, drop, act
        self.original = original

    def forward(self, x: Tensor) -> Tensor:
        """Apply the three, one after the other.

        Args:
            x: What the norm takes.

        Returns:
            The same shape.
        """
        return self.act(self.drop(self.norm(x)))
