"""What all modes that watch operations share: how they start, and how they tell tensors' memory apart."""

from __future__ import annotations

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class WatchingMode(TorchDispatchMode):
    """A dispatch mode that looks at eager operations."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Keep torch from wrapping ``__torch_dispatch__``: that would import its compiler, two seconds for nothing."""
        return False


def address(tensor: Tensor) -> int:
    """Which memory a tensor looks at: the same number for all views of it, as long as it lives."""
    return tensor.untyped_storage()._cdata  # pyright: ignore[reportPrivateUsage]
