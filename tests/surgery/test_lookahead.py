"""Slow weights beside an optimizer: those of renewed entries begin where the entries do, and do not pull them back."""

import importlib.util
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn, optim
from torch.optim import Optimizer

import regrow
from crossed import seldom
from regrow.errors import ConfigError, OptimizerError
from regrow.renewal import Edit
from regrow.surgery import OptimizerSurgeon, apply_edits_, unwrap_optimizer
from regrow.surgery.optimizers.slow import SLOW
from surgery.split import NEVER, RENEWALS, STEPS, first_values, gradient, new_values, same_bits
from traced import attach_traced

needs_timm = pytest.mark.skipif(
    importlib.util.find_spec("timm") is None, reason="timm is not installed"
)
ALPHA, EVERY = 0.4, 6
Make = Callable[[list[nn.Parameter]], Optimizer]
INNER: dict[str, Make] = {
    "AdamW": lambda p: optim.AdamW(p, lr=0.01, weight_decay=0.1),
    "SGD dampening": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.3),
    "Adagrad": lambda p: optim.Adagrad(p, lr=0.1, initial_accumulator_value=0.3),
    "Rprop": lambda p: optim.Rprop(p, lr=0.01),
}


def _lookahead(inner: Optimizer) -> Any:
    from timm.optim import Lookahead

    return Lookahead(inner, alpha=ALPHA, k=EVERY)


def _live(make: Make, *, renew: bool = True) -> tuple[Tensor, Tensor]:
    """timm's own Lookahead, with renewals between the inner step and the synchronisation, as hooks make them."""
    weight = nn.Parameter(first_values(torch.float64))
    optimizer = _lookahead(make([weight]))
    inner = unwrap_optimizer(optimizer)
    surgeon = OptimizerSurgeon(inner, {"w": weight})
    now = 0

    def after(*_: object) -> None:
        surgeon.after_step()
        if renew and now in RENEWALS:
            edits = [Edit(name="w", mask=RENEWALS[now], value=new_values(now, torch.float64))]
            apply_edits_({"w": weight}, edits)
            surgeon.check(edits)
            surgeon.reset(edits)

    inner.register_step_pre_hook(lambda *_: surgeon.before_step())
    inner.register_step_post_hook(after)
    for now in range(STEPS):
        weight.grad = gradient(now, weight.detach())
        optimizer.step()
    return weight.detach(), inner.state[weight][SLOW]


def _oracle(make: Make) -> tuple[Tensor, Tensor]:
    """Every set of entries in a parameter of its own, with a fresh inner optimizer and slow weights of its own."""
    parts = [nn.Parameter(first_values(torch.float64))]
    inners, slow = [make(parts[:1])], [None]
    owner = torch.zeros(parts[0].shape, dtype=torch.int64)

    def whole(of: Any) -> Tensor:
        return torch.stack(list(of)).gather(0, owner[None])[0]

    for step in range(STEPS):
        grad = gradient(step, whole(part.detach() for part in parts))
        for part, inner in zip(parts, inners, strict=True):
            part.grad = grad.clone()
            inner.step()
        if step in RENEWALS:
            owner = torch.where(RENEWALS[step], len(parts), owner)
            parts.append(nn.Parameter(new_values(step, torch.float64)))
            inners.append(make(parts[-1:]))
            # timm makes them at the first synchronisation; from the first one on they are there.
            slow.append(parts[-1].detach().clone() if step >= EVERY else None)
        if (step + 1) % EVERY == 0:
            for k, part in enumerate(parts):
                own = slow[k]
                own = part.detach().clone() if own is None else own + ALPHA * (part.detach() - own)
                slow[k] = own
                with torch.no_grad():
                    part.copy_(own)
    return whole(part.detach() for part in parts), whole(slow)


@needs_timm
@pytest.mark.parametrize("name", seldom(INNER, often=list(INNER)[:2]))
def test_renewed_entries_go_on_as_with_slow_weights_of_their_own(name: str) -> None:
    for found, wanted in zip(_live(INNER[name]), _oracle(INNER[name]), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


@needs_timm
@pytest.mark.parametrize("name", seldom(INNER, often=list(INNER)[2:]))
def test_neighbours_keep_their_bits(name: str) -> None:
    for found, wanted in zip(_live(INNER[name]), _live(INNER[name], renew=False), strict=True):
        assert same_bits(found[NEVER], wanted[NEVER])
        assert not torch.equal(found, wanted)


@needs_timm
@pytest.mark.parametrize("given", ["Lookahead", "inner"])
def test_either_may_be_attached(
    given: str, small_cnn: Callable[[int], nn.Module], batches: Callable[[int], Any]
) -> None:
    """Filters that are renewed in the very step of a synchronisation and between two keep their new values there."""
    data, model = batches(14), small_cnn(0)
    optimizer = _lookahead(optim.SGD(model.parameters(), lr=0.0))
    regrower = attach_traced(
        regrow.RandomOut(confirm="gradient", threshold=1e9, every_steps=4, active_fraction=1.0),
        model,
        optimizer if given == "Lookahead" else optimizer._base_optimizer,
        example_inputs=data[0][0],
        total_steps=14,
    )
    fresh: dict[str, Tensor] = {}
    regrower.on_renewal(
        lambda event: fresh.update({event.layer: model.get_submodule(event.layer).weight.clone()})
    )
    for images, labels in data:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
    assert len(regrower.report.events) >= 4
    assert fresh
    for layer, weight in fresh.items():
        # The rate is 0: only slow weights could have moved them since.
        torch.testing.assert_close(model.get_submodule(layer).weight.detach(), weight)


@needs_timm
def test_it_needs_hooks(small_cnn: Callable[[int], nn.Module]) -> None:
    """A call after the whole step comes after the synchronisation."""
    model = small_cnn(0)
    optimizer = _lookahead(optim.SGD(model.parameters(), lr=0.1))
    for given in (optimizer, optimizer._base_optimizer):
        with pytest.raises(ConfigError, match=r"Lookahead meets its slow weights.*hooks=True"):
            attach_traced(
                regrow.RandomOut(),
                model,
                given,
                example_inputs=torch.zeros(2, 1, 8, 8),
                total_steps=9,
                hooks=False,
            )


@needs_timm
def test_zeroing_does_not_pull_to_zero() -> None:
    from surgery.optimizers_of_users import Mine

    weight = nn.Parameter(torch.ones(2, 3))
    optimizer = _lookahead(Mine([weight], torch.zeros_like))
    inner = unwrap_optimizer(optimizer)
    surgeon = OptimizerSurgeon(inner, {"w": weight}, reset_state="zero")
    weight.grad = torch.ones(2, 3)
    for _ in range(EVERY):
        optimizer.step()
    edits = [Edit(name="w", mask=torch.tensor([[True], [False]]), value=0.5)]
    apply_edits_({"w": weight}, edits)
    surgeon.check(edits)
    surgeon.reset(edits)
    assert inner.state[weight][SLOW][0].tolist() == [0.5] * 3
    assert torch.equal(inner.state[weight][SLOW][1], weight[1])


class _Slow(Optimizer):
    """A wrapper that keeps its slow weights in a state of its own, from the beginning."""

    def __init__(self, inner: Optimizer) -> None:
        super().__init__(inner.param_groups, {})
        self.optimizer = inner
        for group in inner.param_groups:
            for weight in group["params"]:
                self.state[weight]["slow_params"] = weight.detach().clone()


def test_a_wrapper_with_weights_of_its_own_is_refused() -> None:
    inner = optim.SGD([nn.Parameter(torch.ones(2, 3))], lr=0.1)
    with pytest.raises(OptimizerError, match="_Slow keeps weights or a state of its own"):
        unwrap_optimizer(_Slow(inner))
    assert unwrap_optimizer(inner) is inner
