"""The oracle: a renewed unit is a parameter of its own, with a fresh optimizer of torch's, from its renewal on."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from regrow.renewal import Edit
from regrow.surgery import OptimizerSurgeon, apply_edits_
from surgery.rows import Row

SHAPE = (4, 3)
ROW = torch.arange(4)[:, None]
COLUMN = torch.arange(3)[None, :]

RENEWALS: dict[int, Tensor] = {
    7: (ROW == 1) | (ROW == 3),  # filters of this layer
    12: COLUMN == 2,  # what reads another layer's filter, along the other axis
    40: ROW == 1,  # once more
    41: ROW == 3,
    60: (ROW == 3) & (COLUMN == 0),
}
"""After which step which entries are renewed; rows 0 and 2 keep their first two columns."""

NO_GRADIENT = frozenset({9, 13, 61})
NEVER = ~((ROW == 1) | (ROW == 3) | (COLUMN == 2))
STEPS = 180


@functools.cache
def _noise(step: int) -> Tensor:
    generator = torch.Generator().manual_seed(step)
    return torch.randn(SHAPE, dtype=torch.float64, generator=generator)


def gradient(step: int, value: Tensor) -> Tensor:
    """Noise, and a part that depends on the entry's value: an error in one step is felt in the next ones."""
    return _noise(step).to(value.dtype) + 0.5 * value


def first_values(dtype: torch.dtype) -> Tensor:
    generator = torch.Generator().manual_seed(1000)
    return torch.randn(SHAPE, dtype=torch.float64, generator=generator).to(dtype)


def new_values(step: int, dtype: torch.dtype) -> Tensor:
    generator = torch.Generator().manual_seed(2000 + step)
    return torch.randn(SHAPE, dtype=torch.float64, generator=generator).to(dtype)


@dataclass
class Live:
    """A tensor in training, with its optimizer and its surgeon."""

    weight: nn.Parameter
    optimizer: Optimizer
    surgeon: OptimizerSurgeon

    def values(self) -> dict[str, Tensor]:
        return {"value": self.weight.detach().clone(), **memories(self.optimizer, self.weight)}


def memories(optimizer: Optimizer, weight: nn.Parameter) -> dict[str, Tensor]:
    """What the optimizer remembers, one number an entry."""
    state = optimizer.state.get(weight, {})
    return {
        key: value.clone()
        for key, value in state.items()
        if isinstance(value, Tensor) and value.shape == weight.shape
    }


def begin(row: Row, dtype: torch.dtype) -> Live:
    weight = nn.Parameter(first_values(dtype))
    optimizer = row.make([weight])
    return Live(weight, optimizer, OptimizerSurgeon(optimizer, {"w": weight}))


def train(
    live: Live,
    row: Row,
    *,
    renew: bool = True,
    steps: range = range(STEPS),
    each: Callable[[int, Live], Live] = lambda _, live: live,
    late: bool = False,
) -> Live:
    """As a training loop with hooks does it; `late`: as one without, where both calls follow the step."""
    for step in steps:
        row.vary(live.optimizer, step)
        live.weight.grad = None
        if step not in NO_GRADIENT:
            live.weight.grad = gradient(step, live.weight.detach())
        if not late:
            live.surgeon.before_step()
        live.optimizer.step()
        if late:
            live.surgeon.before_step()
        live.surgeon.after_step()
        if renew and step in RENEWALS:
            value = new_values(step, live.weight.dtype)
            edits = [Edit(name="w", mask=RENEWALS[step], value=value)]
            apply_edits_({"w": live.weight}, edits)
            live.surgeon.reset(edits)
        live = each(step, live)
    return live


def oracle(row: Row, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    """All parts train on side by side; of each, the entries count that no later renewal has taken over."""
    value, owner = first_values(dtype), torch.zeros(SHAPE, dtype=torch.int64)
    parts = [nn.Parameter(value)]
    optimizers = [row.make(parts[:1])]

    def whole(of: list[Tensor]) -> Tensor:
        return torch.stack(of).gather(0, owner[None])[0]

    for step in range(STEPS):
        grad = gradient(step, whole([part.detach() for part in parts]))
        for number, (part, optimizer) in enumerate(zip(parts, optimizers, strict=True)):
            if number not in owner:  # later renewals have taken all that was its own
                continue
            row.vary(optimizer, step)
            part.grad = None if step in NO_GRADIENT else grad.clone()
            optimizer.step()
        if step in RENEWALS:
            owner = torch.where(RENEWALS[step], len(parts), owner)
            parts.append(nn.Parameter(new_values(step, dtype)))
            optimizers.append(row.make(parts[-1:]))
    found = [memories(o, p) for o, p in zip(optimizers, parts, strict=True)]
    result = {key: whole([memory[key] for memory in found]) for key in found[0]}
    return {"value": whole([part.detach() for part in parts]), **result}


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Of float32 and float64; unlike equality, it tells 0 from -0 and knows NaN."""
    kind = torch.int64 if one.dtype is torch.float64 else torch.int32
    return torch.equal(one.view(kind), other.view(kind))


def furthest(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> dict[str, float]:
    """The largest difference, in each tensor, relative to its largest entry (values: at least 1)."""
    assert found.keys() == wanted.keys()
    return {
        key: float(
            (found[key].double() - wanted[key].double()).abs().max()
            / wanted[key].double().abs().max().clamp(min=1.0 if key == "value" else 1e-30)
        )
        for key in wanted
    }
