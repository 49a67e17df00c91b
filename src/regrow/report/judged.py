"""What the trials of a study are judged by, in words: tables, figures and sentences call it alike."""

from __future__ import annotations

from dataclasses import dataclass

from regrow.study.stream import AnyStream


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What is compared.

    Args:
        accuracy: What it is called within a sentence.
        when: When it is measured.
        told: What that means, where it is not plain; a sentence, or empty.
    """

    accuracy: str = "test accuracy"
    when: str = "after the last epoch"
    told: str = ""

    @property
    def title(self) -> str:
        """What it is called at the head of a sentence or an axis."""
        return self.accuracy.capitalize()

    @property
    def whole(self) -> str:
        """What and when, to begin a sentence with."""
        return f"{self.title} {self.when}"


def judged_by(stream: AnyStream | None) -> Judged:
    """What trials are judged by, of a study with a stream of tasks or without one.

    Examples:
        >>> judged_by(None).whole
        'Test accuracy after the last epoch'
    """
    if stream is None:
        return Judged()
    last, every = stream.judged_tasks, stream.tasks
    tasks = f"the last {last} of {every} tasks" if last > 1 else f"the last of {every} tasks"
    if stream.judged_by == "end":
        return Judged(when=f"at the end of {tasks}")
    return Judged(
        accuracy="online accuracy",
        when=f"in {tasks}",
        told="Online accuracy: the share of right predictions, each made before the update that its batch led to.",
    )
