"""Layers and widths that a step does not run, and experts that are not asked."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear

from harm.parts import (
    CLASSES,
    SIZE,
    Chance,
    mlp,
    vectors,
)
from harm.registry import (
    Heard,
    Kill,
    Place,
    Situation,
    Turn,
    adam,
    situation,
)

WIDTH = 10
BODY_PLACES = {"0": "1", "2.body.0": "2.body.1", "2.body.2": "2.body.2"}


class _LayerDrop(Chance):
    """A block that Python steps over in half of the passes: its layers are not called then."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        """The sum, or x alone."""
        if self.training and torch.rand(()).item() < 0.5:
            return x
        return x + self.body(x)


def _with_kept_zeros(turn: Turn) -> None:
    """Gradients are set to 0 and not to None: layers that did not run have some of 0."""
    turn.optimizer.zero_grad(set_to_none=False)
    cross_entropy(turn.model(turn.x), turn.y).backward()


@situation
def layer_drop() -> Situation:
    """A branch in Python leaves a block out in half of the steps."""

    def build() -> nn.Module:
        block = _LayerDrop(mlp(WIDTH, 16, WIDTH))
        return nn.Sequential(nn.Linear(SIZE, WIDTH), nn.ReLU(), block, nn.Linear(WIDTH, CLASSES))

    return Situation(
        build=build,
        data=vectors,
        places=BODY_PLACES,
        turn=_with_kept_zeros,
        batch=64,
        kills=(
            Kill(layer="0", unit=4, step=3),
            # Five passes of 64 are needed, and half of the steps have none.
            Kill(layer="2.body.0", unit=6, limit=20),
        ),
        patience=20,
        steps=60,
    )


class _Slim(nn.Module):
    """A network that runs at several widths: the first units of every layer."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(SIZE, width), nn.Linear(width, width)
        self.head = nn.Linear(width, CLASSES)
        self.width = width

    def hidden(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the two layers give at this width."""
        w = self.width
        first = linear(x, self.first.weight[:w], self.first.bias[:w]).relu()
        return first, linear(first, self.second.weight[:w, :w], self.second.bias[:w]).relu()

    def forward(self, x: Tensor) -> Tensor:
        """The answers at this width."""
        return linear(self.hidden(x)[1], self.head.weight[:, : self.width], self.head.bias)


def _at_some_width(turn: Turn) -> None:
    turn.model.width = (4, 8, 16)[turn.step % 3]
    turn.optimizer.zero_grad()
    cross_entropy(turn.model(turn.x), turn.y).backward()


def _at_full_width(model: nn.Module, x: Tensor) -> Heard:
    model.width = 16
    first, second = model.hidden(x)
    return {"first": [first], "second": [second]}


@situation
def slimmable_widths() -> Situation:
    """A slimmable network trains at a quarter, half and full width in turn: weights are slices."""
    return Situation(
        build=_Slim,
        data=vectors,
        heard=_at_full_width,
        turn=_at_some_width,
        steps=56,
        # One pass in three has the traced width: the others are not judged.
        kills=(
            Kill(layer="first", unit=1, limit=30),
            Kill(layer="second", unit=2, step=9, limit=30),
        ),
    )


class _Towers(nn.Module):
    """A trunk, and a tower for each of two tasks."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(SIZE, WIDTH), nn.ReLU())
        self.towers = nn.ModuleList(mlp(WIDTH, 8, CLASSES) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """(N, 2, classes)."""
        h = self.trunk(x)
        return torch.stack([tower(h) for tower in self.towers], 1)


def _one_task(turn: Turn) -> None:
    turn.optimizer.zero_grad()
    task = turn.step // 8 % 2
    cross_entropy(turn.model(turn.x)[:, task], (turn.y + task) % CLASSES).backward()


@situation
def two_tasks_in_turn() -> Situation:
    """Two tasks have eight steps each in turn: the other one's tower runs, and nothing comes back to it."""
    return Situation(
        build=_Towers,
        data=vectors,
        places={"trunk.0": "trunk.1", **{f"towers.{n}.0": f"towers.{n}.1" for n in (0, 1)}},
        turn=_one_task,
        kills=(Kill(layer="towers.1.0", unit=3), Kill(layer="trunk.0", unit=2, step=12)),
    )


class _Experts(nn.Module):
    """Each example goes to one of four experts; the last one is never asked."""

    def __init__(self, *, call_empty: bool) -> None:
        super().__init__()
        self.trunk, self.router = nn.Linear(SIZE, WIDTH), nn.Linear(WIDTH, 4)
        self.experts = nn.ModuleList(mlp(WIDTH, 8, WIDTH) for _ in range(4))
        self.head = nn.Linear(WIDTH, CLASSES)
        self.call_empty = call_empty
        self.register_buffer("handicap", torch.tensor([0.0, 0.0, 0.0, -1e4]))

    def forward(self, x: Tensor) -> Tensor:
        """Route, ask, sum up."""
        h = self.trunk(x).relu()
        shares = (self.router(h) + self.handicap).softmax(1)
        chosen, out = shares.argmax(1), h
        for n, expert in enumerate(self.experts):
            mine = (chosen == n).nonzero()[:, 0]
            if len(mine) or self.call_empty:
                out = out.index_add(0, mine, shares[mine, n : n + 1] * expert(h[mine]))
        return self.head(out)


NEVER = 10**6
"""An expert may get so few tokens that its window never ends."""
EXPERT_PLACES: dict[str, str | Place] = {
    "trunk": Place(module="trunk", then=torch.relu),
    "router": "router",
    **{
        f"experts.{n}.{layer}": f"experts.{n}.{at}"
        for n in range(4)
        for layer, at in ((0, 1), (2, 2))
    },
}


@situation
def experts_not_called() -> Situation:
    """A mixture of experts: one that gets no token is not called."""
    return Situation(
        build=partial(_Experts, call_empty=False),
        data=vectors,
        places=EXPERT_PLACES,
        optimizer=adam,
        kills=(Kill(layer="trunk", unit=3, step=4, judged=False),),
        patience=NEVER,
    )


@situation
def experts_called_empty() -> Situation:
    """A mixture of experts: one that gets no token is called with none."""
    return Situation(
        build=partial(_Experts, call_empty=True),
        data=vectors,
        places=EXPERT_PLACES,
        optimizer=adam,
        # The third expert gets a third of the tokens and more, so that its window is three times as long at most.
        kills=(Kill(layer="trunk", unit=8), Kill(layer="experts.2.0", unit=2, limit=30)),
        patience=NEVER,
        steps=70,
    )


class _OnlyJudged(nn.Module):
    """A branch that runs in evaluation mode alone."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.judged = nn.Linear(SIZE, WIDTH), mlp(WIDTH, 8, WIDTH)
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """With the branch where nobody trains."""
        h = self.first(x).relu()
        return self.head(h if self.training else h + self.judged(h))


@situation
def branch_in_evaluation_only() -> Situation:
    """A branch that training never runs."""
    return Situation(
        build=_OnlyJudged,
        data=vectors,
        places={
            "first": Place(module="first", then=torch.relu),
            "judged.0": "judged.1",
            "judged.2": "judged.2",
        },
        kills=(Kill(layer="first", unit=0),),
    )
