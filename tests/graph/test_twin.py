"""What cannot be followed: refused with a reason, and never guessed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from graph.nets import Forward
from regrow.graph import rules, trace
from regrow.graph.record import Call, Record

X = torch.zeros(2, 3, 6, 6)


def normed() -> nn.Module:
    return parametrizations.weight_norm(nn.Conv2d(4, 5, 3))


def spectral() -> nn.Module:
    return parametrizations.spectral_norm(nn.Conv2d(4, 5, 3))


def pruned() -> nn.Module:
    return prune.ln_structured(nn.Conv2d(4, 5, 3), "weight", 0.5, n=2, dim=0)


@pytest.mark.parametrize(
    ("make", "by"),
    [
        (normed, "_weight_norm_interface in '3.parametrizations.weight.0'"),
        (pruned, "mul in '3'"),
        (spectral, "div in '3.parametrizations.weight.0'"),
    ],
)
def test_a_computed_weight_refuses_what_it_reads(make: Callable[[], nn.Module], by: str) -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1), make(), nn.Flatten(), nn.Linear(80, 2)
    )
    wiring = trace(net, X)
    assert list(wiring) == ["0", "2", "5"]
    assert wiring["2"].refused == (
        f"convolution in '3': its weight is computed by {by}, not one of the model's parameters"
    )
    assert wiring.remarks[0].startswith(wiring["2"].refused)
    assert "; '3' is left alone, as by exclude=['3']; exclude the layers" in wiring.remarks[0]
    assert wiring.untraced == ("3",)
    assert wiring.renewable(exclude=["3"]) == wiring.renewable()
    assert wiring.remarks[-1].startswith("who reads 2 is not known: exclude=[...] leaves")
    assert wiring["0"].refused == "", "it is read by an ordinary layer"
    assert "not followed" in str(wiring)


def one_layer(use: Callable[[nn.Module, Tensor], Tensor], **more: nn.Module) -> nn.Module:
    layers = {"conv": nn.Conv2d(3, 4, 3), "head": nn.Linear(64, 2), **more}
    return Forward(lambda net, x: net.head(use(net, net.conv(x)).flatten(1)[:, :64]), **layers)


@pytest.mark.parametrize(
    ("net", "reason"),
    [
        (
            one_layer(lambda _, x: torch.fft.fft2(x).real),
            "_fft_c2c in the model's own forward: no rule",
        ),
        (
            one_layer(lambda _, x: x if x.sum().item() > 1 else -x),
            "own forward: the forward's Python reads a value (a branch on it, or .item())",
        ),
        (
            one_layer(
                lambda net, x: net.pair(x.flatten(1), x.flatten(1)), pair=nn.Bilinear(64, 64, 64)
            ),
            "_trilinear in 'pair': no rule",
        ),
        (
            one_layer(
                lambda _, x: torch.view_as_complex(x.unflatten(3, (2, 2))).abs().repeat(1, 2, 1, 1)
            ),
            "another type of number",
        ),
        (
            one_layer(
                lambda net, x: x.mean((2, 3)) @ net.folded.weight.reshape(4, 64),
                folded=nn.Linear(16, 16),
            ),
            "its axes are not (filters, inputs)",
        ),
        (
            one_layer(
                lambda _, x: torch.zeros_like(x).scatter_add(1, torch.zeros(2, 4, 4, 4).long(), x)
            ),
            "scatter_add in the model's own forward: no rule",
        ),
        (
            one_layer(lambda net, x: F.conv2d(x, net.wide.weight * 2), wide=nn.Conv2d(4, 64, 1)),
            "its weight is computed",
        ),
        (
            one_layer(
                lambda net, x: F.conv2d(x, torch.cat([net.a.weight, net.b.weight])),
                a=nn.Conv2d(4, 4, 1),
                b=nn.Conv2d(4, 4, 1),
            ),
            "its weight is put together from several tensors",
        ),
    ],
    ids=[
        "no rule",
        "item",
        "bilinear",
        "complex",
        "folded",
        "scatter_add",
        "scaled",
        "two weights",
    ],
)
def test_refusals(net: nn.Module, reason: str) -> None:
    wiring = trace(net, X)
    assert reason in wiring["conv"].refused
    assert not wiring["conv"].is_head
    assert wiring["head"].is_head
    assert wiring["head"].refused == ""


def test_what_leaves_torch_is_refused() -> None:
    net = one_layer(lambda _, x: torch.from_numpy(x.numpy()))
    assert "no layer reads it on this example" in trace(net, X)["conv"].refused


def test_a_kernel_that_depends_on_the_input_is_refused() -> None:
    def run(net: nn.Module, x: Tensor) -> Tensor:
        kernel = net.kernel(x.mean((0, 2, 3))).view(16, 4, 1, 1)
        return net.head(F.conv2d(net.conv(x), kernel).flatten(1))

    net = Forward(run, conv=nn.Conv2d(3, 4, 3), kernel=nn.Linear(3, 64), head=nn.Linear(256, 2))
    wiring = trace(net, X)
    assert "its weight is computed" in wiring["conv"].refused
    assert wiring["kernel"].refused == wiring["conv"].refused


def test_a_weight_that_is_also_used_otherwise_is_refused() -> None:
    def run(net: nn.Module, x: Tensor) -> Tensor:
        return net.head(net.shared(net.conv(x).mean((2, 3))) + net.shared.weight.sum())

    net = Forward(run, conv=nn.Conv2d(3, 4, 3), shared=nn.Linear(4, 5), head=nn.Linear(5, 2))
    wiring = trace(net, X)
    assert wiring["shared"].refused == "sum in the model's own forward uses its weight too"
    assert wiring["conv"].refused == ""


def test_a_weight_in_two_layouts_is_refused() -> None:
    def run(net: nn.Module, x: Tensor) -> Tensor:
        hidden = F.relu(net.code(net.conv(x)))
        return net.head(F.conv_transpose2d(hidden, net.code.weight).flatten(1))

    net = Forward(run, conv=nn.Conv2d(3, 4, 3), code=nn.Conv2d(4, 5, 1), head=nn.Linear(64, 2))
    wiring = trace(net, X)
    assert "another layout" in wiring["code"].refused
    assert wiring["conv"].refused == ""


def test_a_rule_that_fails_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(call: Call, record: Record) -> None:
        raise ValueError("a form that nobody has seen\nand more")

    monkeypatch.setattr(rules, "pointwise", failing)
    wiring = trace(one_layer(lambda _, x: x * 2), X)
    assert wiring["conv"].refused == (
        "mul in the model's own forward: its rule failed with ValueError: a form that nobody has seen"
    )
    assert wiring["head"].is_head
    behind = Forward(lambda net, x: net.conv(x) * 2, conv=nn.Conv2d(3, 4, 3))
    assert trace(behind, X)["conv"].is_head, "the output depends on it all the same"
