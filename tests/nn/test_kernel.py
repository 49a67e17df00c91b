from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from crossed import crossed
from regrow.functional import gain_control
from regrow.nn import rows
from regrow.nn.function import GainControlFunction
from regrow.nn.kernel import controlled
from regrow.nn.traced import TracedGainControl

FORMS = [
    pytest.param(dims, relu, id=f"{dims}d{'-relu' if relu else ''}")
    for dims, relu in itertools.product((1, 2, 3), (False, True))
]
SPACE = (2, 2, 2)


@pytest.fixture(autouse=True)
def _small_ones_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("regrow.nn.kernel.SMALL", 0)


def numbers(channels: int, *, dtype: torch.dtype = torch.float64, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(channels, generator=generator, dtype=torch.float64).to(dtype) for _ in range(3)
    ]


def maps(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def saved_bytes(what: Callable[[], object], *, at_least: int) -> list[int]:
    found: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        found[tensor.untyped_storage().data_ptr()] = tensor.nbytes
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        what()
    return [each for each in found.values() if each >= at_least]


def runs_the_function(output: Tensor) -> bool:
    return type(output.grad_fn).__name__ == "GainControlFunctionBackward"


@pytest.mark.parametrize(("dims", "relu"), crossed([1, 2, 3], [False, True]))
def test_the_compiled_form_is_the_formula_with_all_its_derivatives(dims: int, relu: bool) -> None:
    k, g, b = (each.requires_grad_() for each in numbers(2))
    x = maps(2, 2, *SPACE[:dims]).requires_grad_()

    def traced(x: Tensor, k: Tensor, g: Tensor, b: Tensor) -> Tensor:
        return TracedGainControl.apply(x, k, g, b, dims, relu)[0]

    formula = gain_control(x, mean_scale=k, gain=g, bias=b, dims=dims, relu=relu)
    torch.testing.assert_close(traced(x, k, g, b), formula, rtol=1e-12, atol=1e-13)
    assert torch.autograd.gradcheck(traced, (x, k, g, b))
    assert torch.autograd.gradgradcheck(traced, (x, k, g, b))


def test_small_maps_take_the_formula_and_have_the_same_bits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    k, g, b = numbers(3, dtype=torch.float32)
    x = torch.randn(2, 3, 5, 5, requires_grad=True)
    by_node = controlled(x, mean_scale=k, gain=g, bias=b, dims=2, relu=True)
    monkeypatch.setattr("regrow.nn.kernel.SMALL", 151)
    by_formula = controlled(x, mean_scale=k, gain=g, bias=b, dims=2, relu=True)

    assert runs_the_function(by_node)
    assert not runs_the_function(by_formula)
    assert torch.equal(by_node, by_formula)


@pytest.mark.parametrize(
    ("learnt", "dims", "relu", "zero_gain"),
    crossed(
        ["all", "the gain, of one example", "all but the gain"], [2, 3, 1], *[[True, False]] * 2
    ),
)
def test_first_and_second_derivatives(learnt: str, dims: int, relu: bool, zero_gain: bool) -> None:
    numbers_of = numbers(2)
    if zero_gain:
        numbers_of[1][1] = 0.0
    batch, learn = {
        "all": ((2,), (True, True, True)),
        "the gain, of one example": ((), (False, True, False)),
        "all but the gain": ((2,), (True, False, True)),
    }[learnt]
    given = [each.requires_grad_(own) for each, own in zip(numbers_of, learn, strict=True)]
    x = maps(*batch, 2, *SPACE[:dims]).requires_grad_()

    def layer(x: Tensor, k: Tensor, g: Tensor, b: Tensor) -> Tensor:
        return controlled(x, mean_scale=k, gain=g, bias=b, dims=dims, relu=relu)

    assert runs_the_function(layer(x, *given))
    assert torch.autograd.gradcheck(layer, (x, *given))
    assert torch.autograd.gradgradcheck(layer, (x, *given))


@pytest.mark.parametrize(
    ("dims", "relu", "dtype", "chunk"),
    crossed(
        FORMS,
        [torch.float32, torch.float64, torch.bfloat16, torch.float16],
        [1, 50, rows.CHUNK],
    ),
)
def test_the_output_is_the_formulas(
    monkeypatch: pytest.MonkeyPatch, dims: int, relu: bool, dtype: torch.dtype, chunk: int
) -> None:
    monkeypatch.setattr(rows, "CHUNK", chunk)
    x = maps(5, 4, *(7, 5, 3)[:dims], dtype=dtype) * 3 + 1
    k, g, b = numbers(4, dtype=torch.promote_types(dtype, torch.float32))
    given = {"mean_scale": k, "gain": g, "bias": b, "dims": dims, "relu": relu}
    ours, formula = controlled(x, **given), gain_control(x, **given)
    assert ours.dtype == dtype
    if torch.backends.cpu.get_cpu_capability() in {"AVX2", "AVX512"}:
        assert torch.equal(ours, formula)
    wide = torch.promote_types(dtype, torch.float32)
    size = 4 * (g.abs().max() * x.to(wide).abs().max() * (1 + k.abs().max()) + b.abs().max())
    torch.testing.assert_close(ours, formula, rtol=0.0, atol=float(size * torch.finfo(dtype).eps))


@pytest.mark.parametrize(
    ("relu", "dtype", "layout", "chunk"),
    crossed(
        [False, True],
        [torch.float32, torch.bfloat16, torch.float16],
        [torch.contiguous_format, torch.channels_last],
        [1, 200, rows.CHUNK],
    ),
)
def test_gradients_are_those_of_float64(
    monkeypatch: pytest.MonkeyPatch,
    relu: bool,
    dtype: torch.dtype,
    layout: torch.memory_format,
    chunk: int,
) -> None:
    monkeypatch.setattr(rows, "CHUNK", chunk)
    x = maps(6, 4, 8, 7, dtype=dtype).to(memory_format=layout)
    come = maps(6, 4, 8, 7, dtype=dtype, seed=2).to(memory_format=layout)
    given = numbers(4, dtype=torch.float32)

    def gradients(
        kind: torch.dtype, layer: Callable[..., Tensor], passes: Tensor | None
    ) -> list[Tensor]:
        leaves = [each.to(kind).requires_grad_() for each in given]
        k, g, b = leaves
        here = x.detach().to(kind if passes is not None else dtype).requires_grad_()
        y = layer(
            here, mean_scale=k, gain=g, bias=b, dims=2, relu=False if passes is not None else relu
        )
        sent = come.to(y.dtype) if passes is None else come.double() * passes
        return list(torch.autograd.grad(y, (here, *leaves), sent))

    k, g, b = given
    through = controlled(x, mean_scale=k, gain=g, bias=b, dims=2, relu=relu)
    passes = (through > 0).double() if relu else torch.ones_like(through, dtype=torch.float64)
    exact = gradients(torch.float64, gain_control, passes)
    ours = gradients(torch.float32, controlled, None)
    assert ours[0].is_contiguous(memory_format=layout)
    for mine, right, like in zip(ours, exact, (x, *given), strict=True):
        assert mine.dtype == like.dtype
        tolerance = 8 * torch.finfo(mine.dtype).eps * float(right.abs().max()) + 1e-4 * (
            mine is not ours[0]
        )
        torch.testing.assert_close(mine.double(), right, rtol=0.0, atol=tolerance)


def test_what_is_saved() -> None:
    x = maps(8, 4, 16, 16, dtype=torch.float32).requires_grad_()
    k, g, b = (each.requires_grad_() for each in numbers(4, dtype=torch.float32))
    fixed = g.detach()

    def saved(gain: Tensor, *, relu: bool, bias: Tensor = b) -> list[int]:
        def run() -> Tensor:
            return controlled(x, mean_scale=k, gain=gain, bias=bias, dims=2, relu=relu)

        return saved_bytes(run, at_least=1000)

    assert saved(g, relu=False) == [x.nbytes]
    assert saved(fixed, relu=False) == []
    assert saved(g, relu=True) == [x.nbytes]
    assert saved(fixed, relu=True) == [x.nbytes]

    node = controlled(x, mean_scale=k, gain=g, bias=b, dims=2, relu=True)
    assert node.grad_fn.saved_tensors[0].data_ptr() == node.data_ptr()
    beside = controlled(x, mean_scale=k, gain=g * 1e-8, bias=b, dims=2, relu=True)
    assert beside.grad_fn.saved_tensors[0].data_ptr() == x.data_ptr()
    half = controlled(x.half(), mean_scale=k, gain=g, bias=b, dims=2, relu=True)
    assert half.grad_fn.saved_tensors[0].data_ptr() != half.data_ptr()


def test_half_of_what_batch_norm_and_relu_save() -> None:
    x = maps(8, 4, 16, 16, dtype=torch.float32).requires_grad_()
    norm = torch.nn.BatchNorm2d(4)
    k, g, b = (each.requires_grad_() for each in numbers(4, dtype=torch.float32))
    theirs = saved_bytes(lambda: norm(x).relu(), at_least=1000)
    ours = saved_bytes(
        lambda: controlled(x, mean_scale=k, gain=g, bias=b, dims=2, relu=True), at_least=1000
    )
    assert sum(ours) * 2 == sum(theirs)


def test_a_gain_of_nearly_nothing_is_still_learnt_exactly() -> None:
    x = maps(4, 3, 9, 9, dtype=torch.float32)
    k, b = torch.ones(3), torch.tensor([0.7, 0.5, 0.3])
    for gain in (0.0, 1e-12, 1e-6, 1e-3):
        found = []
        for dtype, layer in ((torch.float32, controlled), (torch.float64, gain_control)):
            g = torch.full((3,), gain, dtype=dtype, requires_grad=True)
            y = layer(
                x.to(dtype), mean_scale=k.to(dtype), gain=g, bias=b.to(dtype), dims=2, relu=True
            )
            found.append(torch.autograd.grad((y * x.to(dtype)).sum(), g)[0].double())
        torch.testing.assert_close(*found, rtol=1e-5, atol=1e-3)


def test_only_the_gradients_that_are_asked_for() -> None:
    x = maps(4, 3, 5, 5)
    k, g, b = numbers(3)
    for relu, which in itertools.product((False, True), range(4)):
        inputs = [x.clone(), k.clone(), g.clone(), b.clone()]
        inputs[which].requires_grad_()
        found = []
        for layer in (controlled, gain_control):
            y = layer(
                inputs[0], mean_scale=inputs[1], gain=inputs[2], bias=inputs[3], dims=2, relu=relu
            )
            found.append(torch.autograd.grad(y.square().sum(), inputs[which])[0])
        torch.testing.assert_close(*found)


def test_gradients_that_come_expanded_or_in_another_layout() -> None:
    x = maps(4, 3, 5, 5).requires_grad_()
    k, g, b = numbers(3)
    for come in (torch.ones(()).double().expand(4, 3, 5, 5), maps(4, 5, 5, 3).permute(0, 3, 1, 2)):
        found = [
            torch.autograd.grad(layer(x, mean_scale=k, gain=g, bias=b, dims=2), x, come)[0]
            for layer in (lambda x, **rest: controlled(x, relu=False, **rest), gain_control)
        ]
        torch.testing.assert_close(*found)


def test_batched_gradients_and_numbers_a_sample() -> None:
    x = maps(2, 3, 4).requires_grad_()
    k, g, b = numbers(3)
    y = controlled(x, mean_scale=k, gain=g, bias=b, dims=1, relu=True)
    directions = maps(5, 2, 3, 4)
    (at_once,) = torch.autograd.grad(y, x, directions, retain_graph=True, is_grads_batched=True)
    one_by_one = [torch.autograd.grad(y, x, each, retain_graph=True)[0] for each in directions]
    torch.testing.assert_close(at_once, torch.stack(one_by_one))

    own = [maps(2, 3, seed=seed).requires_grad_() for seed in range(3)]
    found = []
    for layer in (controlled, gain_control):
        y = layer(x, mean_scale=own[0], gain=own[1], bias=own[2], dims=1, relu=True)
        assert not runs_the_function(y)  # which has one number a channel
        found.append(torch.autograd.grad(y.square().sum(), (x, *own)))
    for mine, right in zip(*found, strict=True):
        torch.testing.assert_close(mine, right)


@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")
def test_forward_mode_derivatives() -> None:
    x, tangent = maps(2, 3, 4), maps(2, 3, 4, seed=5)
    k, g, b = numbers(3)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, tangent)
        y = controlled(dual, mean_scale=k, gain=g, bias=b, dims=1, relu=False)
        found = torch.autograd.forward_ad.unpack_dual(y).tangent
    right = g[:, None] * (tangent - k[:, None] * tangent.mean(-1, keepdim=True))
    torch.testing.assert_close(found, right)


def test_a_vmap_of_the_function_itself_says_what_to_use() -> None:
    x, given = maps(2, 3, 4), numbers(3)
    with pytest.raises(RuntimeError, match="setup_context"):
        torch.func.vmap(lambda x: GainControlFunction.apply(x, *given, 1, False)[0])(x)
