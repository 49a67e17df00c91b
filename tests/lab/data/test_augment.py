from __future__ import annotations

import torch

from regrow.lab.data.augment import crop_flip


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_every_image_is_one_of_the_crops_and_mirrors() -> None:
    images = torch.rand(40, 2, 5, 6) + 1.0
    given = crop_flip(images, generator(), padding=2)
    seen: set[tuple[int, int, bool]] = set()
    for image, came in zip(images, given, strict=True):
        padded = torch.nn.functional.pad(image, (2, 2, 2, 2))
        found = [
            (down, right, flip)
            for down in range(5)
            for right in range(5)
            for flip, crop in (
                (False, padded[:, down : down + 5, right : right + 6]),
                (True, padded[:, down : down + 5, right : right + 6].flip(2)),
            )
            if torch.equal(came, crop)
        ]
        assert len(found) == 1
        seen.add(found[0])
    assert len(seen) > 20
    assert {flip for _, _, flip in seen} == {False, True}


def test_the_generator_decides_and_the_images_stay() -> None:
    images = torch.rand(8, 3, 8, 8)
    before = images.clone()
    assert torch.equal(crop_flip(images, generator(1)), crop_flip(images, generator(1)))
    assert not torch.equal(crop_flip(images, generator(1)), crop_flip(images, generator(2)))
    assert torch.equal(images, before)


def test_without_padding_images_are_mirrored_at_most() -> None:
    images = torch.rand(16, 1, 4, 4)
    given = crop_flip(images, generator(), padding=0)
    kinds = {
        bool(torch.equal(came, image)) or not torch.equal(came, image.flip(2))
        for image, came in zip(images, given, strict=True)
    }
    assert all(
        torch.equal(came, image) or torch.equal(came, image.flip(2))
        for image, came in zip(images, given, strict=True)
    )
    assert kinds == {True, False}
