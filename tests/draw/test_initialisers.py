"""Fresh weights have the distribution that torch.nn.init gives, and depend on their key alone."""

import itertools
import math

import pytest
import torch
from torch import nn

from regrow.draw import Key, draw_filters, resolve_initialiser
from regrow.errors import ConfigError, ShapeError, UnknownNameError

KEY = Key(seed=0, step=0, layer="conv")


def _draw(spec: object, weight: torch.Tensor, key: Key = KEY) -> torch.Tensor:
    initialiser = resolve_initialiser(spec, weight=weight, where="conv")  # type: ignore[arg-type]
    return draw_filters(initialiser, key=key, weight=weight, filters=torch.arange(weight.shape[0]))


@pytest.mark.parametrize(
    ("spec", "reference"),
    [
        ("torch_default", lambda w: nn.init.kaiming_uniform_(w, a=math.sqrt(5))),
        ("uniform:0.01", lambda w: nn.init.uniform_(w, -0.01, 0.01)),
        ("normal:0.3", lambda w: nn.init.normal_(w, std=0.3)),
        ("trunc_normal:1.5", lambda w: nn.init.trunc_normal_(w, std=1.5)),
        ("trunc_normal:0.04:0.08", lambda w: nn.init.trunc_normal_(w, std=0.04, a=-0.08, b=0.08)),
        ("xavier_uniform", nn.init.xavier_uniform_),
        ("xavier_normal:2.0", lambda w: nn.init.xavier_normal_(w, gain=2.0)),
        ("kaiming_uniform", lambda w: nn.init.kaiming_uniform_(w, nonlinearity="relu")),
        ("kaiming_normal", lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu")),
        (
            "kaiming_normal:fan_out",
            lambda w: nn.init.kaiming_normal_(w, mode="fan_out", nonlinearity="relu"),
        ),
    ],
)
def test_same_distribution_as_torch(spec: str, reference: object) -> None:
    weight = torch.empty(64, 24, 5, 5)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        expected = reference(weight.clone())  # type: ignore[operator]
    drawn = _draw(spec, weight)
    assert drawn.shape == (64, 600)
    assert abs(float(drawn.mean())) < 4 * float(expected.std()) / math.sqrt(weight.numel())
    assert float(drawn.std()) == pytest.approx(float(expected.std()), rel=0.02)
    assert float(drawn.abs().max()) == pytest.approx(float(expected.abs().max()), rel=0.2)


def test_torch_default_is_what_the_layers_draw() -> None:
    for layer in (nn.Conv2d(8, 500, 3), nn.Conv1d(6, 500, 5, groups=2), nn.Linear(40, 500)):
        bound = resolve_initialiser("torch_default", weight=layer.weight, where="x").scale
        largest = float(layer.weight.detach().abs().max())
        assert largest <= bound
        assert largest > 0.98 * bound


@pytest.mark.parametrize("shape", [(6, 2, 3, 3), (30, 1, 3, 3)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    drawn = _draw("orthogonal", torch.empty(shape)).double()
    gram = drawn @ drawn.T if drawn.shape[0] <= drawn.shape[1] else drawn.T @ drawn
    assert torch.allclose(gram, torch.eye(len(gram), dtype=torch.float64), atol=1e-6)


def test_match_takes_the_deviation_that_the_weights_have_now() -> None:
    weight = torch.randn(32, 8, 3, 3, generator=torch.Generator().manual_seed(0)) * 0.07
    assert float(_draw("match", weight).std()) == pytest.approx(0.07, rel=0.05)
    with pytest.raises(ConfigError, match=r"'match' needs weights that vary.*\(conv\)"):
        resolve_initialiser("match", weight=torch.zeros(2, 2), where="conv")


def test_a_function_draws_from_the_key_and_leaves_the_global_generator() -> None:
    weight = torch.empty(5, 2, 3, 3)
    before = torch.get_rng_state()
    draws = [
        _draw(nn.init.normal_, weight, Key(seed=seed, step=step, layer=layer))
        for seed, step, layer in itertools.product((0, 1), (0, 1), ("a", "b"))
    ]
    assert torch.equal(before, torch.get_rng_state())
    for first, second in itertools.combinations(draws, 2):
        assert not torch.equal(first, second)
    assert torch.equal(draws[0], _draw(nn.init.normal_, weight, Key(seed=0, step=0, layer="a")))


def test_bad_functions_and_names() -> None:
    with pytest.raises(ShapeError, match=r"shape \(4, 2\), it returned \(3,\)"):
        _draw(lambda _: torch.zeros(3), torch.empty(4, 2))
    with pytest.raises(UnknownNameError, match="did you mean 'kaiming"):
        resolve_initialiser("kaimin_normal", weight=torch.zeros(2, 2), where="conv")
    for spec in ("uniform", "uniform:x", "normal:-1", "uniform:nan"):
        with pytest.raises(ConfigError, match="needs a number above 0"):
            resolve_initialiser(spec, weight=torch.zeros(2, 2), where="conv")
    with pytest.raises(ShapeError, match="at least 2 axes"):
        resolve_initialiser("torch_default", weight=torch.zeros(2), where="conv")


def test_dtype_follows_the_weight() -> None:
    wide = _draw("kaiming_normal", torch.empty(4, 3, 3, 3, dtype=torch.float64))
    narrow = _draw("kaiming_normal", torch.empty(4, 3, 3, 3, dtype=torch.bfloat16))
    assert torch.equal(wide.to(torch.bfloat16), narrow)
