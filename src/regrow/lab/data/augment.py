"""Augmentation of training images: random crops and mirrors."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

PADDING: Final = 4
"""Pixels of zeros around an image before it is cropped, as is usual on CIFAR."""


def crop_flip(images: Tensor, generator: torch.Generator, *, padding: int = PADDING) -> Tensor:
    """Shift every image by up to so many pixels, and mirror every second one, at random.

    What comes in from outside is 0, the mean under ``scale="standard"``.

    Source:
        He et al., "Deep Residual Learning", CVPR 2016, Section 4.2: 4 pixels of padding, a random crop of the padded
        image or of its mirror image.
    """
    count, channels, height, width = images.shape
    down, right = torch.randint(
        0, 2 * padding + 1, (2, count, 1), generator=generator, device="cpu"
    )
    mirrored = torch.randint(0, 2, (count, 1), generator=generator, dtype=torch.bool, device="cpu")
    rows = torch.arange(height, device="cpu") + down
    columns = torch.arange(width, device="cpu")
    columns = torch.where(mirrored, columns.flip(0), columns) + right
    rows, columns = rows.to(images.device), columns.to(images.device)
    padded = F.pad(images, (padding, padding, padding, padding))
    picked = padded.gather(2, rows[:, None, :, None].expand(-1, channels, -1, padded.shape[3]))
    return picked.gather(3, columns[:, None, None, :].expand(-1, channels, height, -1))
