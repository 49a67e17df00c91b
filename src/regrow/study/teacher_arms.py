"""Who teaches whom in a study: teachers checked, files hashed, and the order in which the arms run."""

from __future__ import annotations

from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter

from regrow.errors import ConfigError, UnknownNameError
from regrow.study.document import Arm, Distillation, Study
from regrow.study.folder import sha256_of


def taught(study: Study, label: str, arm: Arm, *, where: str) -> Arm:
    """Check the teachers of an arm, hash their files, and write its distillation out."""
    if not arm.teachers:
        for key, given in (
            ("distillation", arm.distillation),
            ("teacher_digests", arm.teacher_digests),
        ):
            if given:
                raise ConfigError(f"{where}.{key}: needs teachers, and the arm has none")
        return arm
    digests: dict[str, str] = {}
    for teacher in arm.teachers:
        if arm.teachers.count(teacher) > 1:
            raise ConfigError(f"{where}.teachers: '{teacher}' is there twice")
        if teacher == label:
            raise ConfigError(f"{where}.teachers: an arm cannot teach itself, got '{teacher}'")
        if teacher.endswith(".pt"):
            digests[teacher] = _digest(teacher, arm.teacher_digests.get(teacher), where=where)
        elif teacher not in study.arms:
            others = [other for other in study.arms if other != label]
            raise UnknownNameError(
                "teacher", teacher, [*others, "PATH.pt"], where=f"{where}.teachers"
            )
    strange = [path for path in arm.teacher_digests if path not in digests]
    if strange:
        raise UnknownNameError(
            "file among the teachers", strange[0], digests, where=f"{where}.teacher_digests"
        )
    asked = arm.distillation or Distillation()
    return arm.model_copy(update={"teacher_digests": digests, "distillation": asked})


def in_order(arms: Mapping[str, Arm], *, where: str) -> list[str]:
    """The arms in an order in which each comes after what it replays and what teaches it.

    Returns:
        Labels: those that wait for nothing first, then those that wait for them; else as they were written.
    """
    sorter = TopologicalSorter(
        {
            label: {other for other in (arm.like, *arm.teachers) if other in arms}
            for label, arm in arms.items()
        }
    )
    try:
        sorter.prepare()
    except CycleError as error:
        raise ConfigError(
            f"{where}: arms: an arm runs after its teachers and after the arm that it replays, and "
            f"{' -> '.join(error.args[1])} is a circle"
        ) from error
    found: list[str] = []
    while sorter.is_active():
        ready = sorter.get_ready()
        found += [label for label in arms if label in ready]
        sorter.done(*ready)
    return found


def _digest(path: str, told: str | None, *, where: str) -> str:
    """A file's hash: part of what determines the results, and the same to the study's end."""
    try:
        found = sha256_of(path)
    except ConfigError as error:
        raise ConfigError(f"{where}.teachers: {error}") from error
    if told not in {None, found}:
        raise ConfigError(f"{where}.teacher_digests: {path} must have {told}, got {found}")
    return found
