"""Who uses each of the model's tensors while it runs: what has a second user is not one layer's to write."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple


class User(NamedTuple):
    """What one tensor of the model is good for, once."""

    # The layer or the norm that it is the weight, the bias or an entry of, by path; "" = of none, where an
    # operation of another kind takes it.
    owner: str
    # Path of the module that was running; for another operation the operation too, in words.
    place: str


Users = dict[str, dict[User, None]]
"""By tensor name, in the order met."""

THE_MODEL = "the model's own forward"


def with_several(
    users: Mapping[str, Iterable[User]], overlaps: Mapping[str, Sequence[str]]
) -> dict[str, tuple[str, ...]]:
    """By name the tensors that more than one uses, with those of which the memory overlaps, and in words who does."""
    # A layer that is called many times is one user, wherever its results go. A weight that works in two modules, or in
    # a module and in the forward around it, has two.
    found: dict[str, tuple[str, ...]] = {}
    for name in dict.fromkeys((*users, *overlaps)):
        all_of_it = dict.fromkeys(
            each for other in overlaps.get(name, (name,)) for each in users.get(other, ())
        )
        if len(all_of_it) > 1:
            found[name] = _told(list(all_of_it))
    return found


def others(users: Iterable[str], path: str) -> str:
    """Those that use a tensor, without the one that it is looked at for, as a part of a sentence."""
    *before, last = [each for each in users if each != path] or [path]
    return f"{', '.join(before)} and {last}" if before else last


def _told(users: Sequence[User]) -> tuple[str, ...]:
    """Each by what it is, or where it works if one thing works in several places."""
    owners = [each.owner for each in users]
    return tuple(
        dict.fromkeys(
            each.owner
            if each.owner and (owners.count(each.owner) == 1 or each.place == each.owner)
            else each.place or THE_MODEL
            for each in users
        )
    )
