"""Filters as images: numbers to a PNG, by hand, since a page of a few filters needs no drawing package."""

from __future__ import annotations

import base64
import math
import struct
import zlib
from collections.abc import Sequence
from typing import Final

Channel = Sequence[Sequence[float]]  # rows of numbers

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_GREY, _COLOUR = 0, 2


def filter_image(channels: Sequence[Channel]) -> str:
    """One filter as a data URI, 0 middle grey: three channels in colour, of fewer the first in grey."""
    finite = [abs(x) for channel in channels for row in channel for x in row if math.isfinite(x)]
    largest = max(finite, default=0.0) or 1.0
    shown = channels if len(channels) == 3 else channels[:1]
    rows = [
        bytes(
            _grey(channel[row][column] / largest)
            for column in range(len(shown[0][row]))
            for channel in shown
        )
        for row in range(len(shown[0]))
    ]
    return (
        f"data:image/png;base64,{base64.b64encode(_png(rows, colours=len(shown))).decode('ascii')}"
    )


def _grey(share: float) -> int:
    return 128 if not math.isfinite(share) else round(127.5 + 127.5 * share)


def _png(rows: Sequence[bytes], *, colours: int) -> bytes:
    width, height = len(rows[0]) // colours, len(rows)
    kind = _COLOUR if colours == 3 else _GREY
    head = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    data = zlib.compress(b"".join(b"\x00" + row for row in rows))
    return _SIGNATURE + _chunk(b"IHDR", head) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
