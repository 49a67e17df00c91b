"""A network's products with weights, one after the other, each of which can be made to give what it gave before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_unflatten

from oracle.products import TWO_FACTORS, Entries, Product, Weight, convolution, matrix_product

_NORMS = {
    "native_group_norm",
    "native_layer_norm",
    "native_batch_norm",
    "_native_batch_norm_legit",
    "_native_batch_norm_legit_no_training",
}

_SHAPES_ONLY = (
    "zeros_like",
    "ones_like",
    "empty_like",
    "full_like",
    "new_zeros",
    "new_ones",
    "new_empty",
    "new_full",
)


_NAMES: dict[Any, str] = {}


@dataclass(frozen=True)
class Seen:
    """What one run showed.

    Attributes:
        inputs: What each product was given.
        actual: What it worked out from that, whatever it was made to give.
        outputs: The model's.
        normed: What each normalisation was given.
        actual_normed: What it worked out.
    """

    inputs: list[Tensor]
    actual: list[Tensor]
    outputs: list[Tensor]
    normed: list[Tensor]
    actual_normed: list[Tensor]


Outputs = Callable[[nn.Module, Any], Any]
Change = Callable[[int, Tensor], Tensor]


@dataclass
class Stage:
    """A network, its inputs, and its products as they were recorded.

    Attributes:
        net: In float64. Its tensors may be changed between runs.
        args: Positional arguments.
        outputs: What of the network and of what it returns is looked at.
        training: In training mode.
        products: In order.
        statistics: Of every group normalisation.
        factors: Of every operation that may be a product, where its two factors stand; None: it is none.
        biases: That were added to products afterwards.
        norms: Of every normalisation the axes along which its numbers lie, and what it gave.
        memo: What was found out about this record.
    """

    net: nn.Module
    args: tuple[Any, ...]
    outputs: Outputs = lambda net, out: out
    training: bool = False
    products: list[Product] = field(default_factory=list)
    statistics: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    factors: list[tuple[str, tuple[int, int] | None]] = field(default_factory=list)
    biases: list[Tensor] = field(default_factory=list)
    norms: list[tuple[tuple[int, ...], Tensor]] = field(default_factory=list)
    memo: dict[Any, Any] = field(default_factory=dict)

    def record(self, draw: Callable[[Tensor], Tensor] | None = None) -> Seen:
        """Run, and keep what every product gives, or what is drawn in its place."""
        self.products, self.statistics, self.factors = [], [], []
        self.biases, self.norms, self.memo = [], [], {}
        return self._run(_Recording(self, draw))

    def replay(
        self,
        *,
        change: Change | None = None,
        mute: Change | None = None,
        actual: bool = False,
        args: tuple[Any, ...] | None = None,
    ) -> Seen:
        """Run with every product giving what it gave.

        Args:
            change: From a product's number and what it gave to what it gives now.
            mute: From a product's number and its input to what it works on, for `actual`.
            actual: Work out what products and normalisations would give; these give what they gave too.
            args: Instead of the recorded ones.
        """
        mode = _Replaying(self, change, mute, actual)
        seen = self._run(mode, self.args if args is None else args)
        assert len(seen.inputs) == len(self.products), "another run had other products"
        return seen

    def _run(self, mode: _Mode, args: tuple[Any, ...] | None = None) -> Seen:
        flat, spec = tree_flatten(self.args if args is None else args)
        given = [each.clone() if isinstance(each, Tensor) else each for each in flat]
        mode.begin(self.net, [each for each in given if isinstance(each, Tensor)])
        with torch.no_grad(), _same_again(self.net) if self.training else nullcontext(), mode:
            out = self.net(*tree_unflatten(given, spec))
        outputs = [each.detach().clone() for each in _tensors(self.outputs(self.net, out))]
        return Seen(mode.inputs, mode.actual, outputs, mode.normed, mode.actual_normed)


@contextmanager
def _same_again(net: nn.Module) -> Iterator[None]:
    """Training mode, in which a run leaves nothing behind and draws what all runs draw."""
    kept = {name: each.clone() for name, each in net.named_buffers()}
    net.train()
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            yield
    finally:
        net.eval()
        for name, each in net.named_buffers():
            each.copy_(kept[name])


class _Mode(TorchDispatchMode):
    """Sees every operation; products and group norms are told apart."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.stage = stage
        self.inputs: list[Tensor] = []
        self.actual: list[Tensor] = []
        self.groups = 0
        self.normed: list[Tensor] = []
        self.actual_normed: list[Tensor] = []
        self._made_last: Tensor | None = None

    def begin(self, net: nn.Module, given: Sequence[Tensor]) -> None:
        """The run begins."""

    def _is_bias(self, args: tuple[Any, ...]) -> bool:
        """A vector of numbers added straight to a product: torch does so where a linear layer's input is not dense."""
        last = self._made_last
        if last is None or not isinstance(args[1], Tensor) or args[1].ndim != 1:
            return False
        self._made_last = None
        return _memory(args[0]) == _memory(last) and args[0].shape[-1] == len(args[1])

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        name = _NAMES.get(func) or _NAMES.setdefault(func, func._schema.name.partition("::")[2])
        if name in _NORMS:
            out = self.norm(name, func, args, kwargs or {})
        elif name == "convolution" or name in TWO_FACTORS:
            out = self.product(name, func, args, kwargs or {})
            self._made_last = out
        elif name in {"add", "add_"} and self._is_bias(args):
            out = self.bias(func, args)
        else:
            out = func(*args, **(kwargs or {}))
        self.follow(name, args, kwargs, out)
        return out

    def bias(self, func: Any, args: tuple[Any, ...]) -> Tensor:
        return func(*args)

    def norm(self, name: str, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """A normalisation with numbers of its own for every channel."""
        self.normed.append(args[0].detach().clone())
        return self._group_norm(*args) if name == "native_group_norm" else func(*args, **kwargs)

    def follow(self, name: str, args: object, kwargs: object, out: object) -> None:
        """An operation was run."""

    def product(
        self, name: str, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Tensor:
        raise NotImplementedError

    def _group_norm(
        self, x: Tensor, weight: Tensor | None, bias: Tensor | None, *sizes: Any
    ) -> tuple[Tensor, Tensor, Tensor]:
        """With the mean and deviation of the recorded run: a channel that moves them moves nobody else by that."""
        groups, eps = sizes[3], sizes[4]
        if isinstance(self, _Recording):
            parts = x.reshape(x.shape[0], groups, -1)
            spread = (parts.var(-1, unbiased=False, keepdim=True) + eps).rsqrt()
            self.stage.statistics.append((parts.mean(-1, keepdim=True), spread))
        mean, spread = self.stage.statistics[self.groups]
        self.groups += 1
        out = ((x.reshape(x.shape[0], groups, -1) - mean) * spread).reshape(x.shape)
        line = (1, -1, *(1,) * (x.ndim - 2))
        out = out if weight is None else out * weight.reshape(line)
        return out if bias is None else out + bias.reshape(line), mean, spread


class _Recording(_Mode):
    def __init__(self, stage: Stage, draw: Callable[[Tensor], Tensor] | None) -> None:
        super().__init__(stage)
        self._draw = draw
        self._entries = Entries(stage.net)

    def norm(self, name: str, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        out = super().norm(name, func, args, kwargs)
        last = len(args[1]) if name == "native_layer_norm" else 0
        axes = tuple(range(args[0].ndim - last, args[0].ndim)) if last else (1,)
        self.stage.norms.append((axes, out[0].detach().clone()))
        return out

    def bias(self, func: Any, args: tuple[Any, ...]) -> Tensor:
        self.stage.biases.append(args[1].detach().clone())
        return func(*args)

    def begin(self, net: nn.Module, given: Sequence[Tensor]) -> None:
        """What depends on the inputs, and what on parameters, by memory; kept, so that no memory is used again."""
        self._live = {_memory(each): each for each in given}
        self._made = {_memory(each): each for each in net.parameters()}

    def follow(self, name: str, args: object, kwargs: object, out: object) -> None:
        if name.rstrip("_") in _SHAPES_ONLY:
            return
        flowing = [_memory(each) for each in _tensors((args, kwargs))]
        for noted in (self._live, self._made):
            if any(each in noted for each in flowing):
                noted.update({_memory(each): each for each in _tensors(out)})

    def factors(self, name: str, args: tuple[Any, ...]) -> tuple[int, int] | None:
        """Places of an input, and of a weight: that depends on parameters alone, and an input does not."""
        places = (0, 1) if name == "convolution" else TWO_FACTORS[name]
        for x, weight in (places, places[::-1]):
            given, memory = _memory(args[x]), _memory(args[weight])
            is_input = given in self._live or given not in self._made
            if is_input and memory in self._made and memory not in self._live:
                return x, weight
        return None

    def product(
        self, name: str, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Tensor:
        out = func(*args, **kwargs)
        factors = self.factors(name, args)
        self.stage.factors.append((name, factors))
        if factors is None:
            return out
        x, weight = factors
        number, lines = len(self.stage.products), self._entries.lines(args[weight])
        told = Weight(self._entries, number, lines)
        if name == "convolution":
            product = convolution(told, args, out)
        else:
            product = matrix_product(told, args[x], args[weight], out, weight_first=x > weight)
        self.inputs.append(product.given)
        self.actual.append(out)
        if self._draw is not None:
            product.gave = self._draw(product.gave)
        self.stage.products.append(product)
        return product.gave.clone()


class _Replaying(_Mode):
    def __init__(
        self, stage: Stage, change: Change | None, mute: Change | None, actual: bool
    ) -> None:
        super().__init__(stage)
        self._change, self._mute, self._actual = change, mute, actual
        self._factors = iter(stage.factors)
        self._biases = iter(stage.biases)

    def norm(self, name: str, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        out = super().norm(name, func, args, kwargs)
        if not self._actual:
            return out
        self.actual_normed.append(out[0])
        return (self.stage.norms[len(self.normed) - 1][1].clone(), *out[1:])

    def bias(self, func: Any, args: tuple[Any, ...]) -> Tensor:
        """It is part of what the product gives, which is what it was."""
        if self._actual:
            self.actual[-1] = self.actual[-1] + args[1]
        return func(args[0], next(self._biases))

    def product(
        self, name: str, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Tensor:
        known, factors = next(self._factors, ("", None))
        assert known == name, f"another run had other operations: '{known}', not '{name}'"
        if factors is None:
            return func(*args, **kwargs)
        x, number = factors[0], len(self.inputs)
        self.inputs.append(args[x].detach().clone())
        if self._actual:
            given = list(args)
            given[x] = args[x] if self._mute is None else self._mute(number, args[x])
            self.actual.append(func(*given, **kwargs))
        gave = self.stage.products[number].gave.clone()
        return gave if self._change is None else self._change(number, gave)


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _tensors(values: object) -> list[Tensor]:
    if isinstance(values, Tensor):
        return [values]
    if isinstance(values, dict):
        values = values.values()
    elif not isinstance(values, (list, tuple)):
        return []
    return [tensor for value in values for tensor in _tensors(value)]
