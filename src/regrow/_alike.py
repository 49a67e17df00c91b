"""The text of a value, the same in every process for values that are equal: ranks compare their settings by it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Final, cast

_ADDRESS: Final = re.compile(r" at 0x[0-9a-f]+")


def text_of(value: object) -> str:
    """A value as it prints, without addresses in memory, and with sets in order: each process walks them in its own.

    Args:
        value: Settings: dataclasses, containers, numbers, texts, functions.

    Returns:
        The text.

    Examples:
        >>> text_of({"keep": frozenset({"b", "a"}), "at": (1, 2.5)})
        "{'keep': {'a', 'b'}, 'at': (1, 2.5)}"
    """
    if isinstance(value, (set, frozenset)):
        return f"{{{', '.join(sorted(map(text_of, cast('Iterable[object]', value))))}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(text_of, cast('list[object]', value)))}]"
    if isinstance(value, tuple):
        return f"({', '.join(map(text_of, cast('tuple[object, ...]', value)))})"
    if isinstance(value, Mapping):
        items = cast("Mapping[object, object]", value).items()
        return f"{{{', '.join(f'{text_of(key)}: {text_of(each)}' for key, each in items)}}}"
    if is_dataclass(value) and not isinstance(value, type):
        inside = (f"{each.name}={text_of(getattr(value, each.name))}" for each in fields(value))
        return f"{type(value).__qualname__}({', '.join(inside)})"
    return _ADDRESS.sub("", repr(value))
