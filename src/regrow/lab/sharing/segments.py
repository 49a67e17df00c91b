"""What is to be trained: runs of one trial or of several, from the start or from where a file has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from regrow.lab.checkpoint import Held
from regrow.lab.sharing.families import families
from regrow.lab.sharing.texts import Texts
from regrow.study.trials import TrialSpec

MANY: Final = 1_000_000
"""As many as anybody asks for."""


@dataclass(frozen=True, kw_only=True)
class Segment:
    """Trials that are one run as far as anybody knows: what a worker is given.

    Attributes:
        specs: The trials. The first gives the run's checkpoint its name.
        beside: How many runs may be trained side by side where this is one of them; fewer after each failure.
    """

    specs: tuple[TrialSpec, ...]
    beside: int = MANY

    @property
    def name(self) -> str:
        """The name of the first trial."""
        return self.specs[0].trial

    @property
    def after(self) -> tuple[str, ...]:
        """The trials that must have ended before this can begin: only trials that are alone have any."""
        return self.specs[0].after


def segments(
    specs: Sequence[TrialSpec], held: Mapping[str, Held], *, sharing: bool = True
) -> list[Segment]:
    """Put together what belongs together, and find the file from which each trial can go on.

    Each file of a stopped study has the state of all trials that it names, at its time. A trial goes on from the file
    that bears its name, or else from the one that is furthest. Trials that go on from one file are one run; so are
    those of a family that no file has.

    Args:
        specs: The trials that have not ended.
        held: What the checkpoints are of, by the trial that each is named after.
        sharing: Train what trials have in common once.

    Returns:
        The runs, in the order of their first trials.
    """
    if not sharing:
        return [Segment(specs=(spec,)) for spec in specs]
    found: list[Segment] = []
    for members in families(specs):
        names = {spec.trial for spec in members}
        files = {name: held[name] for name in names if name in held}
        # Trials that a killed study had in two files have come to differ there, or may have: they are not joined again.
        by_file: dict[str | None, list[TrialSpec]] = {}
        for spec in members:
            by_file.setdefault(_furthest(spec.trial, files), []).append(spec)
        for file, several in by_file.items():
            # The file is the first one's: its name is that of the run.
            ordered = sorted(several, key=lambda spec: spec.trial != file)
            found.append(Segment(specs=tuple(ordered)))
    place = {spec.trial: number for number, spec in enumerate(specs)}
    return sorted(found, key=lambda segment: min(place[spec.trial] for spec in segment.specs))


def _furthest(trial: str, files: Mapping[str, Held]) -> str | None:
    if trial in files:
        # Its own file, even if another is further: it is what the trial's own run wrote last.
        return trial
    having = [name for name, file in files.items() if trial in file.members]
    return max(having, key=lambda name: files[name].epoch, default=None)


class Kinds:
    """Tells which runs can be trained side by side in one stack."""

    def __init__(self) -> None:
        self._texts = Texts(without={"lr"})

    def of(self, segment: Segment) -> str:
        """What runs must have in common: data, model and training but for the learning rate.

        Args:
            segment: A run.

        Returns:
            A text that is equal where that is; empty for a run that is alone.
        """
        spec = segment.specs[0]
        # These train by means that a stack has not: several networks of one trial, another network's answers.
        if spec.partners > 1 or spec.teachers or spec.keeps_weights:
            return ""
        return self._texts.of(spec.data, spec.model, spec.train)
