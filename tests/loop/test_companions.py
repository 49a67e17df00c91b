"""Averaged copies and teachers are renewed with the model."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import regrow
from regrow.errors import ConfigError
from traced import attach_traced

EXAMPLE = torch.zeros(2, 1, 8, 8)
Batches = list[tuple[torch.Tensor, torch.Tensor]]


def _averages(kind: str, model: nn.Module) -> nn.Module:
    if kind == "ema":
        return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    if kind == "swa":
        return AveragedModel(model)
    if kind == "a copy in half precision":
        return copy.deepcopy(model).to(torch.bfloat16)
    from zoo import nets

    if not nets.installed():
        pytest.skip(nets.WHY_NOT_HERE)
    nets.torchvision()  # timm imports it, and it needs a hand
    from timm.utils import ModelEmaV2, ModelEmaV3

    return ModelEmaV3(model, decay=0.9) if kind == "timm v3" else ModelEmaV2(model, decay=0.9)


def _update(companion: nn.Module, model: nn.Module) -> None:
    if isinstance(companion, AveragedModel):
        companion.update_parameters(model)
    elif hasattr(companion, "update"):
        companion.update(model)


@pytest.mark.parametrize("kind", ["ema", "swa", "timm v2", "timm v3", "a copy in half precision"])
def test_renewed_filters_are_copied_over_and_the_rest_is_its_own(
    kind: str, small_cnn: Callable[[int], nn.Module], batches: Callable[[int], Batches]
) -> None:
    model = small_cnn(0)
    companion = _averages(kind, model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recipe = regrow.RandomOut(
        confirm="gradient", threshold=0.4, active_fraction=1.0, every_steps=4, readers="zero"
    )
    regrower = attach_traced(
        recipe, model, optimizer, example_inputs=EXAMPLE, companions=[companion]
    )
    for number, (images, labels) in enumerate(batches(4)):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        before = {name: value.clone() for name, value in companion.state_dict().items()}
        optimizer.step()
        if number < 3:
            assert all(torch.equal(v, before[k]) for k, v in companion.state_dict().items())
            _update(companion, model)
    renewed = {event.layer: list(event.filters) for event in regrower.report.events}
    assert set(renewed) == {"0", "3"}
    prefix = "" if kind.startswith("a copy") else "module."
    after = companion.state_dict()
    own = model.state_dict()
    for name, of in (
        *(("0.weight", "0"), ("1.weight", "0"), ("1.running_mean", "0"), ("1.running_var", "0")),
        *(("3.weight", "3"), ("3.bias", "3")),
    ):
        mine, was = after[prefix + name], before[prefix + name]
        kept = [index for index in range(len(mine)) if index not in renewed[of]]
        assert torch.equal(mine[renewed[of]], own[name][renewed[of]].to(mine.dtype))
        if name == "3.weight":
            assert not mine[kept][:, renewed["0"]].any()
            others = [index for index in range(4) if index not in renewed["0"]]
            mine, was = mine[:, others], was[:, others]
        assert torch.equal(mine[kept], was[kept])
    assert torch.equal(after[prefix + "6.bias"], before[prefix + "6.bias"])


def test_a_copy_keeps_its_own_output_when_the_model_does() -> None:
    """What a reader of the copy loses is computed from the copy's weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        nets = [
            nn.Sequential(
                *(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU()),
                *(nn.Conv2d(4, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(5 * 16, 3)),
            ).double()
            for _ in range(2)
        ]
        x = torch.randn(8, 1, 8, 8, dtype=torch.float64)
    for net in nets:
        with torch.no_grad():
            net.get_parameter("1.weight").zero_()
            net.get_parameter("1.bias").fill_(0.7)  # constant filters, with other readers in each
        net.eval()
    model, copied = nets
    before = [net(x).detach() for net in nets]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    recipe = regrow.RandomOut(
        confirm="gradient", threshold=1e-12, active_fraction=1.0, preserve=True
    )
    regrower = attach_traced(
        *(recipe, model, optimizer),
        example_inputs=x,
        calibration_inputs=x,
        include=["0"],
        companions=[copied],
    )
    model(x).sum().backward()
    optimizer.step()
    assert regrower.report.renewed == 4
    for net, then in zip(nets, before, strict=True):
        torch.testing.assert_close(net(x), then, rtol=1e-13, atol=1e-13)
    assert not torch.equal(model.get_parameter("3.bias"), copied.get_parameter("3.bias"))


def test_strangers_are_refused(small_cnn: Callable[[int], nn.Module]) -> None:
    model = small_cnn(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    wider = nn.Sequential(nn.Conv2d(1, 8, 3), *list(copy.deepcopy(model))[1:])
    for companion, match in (
        (nn.ReLU(), "ReLU has none of 0.weight, 3.weight"),
        (wider, r"0.weight has shape \(8, 1, 3, 3\), the model's \(4, 1, 3, 3\)"),
    ):
        with pytest.raises(ConfigError, match=match):
            attach_traced(
                *(regrow.RandomOut(confirm="gradient", active_fraction=1.0), model, optimizer),
                example_inputs=EXAMPLE,
                companions=[companion],
            )
