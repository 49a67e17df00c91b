"""`bits`: what a network must know of a stream that makes its own examples: how many inputs, and one output."""

from __future__ import annotations

import hashlib

from pydantic import Field

from regrow.lab.data.dataset import Dataset
from regrow.lab.settings import Settings

_SHOWN = 256
"""Examples: networks are traced with them, and gains may be set by them; nothing is trained on them."""


class BitsSettings(Settings):
    """Settings of `bits`."""

    # Inputs of an example: what the study's ``stream.bits`` says.
    bits: int = Field(default=20, ge=1)


def made_bits(settings: BitsSettings) -> Dataset:
    """A few examples of random bits, always the same, whose targets are numbers: 0. Trained on is what streams make."""
    import torch  # noqa: PLC0415 # a study file is checked before torch is loaded

    numbers = torch.Generator("cpu").manual_seed(0)
    shape = (_SHOWN, 1, 1, settings.bits)
    images = torch.randint(2, shape, generator=numbers, device="cpu").float()
    targets = torch.zeros(_SHOWN, device="cpu")
    return Dataset(
        name="bits",
        x_train=images,
        y_train=targets,
        x_test=images,
        y_test=targets,
        classes=("number",),
        meta={
            "source": "made by the stream",
            "split": "none: each example is met once",
            "scale": "none",
            "counts": {},
            "sha256": hashlib.sha256(f"bits {settings.bits}".encode()).hexdigest(),
        },
    )
