from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from crossed import seldom
from graph.nets import FOLLOWED, Forward, build, crater, example, resnet
from graph.oracle import check_filter, check_wiring
from regrow.errors import TraceError
from regrow.graph import Wiring, trace, unwrap


@pytest.mark.parametrize("name", seldom(FOLLOWED, often=set(FOLLOWED) - {"resnet"}))
def test_every_reader_is_found_and_no_other(name: str) -> None:
    net = build(name)
    wiring = trace(net, example(name))
    assert not wiring.remarks
    assert all(not layer.refused for layer in wiring.layers)
    assert check_wiring(net, example(name, count=6, seed=3), wiring, per_layer=2) >= 2


def test_the_oracle_sees_a_reader_that_is_missing() -> None:
    net = build("resnet")
    layer = trace(net, example("resnet"))["0"]
    x = example("resnet", count=6)
    check_filter(net, x, layer, 0)
    for reader in layer.readers:
        without = replace(layer, readers=tuple(each for each in layer.readers if each != reader))
        with pytest.raises(AssertionError, match=r"past its readers|is not among"):
            check_filter(net, x, without, 0)


def test_the_oracle_sees_a_channel_that_is_wrong() -> None:
    net = build("crater")
    layer = trace(net, example("crater"))["0"]
    (reader,) = layer.readers
    for wrong in (((1,), (1,), (2,), (3,)), ((0, 1), (1,), (2,), (3,))):
        alone = tuple(tuple(True for _ in entries) for entries in wrong)
        altered = replace(layer, readers=(replace(reader, channels=wrong, alone=alone),))
        with pytest.raises(AssertionError):
            check_filter(net, example("crater", count=6), altered, 0)


def channels(wiring: Wiring, writer: str, reader: str) -> tuple[tuple[int, ...], ...]:
    (found,) = [each for each in wiring[writer].readers if each.path == reader]
    return found.channels


def test_a_sequential_net_in_numbers() -> None:
    wiring = trace(crater(), torch.zeros(1, 3, 8, 8))
    assert list(wiring) == ["0", "2", "5", "7"]
    first, second, third, last = wiring.layers
    assert (first.kind, first.count, first.weight, first.bias) == ("conv", 4, "0.weight", "0.bias")
    assert (first.weight_shape, first.groups, first.initialiser) == (
        (4, 3, 3, 3),
        1,
        "torch_default",
    )
    assert channels(wiring, "0", "2") == ((0,), (1,), (2,), (3,))
    assert channels(wiring, "2", "5") == tuple(tuple(range(16 * k, 16 * k + 16)) for k in range(5))
    assert second.readers[0].kind == "linear"
    assert second.readers[0].alone == ((True,) * 16,) * 5
    assert third.readers[0].path == "7"
    assert [layer.is_head for layer in wiring.layers] == [False, False, False, True]
    assert last.readers == ()
    assert all(layer.coupled == layer.refused == "" for layer in wiring.layers)


def test_the_norm_of_a_convolution_belongs_to_it() -> None:
    wiring = trace(build("conv_bn_pool"), example("conv_bn_pool"))
    (norm,) = wiring["0"].norms
    assert (norm.path, norm.kind) == ("1", "batch_norm")
    assert (norm.weight, norm.bias) == ("1.weight", "1.bias")
    assert (norm.running_mean, norm.running_var) == ("1.running_mean", "1.running_var")
    assert norm.channels == ((0,), (1,), (2,), (3,))
    assert wiring["0"].bias is None


def test_norms_behind_a_concatenation_are_shared_out() -> None:
    wiring = trace(build("dense_concat"), example("dense_concat"))
    assert [norm.path for norm in wiring["a"].norms] == ["bn", "bn2"]
    assert wiring["a"].norms[1].channels == ((0,), (1,), (2,), (3,))
    assert wiring["b"].norms[0].channels == ((4,), (5,), (6,))


def test_a_norm_behind_a_sum_belongs_to_no_one() -> None:
    def run(net: nn.Module, x: Tensor) -> Tensor:
        return net.head(net.bn(net.a(x) + net.b(x)).mean((2, 3)))

    net = Forward(
        run, a=nn.Conv2d(3, 4, 1), b=nn.Conv2d(3, 4, 1), bn=nn.BatchNorm2d(4), head=nn.Linear(4, 2)
    )
    wiring = trace(net, torch.zeros(1, 3, 4, 4))
    assert wiring["a"].norms == wiring["b"].norms == ()
    assert wiring["a"].readers[0].alone == ((False,),) * 4


def test_a_residual_stream_is_coupled_and_says_with_whom() -> None:
    wiring = trace(build("resnet"), example("resnet"))
    assert wiring["2.conv2"].coupled == "summed with 0"
    assert wiring["3.conv2"].coupled == "summed with 3.down.0"
    assert wiring["2.conv1"].coupled == ""
    assert {reader.path for reader in wiring["0"].readers} == {"2.conv1", "3.conv1", "3.down.0"}
    by_path = {reader.path: reader for reader in wiring["0"].readers}
    assert by_path["2.conv1"].alone == ((True,),) * 4
    assert by_path["3.conv1"].alone == ((False,),) * 4
    assert not wiring["0"].is_head


def test_a_gate_couples_what_it_multiplies() -> None:
    wiring = trace(build("squeeze_and_excite"), example("squeeze_and_excite"))
    assert wiring["conv"].coupled == "multiplied with up"
    assert wiring["up"].coupled == "multiplied with conv"
    assert channels(wiring, "up", "last") == ((0,), (1,), (2,), (3,))


def test_a_mixing_operation_is_named() -> None:
    wiring = trace(build("channel_layer_norm"), example("channel_layer_norm"))
    assert wiring["depthwise"].coupled == "mixed by native_layer_norm in 'norm'"
    assert channels(wiring, "depthwise", "grow") == ((0, 1, 2, 3),) * 4
    assert wiring["depthwise"].norms[0].kind == "layer_norm"
    assert wiring["depthwise"].norms[0].channels == ((0,), (1,), (2,), (3,))


def test_padding_and_shuffling_move_channels() -> None:
    wiring = trace(build("resnet_option_a"), example("resnet_option_a"))
    assert channels(wiring, "0", "4") == ((2,), (3,), (4,), (5,))
    by_path = {reader.path: reader for reader in wiring["1.conv2"].readers}
    assert [flags[0] for flags in by_path["4"].alone] == [True] * 2 + [False] * 4 + [True] * 2


def test_a_tied_layer_is_one_layer_that_reads_itself() -> None:
    wiring = trace(build("tied"), example("tied"))
    assert list(wiring) == ["stem", "shared", "head"]
    assert {reader.path for reader in wiring["shared"].readers} == {"shared", "head"}


def test_a_shared_parameter_has_one_name() -> None:
    first, second = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
    second.weight = first.weight
    net = nn.Sequential(first, nn.ReLU(), second, nn.Flatten(), nn.Linear(3 * 16, 2))
    wiring = trace(net, torch.zeros(1, 3, 4, 4))
    assert list(wiring) == ["0", "4"]


@dataclass
class Answer:
    logits: Tensor
    features: list[Tensor]


@pytest.mark.parametrize("form", ["dict", "tuple", "dataclass"])
def test_every_part_of_a_nested_output_is_a_head(form: str) -> None:
    def run(net: nn.Module, x: Tensor) -> object:
        seen = net.b(F.relu(net.a(x)))
        logits = net.head(seen.mean((2, 3)))
        if form == "dict":
            return {"logits": logits, "more": {"seen": (seen,)}}
        return (logits, [seen]) if form == "tuple" else Answer(logits, [seen])

    net = Forward(run, a=nn.Conv2d(3, 4, 3), b=nn.Conv2d(4, 5, 3), head=nn.Linear(5, 2))
    wiring = trace(net, torch.zeros(1, 3, 8, 8))
    assert [layer.is_head for layer in wiring.layers] == [False, True, True]
    assert wiring["b"].readers[0].path == "head"


def test_layers_that_never_run_are_listed() -> None:
    class Spare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Conv2d(3, 4, 3)
            self.spare = nn.Conv2d(4, 2, 1)
            self.head = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.body(x).mean((2, 3)))

    wiring = trace(Spare(), torch.zeros(1, 3, 8, 8))
    assert list(wiring) == ["body", "head"]
    (remark,) = wiring.remarks
    assert remark.startswith("not traced: spare (not run in either mode, ")


def test_wrappers_are_looked_through() -> None:
    net = resnet()
    wrapped = nn.DataParallel(net)
    assert unwrap(wrapped) is net
    assert trace(wrapped, torch.zeros(1, 3, 8, 8)) == trace(net, torch.zeros(1, 3, 8, 8))


def test_a_compiled_net_is_looked_through() -> None:
    net = resnet()
    compiled = torch.compile(net, backend="eager")
    assert unwrap(nn.DataParallel(compiled)) is net
    assert trace(compiled, torch.zeros(1, 3, 8, 8)) == trace(net, torch.zeros(1, 3, 8, 8))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_number_of_examples_does_not_matter(count: int) -> None:
    net = build("encoder_decoder")
    assert trace(net, example("encoder_decoder", count=count)) == trace(
        net, example("encoder_decoder")
    )


@pytest.mark.parametrize(
    "name",
    seldom(
        ["resnet", "split_and_shuffle", "in_place", "self_attention"], often=["split_and_shuffle"]
    ),
)
def test_memory_format_precision_and_device_do_not_matter(name: str) -> None:
    expected = trace(build(name), example(name))
    net = copy.deepcopy(build(name)).to(memory_format=torch.channels_last)
    x = example(name).contiguous(memory_format=torch.channels_last)
    assert trace(net, x) == expected
    if name != "in_place":  # it makes a tensor on the default device
        elsewhere = trace(copy.deepcopy(net).to("meta"), x.to("meta"))
        assert [layer.readers for layer in elsewhere.layers] == [
            layer.readers for layer in expected.layers
        ]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert trace(net.float(), x.float()).layers[0] == expected.layers[0]


def test_a_net_made_in_inference_mode_is_followed() -> None:
    with torch.inference_mode():
        net, x = crater(), torch.zeros(1, 3, 8, 8)
        assert trace(net, x) == trace(crater(), torch.zeros(1, 3, 8, 8))


@pytest.mark.parametrize("form", ["tuple", "list", "dict"])
def test_several_inputs(form: str) -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.head = nn.Conv2d(3, 4, 3), nn.Conv2d(1, 2, 3), nn.Linear(6, 2)

        def forward(self, image: Tensor, mask: Tensor) -> Tensor:
            return self.head(torch.cat([self.a(image), self.b(mask)], 1).mean((2, 3)))

    image, mask = torch.zeros(1, 3, 6, 6), torch.zeros(1, 1, 6, 6)
    inputs = {"tuple": (image, mask), "list": [image, mask], "dict": {"mask": mask, "image": image}}
    wiring = trace(Two(), inputs[form])
    assert channels(wiring, "b", "head") == ((4,), (5,))


def test_the_inputs_are_not_written_to() -> None:
    net = Forward(
        lambda net, x: net.head(net.conv(x.sub_(1)).mean((2, 3))),
        conv=nn.Conv2d(3, 4, 3),
        head=nn.Linear(4, 2),
    )
    x = torch.ones(1, 3, 4, 4)
    trace(net, x)
    assert torch.equal(x, torch.ones(1, 3, 4, 4))


class Failing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise KeyError("missing")


@pytest.mark.parametrize(
    ("make", "x", "message"),
    [
        (
            lambda: nn.Sequential(nn.Conv2d(3, 2, 1), nn.Sequential(Failing())),
            torch.zeros(1, 3, 4, 4),
            r"module '1\.0' \(Failing\) raised KeyError: 'missing'",
        ),
        (Failing, torch.zeros(1, 3), r"the model's own forward raised KeyError"),
        (
            crater,
            torch.zeros(1, 3, 9, 9),
            r"module '5' \(Linear\) raised RuntimeError: mat1 and mat2",
        ),
        (nn.Flatten, torch.zeros(1, 3), "must have a convolution or a linear layer"),
        (
            lambda: nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 1)),
            torch.zeros(1, 3, 4, 4),
            "its weight is computed",
        ),
        (
            lambda: nn.Sequential(nn.LazyConv2d(2, 1)),
            torch.zeros(1, 3, 4, 4),
            "0.weight has none yet",
        ),
        (crater, "images", "example inputs must be a tensor, .*, got str"),
        (crater, None, "example inputs must be a tensor, .*, got NoneType"),
        (
            lambda: Forward(lambda net, x: net.conv(x).shape[0], conv=nn.Conv2d(3, 2, 1)),
            torch.zeros(1, 3, 4, 4),
            "output must hold a tensor, got int",
        ),
    ],
)
def test_what_cannot_be_traced_is_said(
    make: Callable[[], nn.Module], x: object, message: str
) -> None:
    with pytest.raises(TraceError, match=message) as caught:
        trace(make(), x)
    if "raised" in message:
        assert caught.value.__cause__ is not None


@pytest.mark.parametrize(
    ("over", "coupled", "mixed"),
    [
        (lambda x: x.sum(1), "summed with each other", ""),
        (lambda x: F.glu(x, 1), "multiplied with each other", ""),
        (
            lambda x: x * x.square().mean(1, keepdim=True).rsqrt(),
            "summed with each other; mixed by mul",
            "mixed by mul in the model's own forward",
        ),
        (lambda x: x.amax(1), "mixed by amax in the model's own forward", None),
        (lambda x: F.layer_norm(x.movedim(1, -1), (4,)), "mixed by native_layer_norm", None),
        (lambda x: F.group_norm(x, 2), "shares its group's statistics in native_group_norm", None),
        (lambda x: F.batch_norm(x, torch.ones(4).double(), torch.ones(4).double()), "", ""),
    ],
    ids=["sum", "gate", "root mean square", "maximum", "layer norm", "group norm", "batch norm"],
)
def test_what_brings_filters_together_is_named(
    over: Callable[[Tensor], Tensor], coupled: str, mixed: str | None
) -> None:
    conv, x = nn.Conv2d(3, 4, 3).double(), example("crater")
    width = over(conv(x)).flatten(1).shape[1]
    net = Forward(
        lambda net, x: net.head(over(net.conv(x)).flatten(1)), conv=conv, head=nn.Linear(width, 2)
    )
    layer = trace(net.double(), x)["conv"]
    assert layer.coupled.startswith(coupled)
    assert layer.mixed == (layer.coupled if mixed is None else mixed)
