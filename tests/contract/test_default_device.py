"""A default device other than the model's changes nothing: everything that is created here names its device."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils._device import _device_constructors

import regrow
from contract.partner_rows import EACH as EACH_PARTNER
from contract.partner_rows import VARIANTS as PARTNER_VARIANTS
from contract.rows import DATA, FEW, VARIANTS
from crossed import crossed
from partners.nets import Plain

STEPS, EPOCH = 20, 5
EXAMPLE = torch.zeros(2, 1, 8, 8)
Batches = list[tuple[torch.Tensor, torch.Tensor]]
Make = Callable[[nn.Module], torch.optim.Optimizer]

OPTIMIZERS: dict[str, Make] = {
    "sgd": lambda model: torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9),
    "adamw": lambda model: torch.optim.AdamW(model.parameters(), lr=0.01),
}


@contextmanager
def elsewhere(*, really: bool) -> Iterator[None]:
    """Another default device: nothing that is made there can be computed with."""
    torch.set_default_device("meta" if really else None)
    try:
        yield
    finally:
        torch.set_default_device(None)


def step_of(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batches) -> None:
    for images, labels in batch:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()


def values_of(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    memory = [
        value
        for parameter in model.parameters()
        for value in optimizer.state[parameter].values()
        if isinstance(value, torch.Tensor)
    ]
    return [*model.state_dict().values(), *memory]


@pytest.mark.filterwarnings("ignore:the .* has made steps before:regrow.errors.RegrowWarning")
@pytest.mark.parametrize(("name", "optimizer"), crossed(FEW, OPTIMIZERS))
def test_every_recipe_is_the_same_bits_under_another_default_device(
    name: str,
    optimizer: str,
    small_cnn: Callable[[int], nn.Module],
    batches: Callable[[int], Batches],
) -> None:
    row, ends = VARIANTS[name], []
    for really in (False, True):
        model = small_cnn(0)
        made = OPTIMIZERS[optimizer](model)
        # AdamW counts its steps in a tensor that it makes itself, in its first step, on the default device.
        first, *rest = batches(STEPS + 1)
        step_of(model, made, [first])
        row.prepare(model)
        with elsewhere(really=really):
            regrower = regrow.attach(
                row.make(**row.acts),
                model,
                made,
                example_inputs=EXAMPLE,
                total_steps=STEPS,
                steps_per_epoch=EPOCH,
                **DATA,
            )
            step_of(model, made, rest)
        ends.append((values_of(model, made), regrower.report))
    (plain, told), (there, told_there) = ends
    assert told.renewed
    assert told_there.events == told.events
    assert told_there.notes == told.notes
    assert len(plain) == len(there)
    assert all(torch.equal(a, b) for a, b in zip(plain, there, strict=True))


@pytest.mark.parametrize("name", EACH_PARTNER)
def test_every_partner_recipe_is_the_same_bits_under_another_default_device(
    name: str, batches: Callable[[int], Batches]
) -> None:
    row, given, ends = PARTNER_VARIANTS[name], batches(EPOCH), []
    for really in (False, True):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            models = [Plain() for _ in range(2)]
        made = [OPTIMIZERS["sgd"](model) for model in models]
        with elsewhere(really=really):
            grafter = regrow.attach_partners(
                row.make(**{**row.acts, "partners": 2}),
                models,
                made,
                example_inputs=EXAMPLE,
                total_steps=STEPS,
                steps_per_epoch=EPOCH,
            )
            for batch in given:
                for model, one in zip(models, made, strict=True):
                    step_of(model, one, [batch])
        assert grafter.report.grafts
        ends.append([v for pair in zip(models, made, strict=True) for v in values_of(*pair)])
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))


MAKERS = {each.__name__ for each in _device_constructors()}
"""Torch's functions that make tensors."""


def unnamed(source: str) -> list[int]:
    """The lines that call one of them, and name no device."""
    if not re.search(rf"\btorch\.({'|'.join(MAKERS)})\b", source):
        return []  # most files, which need not be parsed
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "torch"
        and node.func.attr in MAKERS
        and all(keyword.arg != "device" for keyword in node.keywords)
    ]


def test_every_tensor_that_is_made_names_its_device() -> None:
    """Also where no training of these tests comes by."""
    assert unnamed("x = torch.zeros(\n3)\ny = torch.ones(3, device='cpu')") == [1]
    root = Path(regrow.__file__).parent
    found = [
        f"{path.relative_to(root)}:{line}"
        for path in sorted(root.rglob("*.py"))
        for line in unnamed(path.read_text())
    ]
    assert found == []
