"""What a study has cost in training, and what its trials would have cost one by one."""

from __future__ import annotations

from dataclasses import dataclass

from regrow.report.wording import count
from regrow.study.results import Results


@dataclass(frozen=True, kw_only=True)
class Effort:
    """Epochs of single networks."""

    trained: int  # those that were trained; what trials have in common counts once
    # Those of all trials. Trials of a grid that are the same trial, such as plain training where the grid varies
    # another arm, count once.
    in_trials: int
    engine: str  # what made the steps

    @property
    def told(self) -> str:
        """The same in words."""
        trained = f"engine {self.engine}, {count(self.trained, 'network-epoch')} trained"
        if self.trained >= self.in_trials:
            return trained
        share = self.trained / self.in_trials
        return f"{trained} for trials of {self.in_trials} in all ({share:.2f} of one by one)"


def effort(results: Results) -> Effort | None:
    """Add a study's epochs up; None for results from before they were counted."""
    if results.trained is None:
        return None
    epochs: dict[tuple[object, ...], int] = {}
    for trial in results.trials:
        arm = results.study.by_cell[trial.cell][trial.arm]
        epochs[trial.arm, arm.identity, trial.seed] = (trial.epochs or 0) * arm.networks
    return Effort(trained=results.trained, in_trials=sum(epochs.values()), engine=results.engine)
