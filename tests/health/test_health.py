"""What a report says of itself: on a screen, as JSON, beside an earlier one; and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import regrow
from health.sick import Cnn, Mlp, images
from regrow.errors import ConfigError, TraceError, UnknownNameError
from regrow.functional import filter_overlap, isometry_deviation
from regrow.health import MEASURES, OF_UNITS, Comparison, LayerHealth, Thresholds

X, Y = images(200)


@pytest.fixture(scope="module")
def sick() -> tuple[Cnn, regrow.Health, regrow.Health]:
    """A network, a look at it, and another after one unit has died."""
    net: Any = Cnn()
    before = regrow.inspect(net, X, targets=Y)
    with torch.no_grad():
        net.two.bias[4] = -100.0
    return (
        net,
        before,
        regrow.inspect(net, X, targets=Y, optimizer=torch.optim.SGD(net.parameters())),
    )


def test_it_goes_through_json(sick: tuple[Cnn, regrow.Health, regrow.Health]) -> None:
    health = sick[2]
    again = regrow.Health.from_dict(json.loads(json.dumps(health.to_dict(), allow_nan=False)))
    assert again == health
    assert again.symptoms == health.symptoms


def test_what_is_no_number_goes_through_json_too() -> None:
    layer = LayerHealth(path="a", kind="conv", count=1, numbers={"gain": float("inf")})
    health = regrow.Health(layers=(layer,), examples=1, evidence=(), loss=float("nan"))
    document = json.loads(json.dumps(health.to_dict(), allow_nan=False))
    again = regrow.Health.from_dict(document)
    assert again["a"].numbers == {"gain": float("inf")}
    assert again.loss is not None
    assert again.loss != again.loss


@pytest.mark.parametrize("broken", [{}, {"health_version": 2}, {"health_version": 1}, []])
def test_another_document_is_refused(broken: Any) -> None:
    with pytest.raises(ConfigError, match="health"):
        regrow.Health.from_dict(broken)


def test_a_screen(sick: tuple[Cnn, regrow.Health, regrow.Health]) -> None:
    lines = str(sick[2]).splitlines()
    assert len(lines) <= 40
    assert all(len(line) <= 120 for line in lines)
    text = str(sick[2])
    assert "4 layers, 35 units, 200 examples" in text
    assert "1 of 12 units dead (one forward: max h - min h" in text
    assert "no verdicts" in text
    assert "results/keepalive-overview.md" in text


def test_a_screen_of_many_layers_is_one_too() -> None:
    layers = tuple(
        LayerHealth(path=f"layer{number}", kind="conv", count=9, units={"dead": (0,)})
        for number in range(100)
    )
    text = str(regrow.Health(layers=layers, examples=1000, evidence=("one forward",)))
    assert len(text.splitlines()) <= 40
    assert "in 100 layers, 100 units" in text


def test_two_looks_side_by_side(sick: tuple[Cnn, regrow.Health, regrow.Health]) -> None:
    _, before, after = sick
    found = after.compare(before)
    assert isinstance(found, Comparison)
    dead = [each for each in found.changes if each.measure == "dead"]
    assert [(each.layer, each.before, each.after, each.stayed) for each in dead] == [
        ("two", 0, 1, 0)
    ]
    assert found.still_dead is None
    assert after.compare(after).still_dead == 1.0
    assert "two: dead 0 -> 1 of 12" in str(found)
    assert str(before.compare(before)) == "no unit has changed its state"
    json.dumps(found.to_dict())


def test_another_network_is_not_compared(sick: tuple[Cnn, regrow.Health, regrow.Health]) -> None:
    with pytest.raises(ConfigError, match="same network"):
        sick[2].compare(regrow.inspect(Mlp(nn.ReLU()), X))


def test_shares_are_over_units(sick: tuple[Cnn, regrow.Health, regrow.Health]) -> None:
    health = sick[2]
    assert health.share("dead") == 1 / 30  # 8, 12 and 10 units; the head is not asked
    assert health["two"].share("dead") == 1 / 12
    with pytest.raises(UnknownNameError, match="did you mean 'dead'"):
        health.share("deed")
    with pytest.raises(UnknownNameError, match="unknown layer"):
        health["three"]


def test_units_have_the_worst_of_their_states(
    sick: tuple[Cnn, regrow.Health, regrow.Health],
) -> None:
    states = sick[2]["two"].states()
    assert states[4] == "dead"
    assert set(states) == {"", "dead"}


def test_every_symptom_has_its_formula_and_evidence(
    sick: tuple[Cnn, regrow.Health, regrow.Health],
) -> None:
    known = {each.key: each for each in MEASURES}
    for each in sick[2].symptoms:
        assert (each.formula, each.evidence) == (
            known[each.measure].formula,
            known[each.measure].evidence,
        )


def test_what_was_looked_at_is_said() -> None:
    net = Cnn()
    forward, backward = regrow.inspect(net, X), regrow.inspect(net, X, targets=Y)
    assert forward.evidence == ("weights only", "one forward")
    assert backward.evidence == ("weights only", "one forward", "one backward")
    assert forward.loss is None
    assert any(note.startswith("gradients:") for note in forward.notes)
    assert not {"gradient", "step"} & forward["one"].numbers.keys()
    assert backward["one"].numbers["gradient"] > 0


def test_numbers_are_those_of_a_pass_of_ones_own() -> None:
    """Gain, ranks, sizes and gradients, worked out in float64 without regrow."""
    net = Mlp(nn.ReLU()).double()
    x, y = X.double(), Y
    health = regrow.inspect(net, x, targets=y, optimizer=torch.optim.SGD(net.parameters(), lr=0.5))
    nn.functional.cross_entropy(net(x), y).backward()
    heard = x.flatten(1)
    sums = (heard @ net.one.weight.mT).detach()
    given = (sums + net.one.bias.detach()).relu()
    numbers = health["one"].numbers
    ratio = sums.square().mean() / heard.square().mean()
    assert numbers["gain"] == pytest.approx(float(ratio.sqrt()))
    values = torch.linalg.svdvals(given)
    shares = values / values.sum()
    assert numbers["effective_rank"] == pytest.approx(
        float(torch.exp(-(shares * shares.log()).sum()))
    )
    assert numbers["srank"] == int((shares.cumsum(0) < 0.99).sum()) + 1
    assert numbers["zeros"] == pytest.approx(float((given == 0).double().mean()))
    grad = net.one.weight.grad
    assert grad is not None
    assert numbers["gradient"] == pytest.approx(float(grad.norm()), rel=1e-5)
    fresh = (20 / 3) ** 0.5  # of 20 x 192 numbers within 1 / sqrt(192)
    assert numbers["weight_ratio"] == pytest.approx(
        float(net.one.weight.detach().norm()) / fresh, rel=1e-6
    )
    length = max(float(net.one.weight.detach().norm()), fresh)
    assert numbers["step"] == pytest.approx(0.5 * float(grad.norm()) / length, rel=1e-4)
    size = given.abs().mean(0)
    small = (size <= 0.025 * size.mean()).nonzero()[:, 0].tolist()
    assert list(health["one"].units["dormant"]) + list(health["one"].units["dead"]) == small


def test_the_next_step_is_the_optimizers_own() -> None:
    net = Cnn()
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.01, weight_decay=0.1)
    net.eval()
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(X), Y).backward()
        optimizer.step()
    torch.optim.lr_scheduler.StepLR(optimizer, 10)  # wraps the step, and counts it
    told = regrow.inspect(net, X, targets=Y, optimizer=optimizer)["two"].numbers["step"]
    before = net.two.weight.detach().clone()
    optimizer.zero_grad()
    nn.functional.cross_entropy(net(X), Y).backward()
    optimizer.step()
    way = float((net.two.weight - before).detach().norm())
    fresh = float(torch.empty_like(before).fill_(1 / (3 * 72) ** 0.5).norm())
    assert told == pytest.approx(way / max(float(before.norm()), fresh), rel=1e-3)


def test_a_layer_without_a_module_of_its_own_and_one_that_is_left_out() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.never, self.head = nn.Linear(192, 9), nn.Linear(9, 9), nn.Linear(9, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(nn.functional.linear(x.flatten(1), self.one.weight).relu())

    health = regrow.inspect(Odd(), X)
    assert "gain" not in health["one"].numbers
    assert "dead" in health["one"].units
    assert any("never" in note for note in health.notes)


@pytest.mark.parametrize(
    ("given", "named", "message"),
    [
        ([X, Y], {}, r"no list with tensors in it, .*\(inspect\)"),
        (3, {}, "batch_or_loader must be a batch .* got int"),
        ([], {}, "must give a batch, and gave none"),
        ([(X, Y, X)], {}, "batch 0 is a tuple of 3"),
        ([(X, Y)], {"targets": Y}, "targets must be left out beside a loader"),
        (X, {"targets": Y[:3]}, "loss must be given: cross entropy"),
        (
            X,
            {"loss": lambda out, _: out, "targets": Y},
            r"loss must give one number .* shape \(200, 5\)",
        ),
        (X, {"optimizer": 3}, "optimizer must be a torch optimizer"),
        (
            X,
            {"optimizer": torch.optim.SGD([nn.Parameter(torch.zeros(1))])},
            "must hold parameters of the model",
        ),
        (X, {"steps": -1}, "steps must be a whole number"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_mistakes_are_named(given: object, named: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        regrow.inspect(Cnn(), given, **named)


def test_thresholds_are_the_users() -> None:
    net = Cnn()
    for limits, found in ((Thresholds(), False), (Thresholds(dormant=100.0, share=1.0), True)):
        health = regrow.inspect(net, X, thresholds=limits)
        assert any(each.measure == "dormant" for each in health.symptoms) == found
    with pytest.raises(ConfigError, match="rare must be above 0"):
        Thresholds(rare=0.0)


def test_every_measure_of_units_has_a_place_on_the_strip() -> None:
    assert set(OF_UNITS) == {each.key for each in MEASURES if each.of_units}


@pytest.mark.parametrize("inputs", [64, 700])
def test_numbers_of_the_weights_of_a_wide_layer(inputs: int) -> None:
    """Of its products half is worked out; with fewer inputs than units the shorter side is theirs."""
    torch.manual_seed(0)
    first = nn.Linear(inputs, 600)
    model, weight = nn.Sequential(first, nn.ReLU(), nn.Linear(600, 3)), first.weight
    with torch.no_grad():
        weight[7], weight[513] = 2 * weight[599], weight[80]
    layer = regrow.inspect(model, torch.randn(8, inputs))["0"]
    rows = weight.detach().double()
    deviation = float(isometry_deviation(rows))
    assert layer.numbers["isometry"] == pytest.approx(deviation, rel=1e-4)
    overlap = float(filter_overlap(rows).mean())
    assert layer.numbers["overlap"] == pytest.approx(overlap, rel=1e-4)
    assert layer.units["duplicate"] == (7, 80, 513, 599)


def test_a_layer_with_two_names_has_its_next_step() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(192, 12), nn.Linear(12, 12)
            self.again, self.head = self.two, nn.Linear(12, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.again(self.two(self.one(x.flatten(1)).relu()).relu()).relu())

    net = Twice()
    health = regrow.inspect(net, X, targets=Y, optimizer=torch.optim.SGD(net.parameters(), lr=0.1))
    assert [layer.path for layer in health.layers if "step" not in layer.numbers] == []


def test_a_loader_may_fill_one_tensor_again_and_again() -> None:
    def loader() -> Iterator[tuple[Tensor, Tensor]]:
        x, y = torch.empty_like(X[:50]), torch.empty_like(Y[:50])
        for start in range(0, 200, 50):
            yield x.copy_(X[start : start + 50]), y.copy_(Y[start : start + 50])

    net, batches = Cnn(), list(zip(X.split(50), Y.split(50), strict=True))
    expected = regrow.inspect(net, batches, steps=1)
    assert regrow.inspect(net, loader(), steps=1) == expected


def test_an_empty_batch_has_no_loss() -> None:
    net = Cnn()
    whole = regrow.inspect(net, [(X, Y)])
    assert regrow.inspect(net, [(X, Y), (X[:0], Y[:0])]) == whole


def test_it_is_the_same_under_autocast() -> None:
    net = Cnn()
    optimizer = torch.optim.SGD(net.parameters())
    expected = regrow.inspect(net, X, targets=Y, optimizer=optimizer)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert regrow.inspect(net, X, targets=Y, optimizer=optimizer) == expected


def test_what_cannot_be_differentiated_or_copied_is_said() -> None:
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, *grads: Tensor) -> Tensor:
            raise RuntimeError("there is no way back")

    class Odd(nn.Module):
        def __init__(self, *, back: bool) -> None:
            super().__init__()
            self.one, self.head, self.back = nn.Linear(192, 9), nn.Linear(9, 5), back

        def forward(self, x: Tensor) -> Tensor:
            x = self.one(x.flatten(1)).relu()
            return self.head(x if self.back else Once.apply(x))

        def __deepcopy__(self, memo: object) -> Odd:
            raise TypeError("there is one of me")

    with pytest.raises(TraceError, match="its backward raised RuntimeError: there is no way back"):
        regrow.inspect(Odd(back=False), X, targets=Y)
    with pytest.raises(ConfigError, match=r"copy\.deepcopy takes, .* there is one of me: leave"):
        regrow.inspect(Odd(back=True), X, targets=Y, steps=1)


def test_another_networks_wiring_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"wiring must be this model's: it names 'dense\.weight'"):
        regrow.inspect(Mlp(nn.ReLU()), X, wiring=regrow.trace(Cnn(), X[:2]))


def test_a_document_with_a_word_for_a_number_is_refused(
    sick: tuple[Cnn, regrow.Health, regrow.Health],
) -> None:
    for key in ("input_shift", "loss"):
        document = {**sick[1].to_dict(), key: "much"}
        with pytest.raises(ConfigError, match="must be what to_dict"):
            regrow.Health.from_dict(document)


def test_a_model_that_works_its_loss_out_without_labels_has_gradients() -> None:
    class Coder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.head = nn.Linear(192, 9), nn.Linear(9, 192)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            x = x.flatten(1)
            given = self.head(self.one(x).tanh())
            return {"given": given, "loss": nn.functional.mse_loss(given, x)}

    net = Coder()
    health = regrow.inspect(net, X, optimizer=torch.optim.SGD(net.parameters(), lr=0.1))
    assert health.loss == pytest.approx(float(net(X)["loss"].detach()))
    assert health["one"].numbers.keys() >= {"gradient", "step"}


def test_an_optimizer_that_takes_sparse_gradients_alone_is_asked_of_no_layer() -> None:
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(10, 8, sparse=True)
            self.one, self.head = nn.Linear(8, 9), nn.Linear(9, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.one(self.words(x).mean(1)).relu())

    net, words = Words(), torch.randint(10, (50, 4))
    optimizer = torch.optim.SparseAdam([net.words.weight])
    health = regrow.inspect(net, words, targets=Y[:50], optimizer=optimizer)
    assert "gradient" in health["one"].numbers
    assert "step" not in health["one"].numbers


def test_a_model_that_runs_without_gradients_alone_is_looked_at() -> None:
    class Still(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.head = nn.Linear(192, 9), nn.Linear(9, 5)

        def forward(self, x: Tensor) -> Tensor:
            if torch.is_grad_enabled():
                raise RuntimeError("not with gradients")
            return self.head(self.one(x.flatten(1)).relu())

    assert regrow.inspect(Still(), X).evidence == ("weights only", "one forward")
