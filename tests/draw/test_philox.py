"""Philox against the known answers of its authors' library."""

import pytest
import torch

from regrow.draw.keys import philox4x32

ONES = 0xFFFFFFFF


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((ONES,) * 4, (ONES, ONES), (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_known_answers(
    counter: tuple[int, ...], key: tuple[int, int], expected: tuple[int, ...]
) -> None:
    assert tuple(philox4x32(torch.tensor(counter), key).tolist()) == expected


def test_blocks_are_independent_of_their_company() -> None:
    counters = torch.arange(40).reshape(10, 4)
    together = philox4x32(counters, (3, 4))
    alone = torch.stack([philox4x32(row, (3, 4)) for row in counters])
    assert torch.equal(together, alone)
