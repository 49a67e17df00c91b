"""What is kept of a trial over a stream, task by task."""

from __future__ import annotations

from regrow.study.tables import table


@table("tasks", key="task", later=True)
class TaskRecord:
    """One task of a stream, when it has ended; None where a number is not finite."""

    task: int  # 1-based
    # Share of right predictions in the task, each made before the update that its batch led to; None where numbers
    # are learnt, as are all accuracies there.
    online_accuracy: float | None
    online_loss: float | None  # mean loss of the same
    accuracy: float | None  # share on the task's test images when it ends
    loss: float | None  # mean loss there


@table("health", key="task layer", later=True)
class HealthRecord:
    """The units of one layer at the end of a task; None where they cannot be heard apart."""

    task: int  # 1-based
    layer: str  # module path
    dead: float | None  # share of the units that give 0 on all images looked at
    dormant: float | None  # share that give at most a tenth of the mean of the layer
    weight_norm: float | None  # length of the layer's weights, sqrt(sum of w^2); None if not finite
    # How many directions what the units give has, exp(entropy of the shares of its singular values); None where the
    # study did not ask.
    effective_rank: float | None = None
    # The fewest singular values that make up 99 % of their sum; None as above.
    srank: float | None = None
    # Share of the units that give something on fewer than one image of a hundred, but on some; None as above.
    rare: float | None = None
    # Length of the step that the optimizer would make next, over that of the layer's weights or of fresh ones,
    # whichever is larger; None as above.
    step: float | None = None


@table("probes", key="task", later=True)
class ProbeRecord:
    """What the network can still learn at the end of a task, where the study asked for it."""

    task: int  # 1-based
    # The fresh-probe gap: loss after some steps on shuffled labels, minus that of a fresh network; above 0 where it
    # learns worse. None if not finite.
    gap: float | None
