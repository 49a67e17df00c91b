"""Continual Backprop's utilities, against plain loops in float64."""

import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from regrow.criteria.utility import FACTORS
from regrow.errors import ConfigError
from regrow.functional import debiased, input_sizes, unit_utility


def _rows(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


def test_input_sizes_of_a_dense_layer_are_column_sums() -> None:
    weight = _rows(3, 5)
    by_hand = [math.fsum(abs(row[i]) for row in weight.tolist()) for i in range(5)]
    assert input_sizes(weight, kind="linear").tolist() == pytest.approx(by_hand, rel=1e-15)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("kind", ["conv", "conv_transpose"])
def test_input_sizes_are_what_a_channel_of_ones_is_multiplied_with(kind: str, groups: int) -> None:
    """All weights made positive, a channel that is 1 at one place gives their sum, over all outputs and places."""
    shape = (6, 4 // groups, 3, 3) if kind == "conv" else (4, 6 // groups, 3, 3)
    weight = _rows(*shape)
    run = F.conv2d if kind == "conv" else F.conv_transpose2d
    sums: list[float] = []
    for channel in range(4):
        x = torch.zeros(1, 4, 7, 7, dtype=torch.float64)
        x[0, channel, 3, 3] = 1.0
        sums.append(float(run(x, weight.abs(), padding=2 * (kind == "conv"), groups=groups).sum()))
    found = input_sizes(weight, kind=kind, groups=groups)  # type: ignore[arg-type]
    assert found.tolist() == pytest.approx(sums, rel=1e-12)


def test_contribution_is_equation_1() -> None:
    """Of one example: |h_i| times the sum over k of |w_ik|, averaged over examples."""
    given, weight = _rows(9, 4).relu(), _rows(3, 4)
    by_hand = [
        math.fsum(abs(given[n, i]) * sum(abs(weight[k, i]) for k in range(3)) for n in range(9)) / 9
        for i in range(4)
    ]
    outgoing = input_sizes(weight, kind="linear")
    found = unit_utility("contribution", outgoing=outgoing, size=given.abs().mean(0))
    assert found.tolist() == pytest.approx([float(each) for each in by_hand], rel=1e-12)


def test_all_six_are_the_released_codes_up_to_what_a_layer_has_in_common() -> None:
    """There weights are averaged where they are summed here: a factor for the layer, which changes no order."""
    given, reads, own = _rows(9, 4).relu().tolist(), _rows(3, 4).tolist(), _rows(4, 6).tolist()
    centre = [0.1, -0.2, 0.7, 0.0]
    size = [math.fsum(abs(row[i]) for row in given) / 9 for i in range(4)]
    apart = [math.fsum(abs(row[i] - centre[i]) for row in given) / 9 for i in range(4)]
    out = [math.fsum(abs(row[i]) for row in reads) for i in range(4)]
    into = [math.fsum(abs(value) for value in row) for row in own]
    expected = {
        "weight": out,
        "contribution": [w * h for w, h in zip(out, size, strict=True)],
        "adaptation": [1 / w for w in into],
        "zero_contribution": [w * h for w, h in zip(out, apart, strict=True)],
        "adaptable_contribution": [w * h / v for w, h, v in zip(out, apart, into, strict=True)],
        "feature_by_input": [h / v for h, v in zip(apart, into, strict=True)],
    }
    assert expected.keys() == FACTORS.keys()
    known = {"size": size, "deviation": apart, "outgoing": out, "incoming": into}
    tensors = {name: torch.tensor(each, dtype=torch.float64) for name, each in known.items()}
    for kind, values in expected.items():
        some = {name: tensors[name] for name in FACTORS[kind]}
        assert unit_utility(kind, **some).tolist() == pytest.approx(values, rel=1e-14)  # type: ignore[arg-type]
        for name in some:  # none of them is there for nothing
            with pytest.raises(ConfigError, match=f"kind='{kind}' needs {name}, got None"):
                unit_utility(kind, **{key: some[key] for key in some if key != name})  # type: ignore[arg-type]


def test_who_hears_nobody_has_no_utility_by_its_weights() -> None:
    two = torch.tensor([0.0, 0.5])
    assert unit_utility("adaptation", incoming=two).tolist() == [0.0, 2.0]
    assert unit_utility("feature_by_input", deviation=two + 1, incoming=two).tolist() == [0.0, 3.0]


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.99, 0.9999])
def test_debiased_is_a_weighted_mean(decay: float) -> None:
    values = _rows(30, 3).tolist()
    average = [0.0] * 3
    for row in values:
        average = [decay * a + (1 - decay) * v for a, v in zip(average, row, strict=True)]
    weights = [decay ** (29 - step) for step in range(30)]
    expected = [
        math.fsum(w * row[i] for w, row in zip(weights, values, strict=True)) / math.fsum(weights)
        for i in range(3)
    ]
    ages = torch.full((3,), 30)
    found = debiased(torch.tensor(average, dtype=torch.float64), age=ages, decay=decay)
    assert found.tolist() == pytest.approx(expected, rel=1e-9)


def test_at_an_age_of_0_there_is_no_average() -> None:
    assert debiased(torch.zeros(1), age=torch.zeros(1, dtype=torch.int64), decay=0.9).isnan().all()
