"""How far units are from their own running means, read in training: the released code's rule in a plain loop."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

import regrow
from recipes.small import EXAMPLE, dense
from regrow.criteria import Utility
from regrow.errors import ConfigError
from traced import attach_traced

Batches = Callable[[int], list[tuple[Tensor, Tensor]]]
DECAY = 0.7


def recipe(kind: Any, *, rate: float = 1e-9) -> regrow.Recipe:
    return regrow.ContinualBackprop(utility=kind, decay=DECAY, rate=rate, maturity=0)


def loop(
    given: list[Tensor], outgoing: list[Tensor], incoming: list[Tensor], kind: str
) -> list[float]:
    """Each step's activations (N, O, positions) in float64: mean first, then the distance from it, then the average."""
    count = given[0].shape[1]
    utility, mean = [0.0] * count, [0.0] * count
    for age, (h, out, into) in enumerate(zip(given, outgoing, incoming, strict=True), 1):
        for u in range(count):
            values = h[:, u].double().flatten().tolist()
            mean[u] = DECAY * mean[u] + (1 - DECAY) * sum(values) / len(values)
            centre = mean[u] / (1 - DECAY**age)
            apart = sum(abs(value - centre) for value in values) / len(values)
            y = {
                "zero_contribution": apart * float(out[u]),
                "adaptable_contribution": apart * float(out[u]) / float(into[u]),
                "feature_by_input": apart / float(into[u]),
            }[kind]
            utility[u] = DECAY * utility[u] + (1 - DECAY) * y
    return [each / (1 - DECAY ** len(given)) for each in utility]


def nets() -> dict[str, tuple[nn.Sequential, str, int, int]]:
    """A network, the layer that is looked at, where it is behind its activation, and its reader."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        conv = nn.Sequential(
            *(nn.Conv2d(1, 4, 3), nn.Tanh(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 3))
        )
    return {"dense": (dense(), "1", 3, 3), "conv, flatten, dense": (conv, "0", 3, 4)}


@pytest.mark.parametrize("examples", [1, 12])
@pytest.mark.parametrize("name", ["dense", "conv, flatten, dense"])
@pytest.mark.parametrize(
    "kind", ["zero_contribution", "adaptable_contribution", "feature_by_input"]
)
def test_scores_are_the_released_codes(
    kind: Any, name: str, examples: int, batches: Batches
) -> None:
    model, layer, behind, reader = nets()[name]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    found = attach_traced(recipe(kind), model, optimizer, example_inputs=EXAMPLE, include=[layer])
    given: list[Tensor] = []
    out: list[Tensor] = []
    into: list[Tensor] = []
    for images, labels in [(x[:examples], y[:examples]) for x, y in batches(6)]:
        optimizer.zero_grad()
        with torch.no_grad():
            h = model[:behind](images)
        given.append(h.reshape(examples, *(4, -1) if h.ndim > 2 else (h.shape[1], 1)))
        F.cross_entropy(model(images), labels).backward()
        own, reads = model.get_parameter(f"{layer}.weight"), model[reader].weight.detach()
        columns = reads.abs().sum(0).reshape(given[-1].shape[1], -1).sum(1)
        out.append(columns.double())
        into.append(own.detach().double().abs().flatten(1).sum(1))
        optimizer.step()
    state = found.state_dict()["criteria"][layer]
    _, scores = Utility(kind=kind, decay=DECAY).score(state, layer=layer, count=0, step=0, seed=0)
    assert scores is not None
    assert scores.tolist() == pytest.approx(loop(given, out, into, kind), rel=1e-4)


def test_a_unit_that_gives_one_value_is_worth_nothing_however_large_it_is(batches: Batches) -> None:
    """A bias in its readers says the same: contribution does not see it, the distance from the mean does."""
    taken: dict[str, tuple[int, ...]] = {}
    for kind in ("contribution", "zero_contribution"):
        model = dense()
        with torch.no_grad():
            model[1].weight[5], model[1].bias[5] = 0.0, 30.0
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-30)
        own = recipe(kind, rate=0.126)
        found = attach_traced(own, model, optimizer, example_inputs=EXAMPLE, include=["1"])
        for images, labels in batches(2):
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()
        taken[kind] = found.report.events[0].filters
    assert taken["zero_contribution"] == (5,)
    assert taken["contribution"] != (5,)


def test_resumed_the_distances_are_those_of_one_run(batches: Batches) -> None:
    def begun() -> tuple[nn.Module, torch.optim.Optimizer, regrow.Regrower]:
        model = dense()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        own = recipe("adaptable_contribution", rate=0.05)
        return model, optimizer, attach_traced(own, model, optimizer, example_inputs=EXAMPLE)

    def on(parts: Any, some: list[tuple[Tensor, Tensor]]) -> Any:
        model, optimizer, _ = parts
        for images, labels in some:
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()
        return parts

    whole = on(begun(), batches(20))
    first = on(begun(), batches(20)[:9])
    file = io.BytesIO()
    torch.save([part.state_dict() for part in first], file)
    file.seek(0)
    second = begun()
    for part, state in zip(second, torch.load(file, weights_only=True), strict=True):
        part.load_state_dict(state)
    on(second, batches(20)[9:])
    assert len(whole[2].report.events) > 4
    assert second[2].report.events == whole[2].report.events


def test_only_one_recipe_can_ask_and_another_can_after_it(batches: Batches) -> None:
    """Each has means of its own, and what is read is read once for all."""
    model = dense()
    first = torch.optim.SGD(model.parameters(), lr=0.1)
    own = recipe("zero_contribution")
    regrower = attach_traced(own, model, first, example_inputs=EXAMPLE)
    other = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ConfigError, match="only one recipe can measure how far what"):
        attach_traced(own, model, other, example_inputs=EXAMPLE)
    regrower.detach()
    attach_traced(own, model, other, example_inputs=EXAMPLE)
