"""What no filter made and what yet shares channels with filters: then no filter is alone there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from graph.nets import Forward, randomised
from graph.oracle import check_alone, check_wiring
from regrow.graph import Wiring, as_one, is_shared, streams_of, trace

X = torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

Use = Callable[[nn.Module, Tensor], Tensor]


def net_of(use: Use, numbers: Tensor | None = None, **layers: nn.Module) -> nn.Module:
    """What is done with a convolution and an input (and a parameter), then a norm and a reader."""

    def run(net: nn.Module, x: Tensor) -> Tensor:
        return net.head(F.relu(net.reader(net.norm(use(net, x)))).mean((2, 3)))

    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = Forward(
            run,
            a=nn.Conv2d(3, 3, 3, padding=1),
            norm=nn.BatchNorm2d(3),
            reader=nn.Conv2d(3, 4, 3),
            head=nn.Linear(4, 2),
            **layers,
        )
    if numbers is not None:
        net.numbers = nn.Parameter(numbers)
    return randomised(net)


def judged(net: nn.Module) -> Wiring:
    wiring = trace(net, X[:1])
    check_wiring(net, X, wiring)
    return wiring


SHARED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "model's input": (
        lambda: net_of(lambda net, x: x + net.a(x).relu()),
        "summed with the model's input",
    ),
    "gated input": (
        lambda: net_of(lambda net, x: x * net.a(x).sigmoid()),
        "multiplied with the model's input",
    ),
    "refused layer": (
        lambda: net_of(
            lambda net, x: net.w(x) + net.a(x),
            w=parametrizations.weight_norm(nn.Conv2d(3, 3, 1)),
        ),
        "summed with what convolution in 'w' gives",
    ),
    "operation without a rule": (
        lambda: net_of(lambda net, x: net.a(x) + torch.fft.fft2(x).real),
        "summed with what _fft_c2c in the model's own forward gives",
    ),
    "position embedding": (
        lambda: net_of(lambda net, x: net.a(x) + net.numbers, torch.randn(1, 3, 6, 6)),
        "summed with a parameter 'numbers'",
    ),
    "embedding of rows": (
        lambda: net_of(lambda net, x: net.a(x) + net.numbers, torch.randn(6, 1)),
        "summed with a parameter 'numbers'",
    ),
    "resized embedding": (
        lambda: net_of(
            lambda net, x: net.a(x) + F.interpolate(net.numbers, (6, 6)), torch.randn(1, 3, 3, 3)
        ),
        "summed with what upsample_nearest2d in the model's own forward gives",
    ),
    "function of a parameter": (
        lambda: net_of(lambda net, x: net.a(x) + net.numbers.sin(), torch.randn(1, 3, 6, 6)),
        "summed with what sin in the model's own forward gives",
    ),
    "looked up": (
        lambda: net_of(
            lambda net, x: net.a(x) + net.places(torch.arange(6)), places=nn.Embedding(6, 6)
        ),
        "summed with what embedding in 'places' gives",
    ),
    "row of parameters": (
        lambda: net_of(
            lambda net, x: torch.cat([net.a(x), net.numbers.expand(len(x), 3, 1, 6)], 2),
            torch.randn(3, 1, 6),
        ),
        "read together with a parameter 'numbers'",
    ),
}


@pytest.mark.parametrize("name", SHARED)
def test_what_no_filter_made_is_said_and_leaves_no_filter_alone(name: str) -> None:
    make, coupled = SHARED[name]
    layer = judged(make())["a"]
    assert layer.readers[0].alone == ((False,),) * 3
    assert layer.norms == ()
    assert layer.shared_norms[0].channels == ((0,), (1,), (2,))
    assert layer.coupled == coupled
    assert layer.foreign == (True,) * 3
    assert is_shared(layer)


@pytest.mark.parametrize(
    ("use", "numbers"),
    [
        (lambda net, x: net.a(x) * net.numbers, torch.randn(3, 1, 1)),
        (lambda net, x: net.a(x) * net.numbers, torch.randn(1, 3, 6, 6)),
        (lambda net, x: net.a(x) + net.numbers, torch.randn(3, 1, 1)),
        (lambda net, x: net.a(x) + net.numbers.expand(3, 6, 6), torch.randn(3, 1, 1)),
        (lambda net, x: net.a(x) + net.numbers.repeat(1, 6, 6), torch.randn(3, 1, 1)),
        (lambda net, x: net.a(x) + net.numbers.sin(), torch.randn(3, 1, 1)),
        (lambda net, x: net.a(x) + torch.arange(3.0).view(3, 1, 1), None),
        (lambda net, x: torch.maximum(net.a(x), net.numbers), torch.randn(1)),
        (lambda net, x: F.prelu(net.a(x), net.numbers), torch.rand(3)),
        (lambda net, x: F.pad(net.a(x), (1, 1, 1, 1)) * 2 + 1, None),
        (lambda net, x: torch.cat([net.a(x), torch.zeros_like(x)], 2), None),
        (lambda net, x: net.a(x) + torch.ones_like(x), None),
        (lambda net, x: net.a(x).masked_fill(torch.eye(6).bool(), 0.0), None),
        (lambda net, x: net.a(x) if x.sum() > 0 else -net.a(x), None),
    ],
    ids=[
        *("layer scale", "scale of places", "bias", "expanded bias", "repeated bias"),
        *("computed bias", "numbered channels", "threshold"),
        *("prelu", "padding and numbers", "zeros beside", "ones", "mask", "a branch on the input"),
    ],
)
def test_factors_biases_and_constants_leave_a_filter_alone(
    use: Use, numbers: Tensor | None
) -> None:
    wiring = judged(net_of(use, numbers))
    layer = wiring["a"]
    assert layer.readers[0].alone == ((True,),) * 3
    assert layer.norms[0].channels == ((0,), (1,), (2,))
    assert (layer.coupled, layer.foreign, wiring.remarks) == ("", (), ())


def test_a_reader_that_also_reads_the_input_is_not_the_filters_alone() -> None:
    net = net_of(lambda net, x: net.a(x), again=nn.Identity())
    net._run = lambda net, x: (net.reader(x) + net.reader(net.a(x).relu())).mean((2, 3))
    layer = judged(net)["a"]
    assert layer.readers[0].alone == ((False,),) * 3
    assert layer.coupled == "read together with the model's input"


def test_an_input_that_is_concatenated_is_a_channel_of_its_own() -> None:
    net = net_of(lambda net, x: net.wide(torch.cat([x, net.a(x)], 1)), wide=nn.Conv2d(6, 3, 1))
    layer = judged(net)["a"]
    (reader,) = layer.readers
    assert (reader.channels, reader.alone) == (((3,), (4,), (5,)), ((True,),) * 3)
    assert (layer.coupled, layer.foreign) == ("", ())


def test_a_table_that_the_forward_makes_counts_where_its_numbers_change_over_places() -> None:
    """Sines of places, as in a transformer; numbers that are the same everywhere are nothing of the kind."""

    def use(net: nn.Module, x: Tensor) -> Tensor:
        return net.a(x) + torch.arange(36, dtype=x.dtype).view(6, 6).sin()

    layer = trace(net_of(use), X)["a"]
    assert (layer.coupled, layer.foreign) == (
        "summed with a table that the forward makes",
        (True,) * 3,
    )
    assert layer.readers[0].alone == ((False,),) * 3
    assert layer.norms == ()


def test_a_buffer_counts_where_it_changes_over_places() -> None:
    net = net_of(lambda net, x: net.a(x) + net.table)
    net.register_buffer("table", torch.randn(3, 6, 6, dtype=torch.float64))
    assert trace(net, X)["a"].coupled == "summed with a buffer 'table'"
    net.table = torch.randn(3, 1, 1, dtype=torch.float64)
    assert trace(net, X)["a"].readers[0].alone == ((True,),) * 3


@pytest.mark.parametrize("name", sorted(set(SHARED) - {"embedding of rows"}))
def test_the_oracle_sees_a_filter_that_is_not_alone(name: str) -> None:
    net = SHARED[name][0]()
    layer = trace(net, X)["a"]
    readers = tuple(replace(each, alone=((True,),) * 3) for each in layer.readers)
    for wrong in (
        replace(layer, readers=readers),
        replace(layer, norms=layer.shared_norms),
    ):
        with pytest.raises(AssertionError, match="do not depend on it alone"):
            check_alone(net, X, wrong, 1)


def test_a_stream_with_the_input_keeps_what_the_input_shares() -> None:
    def use(net: nn.Module, x: Tensor) -> Tensor:
        return net.a(x) + net.b(x) + F.pad(x[:, :1], (0, 0, 0, 0, 0, 2))

    wiring = judged(net_of(use, b=nn.Conv2d(3, 3, 1)))
    assert len(streams_of(wiring)) == 3
    layer = wiring["a"]
    assert layer.foreign == (True, False, False)
    whole = as_one(layer)
    assert whole.readers[0].alone == ((False,), (True,), (True,))
    assert [norm.channels for norm in whole.norms] == [((), (1,), (2,))]
    assert [norm.channels for norm in whole.shared_norms] == [((0,), (), ())]
