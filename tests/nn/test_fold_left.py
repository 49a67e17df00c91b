"""What folding leaves, and how it compares outputs: layers that are not alone, outputs of every kind."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from regrow.errors import TraceError
from regrow.nn import GainControl1d, GainControl2d, fold

X = torch.randn(2, 3, 9, 9, generator=torch.Generator().manual_seed(0))


def folded(model: nn.Module, x: Tensor = X) -> tuple[nn.Module, str]:
    """The folded model, after a look at whether it gives what the model gave, and its report."""
    made = fold(model, x)
    torch.testing.assert_close(made.model.eval()(x), model.eval()(x))
    return made.model, str(made.report)


class Around(nn.Module):
    """A network, and what is done with its output."""

    def __init__(self, act: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 4, 3), GainControl2d(4, gain=3.0, bias=0.5))
        self.act = act

    def forward(self, x: Tensor) -> object:
        return self.act(self.net(x))


def test_a_member_that_ran_without_the_one_in_front_stays() -> None:
    class Later(nn.Module):
        def __init__(self, kind: type[nn.Module], *members: nn.Module) -> None:
            super().__init__()
            self.members, self.used = nn.Sequential(*members), kind(3)

        def forward(self, x: Tensor) -> Tensor:
            return self.used(self.members[1](x * 1))

    model = Later(GainControl2d, GainControl2d(3, gain=2.0), nn.Conv2d(3, 3, 1))
    assert "it did not run on the example inputs, and what is behind it did" in folded(model)[1]
    rows = torch.randn(2, 3, 9)
    model = Later(GainControl1d, GainControl1d(3, gain=2.0), nn.Linear(9, 5))
    assert "what is behind it did" in folded(model, rows)[1]


@pytest.mark.parametrize("tied", ["gain", "bias", "mean_scale"])
def test_gains_and_biases_of_two_layers_stay(tied: str) -> None:
    first, second = (GainControl2d(3, gain=2.0, bias=1.0) for _ in range(2))
    setattr(second, tied, getattr(first, tied))
    _, report = folded(nn.Sequential(nn.Conv2d(3, 3, 3), first, nn.Conv2d(3, 3, 3), second))
    assert ("left 1: its gains or biases are another layer's too" in report) is (
        tied != "mean_scale"
    )


@pytest.mark.parametrize("relu", [False, True])
def test_a_layer_that_a_list_holds_too_stays_as_an_identity(*, relu: bool) -> None:
    class Listed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)
            self.gain = GainControl2d(4, gain=2.0, bias=0.3, mean_scale=0.0, relu=relu)
            self.parts = [self.conv, self.gain]

        def forward(self, x: Tensor) -> Tensor:
            for part in self.parts:
                x = part(x)
            return x

    made, report = folded(Listed())
    assert "folded gain: g and b into conv" in report
    assert "left gain: the layer itself: it is also in 'parts' of the Listed" in report
    assert made.gain.gains().tolist() == [1.0] * 4
    assert made.gain.bias.tolist() == [0.0] * 4


@pytest.mark.parametrize("positions", [4, 9])
def test_a_linear_layer_over_positions_gives_and_takes_nothing(positions: int) -> None:
    layer = GainControl1d(4, gain=2.0, bias=0.5)
    with torch.no_grad():
        layer.gain.mul_(torch.arange(1.0, 5.0))
    model = nn.Sequential(nn.Linear(8, positions), layer, nn.Conv1d(4, 2, 3))
    assert "folded 1: g into 2; b into 2" in folded(model, torch.randn(2, 4, 8))[1]
    alone = nn.Sequential(layer, nn.Linear(positions, 3))
    assert "takes its maps in another order" in folded(alone, torch.randn(4, positions))[1]


def test_what_has_a_forward_of_its_own_stays() -> None:
    model = nn.Sequential(GainControl2d(3, gain=2.0), nn.ReLU(), nn.Conv2d(3, 4, 3))
    model[1].forward = torch.cos
    assert "it goes to '1', a ReLU" in folded(model)[1]


def test_outputs_of_every_kind_are_compared() -> None:
    for act in (
        lambda y: (y, y[y > 1e9]),  # no box was found
        lambda y: y.masked_fill(y > 0, -torch.inf),
        lambda y: {"spectrum": torch.fft.fft(y), "classes": y.argmax(1)},
    ):
        report = fold(Around(act), X).report
        assert report.folded == {"net.1": ("g into net.0",)}
        assert report.largest_difference < 1e-12


def test_a_difference_is_found_in_outputs_of_every_kind() -> None:
    def changing(change: Callable[[Tensor, int], object]) -> nn.Module:
        runs: list[Tensor] = []
        return Around(lambda y: (y, change(y, len(runs)), runs.append(y)))

    # The third run is that of the folded model.
    for change, size in (
        (lambda y, run: torch.fft.fft(y) * (1 + (run == 2)), ""),
        (lambda y, run: y[: 1 + (run == 2)], "inf"),
        (lambda y, run: [y] * (1 + (run == 2)), "inf"),
        (lambda y, run: y / (run != 2) * (y > 0), "nan"),
        (lambda y, run: y.masked_fill(y > 0, torch.inf if run == 2 else -torch.inf), "inf"),
    ):
        with pytest.raises(TraceError, match=f"differs by {size}"):
            fold(changing(change), X)


def test_a_model_that_does_not_run_is_told() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), GainControl2d(4))
    with pytest.raises(TraceError, match="must run on the example inputs, in float64 too; its for"):
        fold(model, torch.randn(2, 5, 9, 9))
    model[0].register_forward_pre_hook(lambda module, args: tuple(each.float() for each in args))
    with pytest.raises(TraceError, match=r"in float64 too; its forward raised RuntimeError: Input"):
        fold(model, X)
    assert model[1](model[0](X)).dtype == torch.float32


def test_in_inference_mode_a_model_may_write_into_its_input() -> None:
    model = nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(3, 4, 3), GainControl2d(4, gain=2.0))
    with torch.inference_mode():
        report = fold(model, X).report
    assert report.folded == {"2": ("g into 1",)}
