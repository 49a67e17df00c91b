"""The recipes and the surgery on networks with gain control."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import regrow
from regrow.nn import GainControl2d


def net(*, relu: bool = True, seed: int = 0, **options: object) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1, bias=False),
        GainControl2d(6, relu=relu, **options),  # type: ignore[arg-type]
        nn.Identity() if relu else nn.ReLU(),
        nn.Conv2d(6, 5, 3, padding=1, bias=False),
        GainControl2d(5, relu=relu, **options),  # type: ignore[arg-type]
        nn.Identity() if relu else nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(20, 3),
    )


def batches(count: int) -> list[tuple[Tensor, Tensor]]:
    torch.manual_seed(1)
    return [(torch.randn(8, 1, 8, 8), torch.randint(0, 3, (8,))) for _ in range(count)]


def train(
    model: nn.Module, optimizer: torch.optim.Optimizer, data: list[tuple[Tensor, Tensor]]
) -> list[float]:
    losses: list[float] = []
    for x, y in data:
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("options", [{}, {"positive_gain": True}, {"learn_mean_scale": False}])
def test_every_channel_belongs_to_its_filter(relu: bool, options: dict[str, bool]) -> None:
    model = net(relu=relu, **options)
    wiring = regrow.trace(model, torch.zeros(1, 1, 8, 8))

    for path, norm in (("0", "1"), ("3", "4")):
        filters = wiring[path]
        assert not filters.refused
        (found,) = filters.norms
        assert (found.path, found.kind) == (norm, "GainControl2d")
        gain = "log_gain" if "positive_gain" in options else "gain"
        assert {each.name for each in found.tensors} == {
            f"{norm}.mean_scale",
            f"{norm}.{gain}",
            f"{norm}.bias",
        }
        assert found.channels == tuple((index,) for index in range(filters.count))
        assert all(all(flags) for reader in filters.readers for flags in reader.alone)


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9),
        lambda p: torch.optim.AdamW(p, lr=0.01),
    ],
    ids=["sgd", "adamw"],
)
def test_a_renewed_filter_starts_afresh_and_its_neighbours_keep_their_bits(
    positive: bool, make: Callable[[object], torch.optim.Optimizer]
) -> None:
    model = net(gain=0.5, mean_scale=0.9, bias=0.25, positive_gain=positive)
    optimizer = make(model.parameters())
    train(model, optimizer, batches(3))
    with torch.no_grad():
        model[3].weight[:, 2] = 0  # nobody reads filter 2 any more: no gradient
    before = {name: each.clone() for name, each in model.state_dict().items()}
    still = torch.optim.SGD(model.parameters(), lr=0.0)
    with regrow.attach(
        regrow.RandomOut(confirm="gradient", threshold=1e-9, active_fraction=1.0),
        model,
        still,
        example_inputs=torch.zeros(1, 1, 8, 8),
        total_steps=1,
    ) as regrower:
        train(model, still, batches(1))
    assert [(event.layer, event.filters) for event in regrower.report.events] == [("0", (2,))]

    after = model.state_dict()
    own = {"0.weight", "1.mean_scale", "1.bias", "1.log_gain" if positive else "1.gain"}
    for name, value in after.items():
        kept = [i for i in range(len(value)) if i != 2] if name in own else slice(None)
        assert torch.equal(
            value[kept] if value.ndim else value, before[name][kept] if value.ndim else before[name]
        ), name
        if name in own:
            assert not torch.equal(value[2], before[name][2]), name
    fresh = GainControl2d(1, gain=0.5, mean_scale=0.9, bias=0.25)
    assert model[1].gains()[2].item() == pytest.approx(0.5)
    assert after["1.mean_scale"][2] == fresh.mean_scale[0]
    assert after["1.bias"][2] == fresh.bias[0]


@pytest.mark.parametrize("positive", [False, True])
def test_the_gain_of_a_fresh_filter_is_the_measured_one_also_if_measured_after_attach(
    positive: bool,
) -> None:
    model = net(positive_gain=positive)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    regrower = regrow.attach(
        regrow.RandomOut(confirm="gradient", threshold=1e-9, active_fraction=1.0),
        model,
        optimizer,
        example_inputs=torch.zeros(1, 1, 8, 8),
        total_steps=1,
    )
    x, y = batches(1)[0]
    measured = regrow.nn.set_start_gain_(model, x)
    assert len(measured.layers) == 2
    mean = float(model[1].gains().detach().mean())
    assert mean != pytest.approx(1.0, abs=0.05)
    with torch.no_grad():
        model[3].weight[:, 2] = 0
    train(model, optimizer, [(x, y)])

    assert regrower.report.events
    assert model[1].gains()[2].item() == pytest.approx(mean, rel=1e-5)


@pytest.mark.parametrize(
    "recipe",
    [
        regrow.RandomOut(confirm="gradient", threshold=0.05, active_fraction=1.0),
        regrow.RePr(s1=2, s2=2, cycles=2, fraction=0.3),
        regrow.InternalScion(threshold=1e9),
        regrow.NoiseScion(threshold=1e9),
    ],
    ids=lambda recipe: recipe.info.name,
)
def test_training_goes_on_bit_for_bit_from_a_saved_state(recipe: regrow.Recipe) -> None:
    def attached(model: nn.Module, optimizer: torch.optim.Optimizer) -> regrow.Regrower:
        return regrow.attach(
            recipe,
            model,
            optimizer,
            example_inputs=torch.zeros(1, 1, 8, 8),
            total_steps=12,
            steps_per_epoch=1,
        )

    def run(stop: int | None) -> tuple[dict[str, Tensor], int]:
        model = net(mean_scale=0.8)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        regrower = attached(model, optimizer)
        data = batches(12)
        if stop is None:
            train(model, optimizer, data)
            return model.state_dict(), len(regrower.report.events)
        train(model, optimizer, data[:stop])
        saved = model.state_dict(), optimizer.state_dict(), regrower.state_dict()
        other = net(seed=5, mean_scale=0.8)
        again = torch.optim.SGD(other.parameters(), lr=0.05, momentum=0.9)
        second = attached(other, again)
        other.load_state_dict(saved[0])
        again.load_state_dict(saved[1])
        second.load_state_dict(saved[2])
        train(other, again, data[stop:])
        return other.state_dict(), len(second.report.events)

    whole, events = run(None)
    parts, others = run(5)
    assert events == others > 0
    for name, value in whole.items():
        assert torch.equal(value, parts[name]), name


def test_a_dropped_filter_is_silent_and_the_output_that_of_the_smaller_network() -> None:
    model = net(bias=0.3, mean_scale=0.7)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    regrow.attach(
        regrow.RePr(s1=1, s2=4, cycles=1, fraction=0.3),
        model,
        optimizer,
        example_inputs=torch.zeros(1, 1, 8, 8),
        total_steps=8,
        steps_per_epoch=1,
    )
    data = batches(2)
    train(model, optimizer, data)
    out = [int(index) for index in (model[0].weight.abs().sum((1, 2, 3)) == 0).nonzero()[:, 0]]
    assert out
    x = data[0][0]
    assert model[:3](x)[:, out].abs().max() == 0

    kept = [index for index in range(6) if index not in out]
    smaller = net(bias=0.3, mean_scale=0.7)
    last = model[3].weight.detach()
    with torch.no_grad():
        small = nn.functional.conv2d(model[1](model[0](x))[:, kept], last[:, kept], padding=1)
        torch.testing.assert_close(small, nn.functional.conv2d(model[:3](x), last, padding=1))
    assert smaller is not model


def test_networks_with_gain_control_graft() -> None:
    models = [net(seed=seed) for seed in range(2)]
    with torch.no_grad():
        for number, model in enumerate(models):
            model[1].gain.fill_(1.0 + number)
            model[1].mean_scale.fill_(0.5 + 0.5 * number)
    optimizers = [torch.optim.SGD(model.parameters(), lr=0.1) for model in models]
    grafter = regrow.attach_partners(
        regrow.FilterGrafting(partners=2, amplitude=0.4),
        models,
        optimizers,
        example_inputs=torch.zeros(1, 1, 8, 8),
        hooks=False,
    )
    events = grafter.graft()
    share = next(event.share for event in events if event.partner == 0 and event.layer == "0")

    assert share != 0.5
    for name, own, partner in (("gain", 1.0, 2.0), ("mean_scale", 0.5, 1.0)):
        expected = share * own + (1 - share) * partner
        got = getattr(models[0][1], name)
        torch.testing.assert_close(got, torch.full_like(got, expected))


def test_scales_of_gain_control_weigh_filters() -> None:
    models = [net(seed=seed) for seed in range(2)]
    with torch.no_grad():
        models[1][1].gain.fill_(3.0)
    grafter = regrow.attach_partners(
        regrow.FilterGrafting(partners=2, unit="filter"),
        models,
        [torch.optim.SGD(model.parameters(), lr=0.1) for model in models],
        example_inputs=torch.zeros(1, 1, 8, 8),
        hooks=False,
    )
    event = next(e for e in grafter.graft() if e.partner == 0 and e.layer == "0")
    assert event.share == pytest.approx(0.25)
