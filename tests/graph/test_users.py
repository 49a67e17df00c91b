"""Who uses a tensor: what a trace sees, in a layer's place, in a norm's, and anywhere else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from graph.nets import Forward
from regrow.graph import Wiring, streams_of, trace
from regrow.graph.users import User, others, with_several

X = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))
Run = Callable[[nn.Module, Tensor], object]


def headed(net: nn.Module, x: Tensor) -> Tensor:
    return net.head(net.b(F.relu(x)).mean((2, 3)))


def plain(net: nn.Module, x: Tensor) -> Tensor:
    return headed(net, net.a(x))


def build(run: Run = plain, **layers: nn.Module) -> nn.Module:
    return Forward(
        run, **{"a": nn.Conv2d(3, 4, 3), "b": nn.Conv2d(4, 4, 3), "head": nn.Linear(4, 2), **layers}
    )


def traced(net: nn.Module) -> Wiring:
    return trace(net, X)


@pytest.mark.parametrize(
    ("use", "who"),
    [
        (lambda net, x: headed(net, net.a(x) * net.a.bias.sum()), "sum in the model's own forward"),
        (
            lambda net, x: headed(net, net.a(x) + net.a.bias.view(-1, 1, 1).relu()),
            "relu in the model's own forward",
        ),
        (
            lambda net, x: headed(net, net.a(F.interpolate(net.a.bias.view(1, 1, 4), 6) + x)),
            "upsample_nearest1d in the model's own forward",
        ),
        (lambda net, x: {"out": plain(net, x), "more": [net.a.bias[1:]]}, "the model's output"),
        (
            lambda net, x: plain(net, x) if not net.training else plain(net, x) * net.a.bias.norm(),
            "linalg_vector_norm in the model's own forward",
        ),
        (lambda net, x: plain(net, x) * float(net.a.bias[0]), "_local_scalar_dense in the model's"),
    ],
    ids=["a sum", "a function", "a resized copy", "the output", "in training", "read by Python"],
)
def test_a_bias_that_something_else_takes_is_told(use: Run, who: str) -> None:
    wiring = traced(build(use))
    assert list(wiring.shared) == ["a.bias"]
    (other,) = set(wiring.shared["a.bias"]) - {"a"}
    assert other.startswith(who)
    assert "note: a.bias is used by " in str(wiring)


@pytest.mark.parametrize(
    "run",
    [
        plain,
        lambda net, x: headed(net, net.a(x) + net.a(2 * x)),
        lambda net, x: headed(net, F.conv2d(x, net.a.weight, net.a.bias)),
        lambda net, x: headed(net, net.a(x.to(net.a.bias.dtype)) + torch.zeros_like(net.a.bias[0])),
        lambda net, x: headed(net, net.a.to(memory_format=torch.channels_last)(x)),
    ],
    ids=["called", "called twice", "called by hand", "asked for its type", "in another layout"],
)
def test_a_layer_that_is_called_in_one_place_is_one_user(run: Run) -> None:
    assert traced(build(run)).shared == {}


def test_a_bias_that_torch_adds_behind_the_product_is_the_layers_own() -> None:
    """As it does for three axes that are not contiguous."""

    def run(net: nn.Module, x: Tensor) -> Tensor:
        return net.head(F.relu(net.a(x.flatten(2).transpose(1, 2)))).mean(1)

    wiring = traced(Forward(run, a=nn.Linear(3, 4), head=nn.Linear(4, 2)))
    assert (wiring["a"].bias, wiring["a"].biased, wiring.shared) == ("a.bias", (), {})


def test_parameters_side_by_side_in_one_storage_are_apart() -> None:
    net = build()
    room = torch.randn(sum(each.numel() for each in net.parameters()))
    start = 0
    for name, each in list(net.named_parameters()):
        owner, _, last = name.rpartition(".")
        view = room[start : start + each.numel()].view(each.shape)
        setattr(net.get_submodule(owner), last, nn.Parameter(view))
        start += each.numel()
    wiring = traced(net)
    assert (wiring.shared, wiring["a"].bias, wiring["b"].bias) == ({}, "a.bias", "b.bias")


def test_parameters_that_overlap_are_one_anothers() -> None:
    net, room = build(), torch.randn(6)
    net.a.bias, net.b.bias = nn.Parameter(room[:4]), nn.Parameter(room[2:])
    wiring = traced(net)
    assert {"a", "convolution in 'b'"} <= set(wiring.shared["a.bias"])
    # What lies in its own bias's place is in part another's: it is not for this layer to write.
    assert (wiring["b"].bias, wiring["b"].biased) == (None, ("a parameter 'a.bias'",))


def test_parts_of_one_bias_belong_to_no_layer() -> None:
    def run(net: nn.Module, x: Tensor) -> Tensor:
        x = F.relu(F.conv2d(x, net.a.weight, net.both[:4]))
        return net.head(F.conv2d(x, net.b.weight, net.both[4:]).mean((2, 3)))

    net = build(run)
    net.both = nn.Parameter(torch.randn(8))
    wiring = traced(net)
    assert [wiring[path].bias for path in "ab"] == [None, None]
    assert [wiring[path].biased for path in "ab"] == [("a parameter 'both'",)] * 2


def test_a_bias_that_is_computed_is_told() -> None:
    net = build(lambda net, x: headed(net, F.conv2d(x, net.a.weight, 2 * net.a.bias)))
    layer = traced(net)["a"]
    assert layer.bias is None
    assert layer.biased == ("what mul in the model's own forward gives",)


def test_norms_that_share_parameters_keep_their_own_statistics_apart() -> None:
    def run(net: nn.Module, x: Tensor) -> Tensor:
        return net.head(F.relu(net.m(net.b(F.relu(net.n(net.a(x)))))).mean((2, 3)))

    net = build(run, n=nn.BatchNorm2d(4), m=nn.BatchNorm2d(4))
    net.m.weight, net.m.bias = net.n.weight, net.n.bias
    wiring = traced(net)
    assert [wiring[path].norms[0].path for path in "ab"] == ["n", "m"]
    assert wiring["b"].norms[0].running_var == "m.running_var"
    names = [f"{norm}.{last}" for last in ("weight", "bias") for norm in ("n", "m")]
    assert wiring.shared == dict.fromkeys(names, ("n", "m"))


def test_filters_that_one_norm_sees_in_two_calls_are_one_stream() -> None:
    """Nobody reads them together; and yet resetting the entry of one resets the other's."""

    def run(net: nn.Module, x: Tensor) -> Tensor:
        first, second = net.n(net.a(x)).relu(), net.n(net.c(x)).relu()
        return net.head((net.b(first) + net.d(second)).mean((2, 3)))

    net = build(run, n=nn.BatchNorm2d(4), c=nn.Conv2d(3, 4, 3), d=nn.Conv2d(4, 4, 3))
    wiring = traced(net)
    assert wiring.shared == {}
    assert (("a", 1), ("c", 1)) in streams_of(wiring)


def test_users_in_words() -> None:
    tied, by_hand = User("b", "b"), User("b", "")
    users = {
        "alone": [tied],
        "bias": [User("a", "a"), User("c", "c")],
        "weight": [tied, by_hand, User("b", "block")],
        "by hand": [User("a", ""), User("c", "")],
        "taken": [tied, User("", "mul in 'x'")],
        "looked into": [tied],
        "looking": [],
    }
    overlaps = dict.fromkeys(("looked into", "looking"), ("looked into", "looking"))
    assert with_several(users, overlaps) == {
        "bias": ("a", "c"),
        "weight": ("b", "the model's own forward", "block"),
        "by hand": ("a", "c"),
        "taken": ("b", "mul in 'x'"),
    }
    assert others(("a", "b", "c"), "b") == "a and c"
    assert others(("a", "b", "c"), "") == "a, b and c"
    assert others(("a", "b"), "a") == "b"
