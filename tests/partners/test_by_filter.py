"""unit='filter': each filter by the scale of the norm behind it, against plain loops."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from partners import oracle
from partners.nets import Depthwise, Plain, attach, copies, random

State = dict[str, torch.Tensor]


def _scales(own: State, partner: State, norm: str) -> list[float]:
    """|g| / (|g| + |g'|)."""
    pairs = zip(own[f"{norm}.weight"].tolist(), partner[f"{norm}.weight"].tolist(), strict=True)
    return [abs(a) / (abs(a) + abs(b)) for a, b in pairs]


def _head(own: State, partner: State) -> float:
    a, b = (oracle.entropy(each["head.weight"].reshape(-1).tolist()) for each in (own, partner))
    return oracle.alpha(a, b)


def _expected(own: State, partner: State, *, multiply: bool) -> State:
    """The table of Plain by hand: conv1 (no writer before), conv2 (reads conv1), head (no norm)."""
    first, second = _scales(own, partner, "bn1"), _scales(own, partner, "bn2")
    found = {name: value.clone() for name, value in own.items()}

    def mixed(name: str, place: tuple[int, ...], share: float) -> None:
        found[name][place] = share * own[name][place] + (1 - share) * partner[name][place]

    for shares, layer, norm in ((first, "conv1", "bn1"), (second, "conv2", "bn2")):
        for o, share in enumerate(shares):
            names = [f"{norm}.{part}" for part in ("weight", "bias", "running_mean", "running_var")]
            for name in [*names, f"{layer}.bias"]:
                if name in own:
                    mixed(name, (o,), share)
            for i in range(own[f"{layer}.weight"].shape[1]):
                both = share
                if layer == "conv2":
                    both = share * first[i] if multiply else (share + first[i]) / 2
                mixed(f"{layer}.weight", (o, i), both)
    if not multiply:  # no scales: by information; the released code leaves it alone
        for name in ("head.weight", "head.bias"):
            share = _head(own, partner)
            found[name] = share * own[name] + (1 - share) * partner[name]
    return found


@pytest.mark.parametrize("mode", ["paper", "reference"])
@pytest.mark.parametrize("networks", [2, 3])
def test_rows_by_their_own_filter_and_columns_by_the_filter_that_they_read(
    mode: Any, networks: int
) -> None:
    models = [random(Plain, seed) for seed in range(networks)]
    before = [copies(model) for model in models]
    attach(models, unit="filter", mode=mode).graft()
    for k, model in enumerate(models):
        expected = _expected(before[k], before[k - 1], multiply=mode == "reference")
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                assert torch.allclose(value, expected[name], rtol=0, atol=1e-12), name


def test_a_depthwise_filter_reads_its_own_channel_only() -> None:
    models = [random(Depthwise, seed) for seed in range(2)]
    own, partner = (copies(model) for model in models)
    attach(models, unit="filter").graft()
    rows, columns = _scales(own, partner, "bn2"), _scales(own, partner, "bn1")
    found = models[0].get_parameter("depth.weight")
    for o in range(4):
        share = (rows[o] + columns[o]) / 2
        one, other = own["depth.weight"][o], partner["depth.weight"][o]
        assert torch.allclose(found[o], share * one + (1 - share) * other, rtol=0, atol=1e-12)


def test_scales_that_are_both_zero_give_one_half() -> None:
    models = [random(Plain, seed) for seed in range(2)]
    with torch.no_grad():
        for model in models:
            model.get_parameter("bn1.weight")[1] = 0.0
    own, partner = (copies(model) for model in models)
    attach(models, unit="filter").graft()
    mean = (own["conv1.weight"][1] + partner["conv1.weight"][1]) / 2
    assert torch.allclose(models[0].get_parameter("conv1.weight")[1], mean, rtol=0, atol=1e-12)


def test_the_event_has_the_mean_of_the_filters_shares() -> None:
    models = [random(Plain, seed) for seed in range(2)]
    own, partner = (copies(model) for model in models)
    events = {e.layer: e for e in attach(models, unit="filter").graft() if e.partner == 0}
    shares = _scales(own, partner, "bn1")
    assert events["conv1"].share == pytest.approx(sum(shares) / len(shares))
    assert events["head"].share == pytest.approx(_head(own, partner))


def test_a_layer_that_is_no_number_leaves_what_reads_it_to_its_own_rows() -> None:
    models = [random(Plain, seed) for seed in range(2)]
    with torch.no_grad():
        models[1].get_parameter("conv1.weight")[0, 0, 0, 0] = torch.nan
    own, partner = (copies(model) for model in models)
    with pytest.warns(UserWarning, match="are not finite"):
        attach(models, unit="filter").graft()
    after = copies(models[0])
    for name in ("conv1.weight", "conv1.bias", "bn1.weight", "bn1.running_var"):
        assert torch.equal(after[name], own[name])
    share = torch.tensor(_scales(own, partner, "bn2"), dtype=torch.float64)[:, None, None, None]
    expected = share * own["conv2.weight"] + (1 - share) * partner["conv2.weight"]
    assert torch.allclose(after["conv2.weight"], expected, rtol=0, atol=1e-12)
