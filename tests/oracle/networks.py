"""What a small network of the oracle is, and the list of them all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

Run = Callable[[Any, Any], Any]


class Net(nn.Module):
    """Layers, parameters and buffers by name, and what is done with them."""

    def __init__(self, run: Callable[..., Any], **parts: nn.Module | nn.Parameter | Tensor) -> None:
        super().__init__()
        for name, part in parts.items():
            if isinstance(part, nn.Module):
                self.add_module(name, part)
            elif isinstance(part, nn.Parameter):
                self.register_parameter(name, part)
            else:
                self.register_buffer(name, part)
        self._run = run

    def forward(self, *inputs: Any) -> Any:
        return self._run(self, *inputs)


@dataclass(frozen=True)
class Network:
    """A small network of one kind.

    Attributes:
        make: Builds it.
        words: What is special about it.
        inputs: Its arguments, as shapes of random numbers, or as they are.
        really: Other arguments, which the trace does not see and the oracle works with; None = the same.
        outputs: What of the network and what it returns is looked at.
        training: It is judged in training mode as well.
        elsewhere: Changes what is neither tensor nor input and yet comes into channels.
        terms: By layer, the module whose output is what the layer's filters add to a sum: 0 while they are dropped.
        gates: Weights whose filters only scale channels.
    """

    make: Callable[[], nn.Module]
    words: str
    inputs: tuple[Any, ...] = ((3, 3, 6, 6),)
    really: tuple[Any, ...] | None = None
    outputs: Callable[[nn.Module, Any], Any] = lambda net, out: out
    training: bool = False
    elsewhere: Callable[[nn.Module], None] | None = None
    terms: Mapping[str, str] = field(default_factory=dict)
    gates: tuple[str, ...] = ()

    def build(self) -> nn.Module:
        """The network in float64, each of its entries another number."""
        with torch.random.fork_rng():
            torch.manual_seed(0)
            net = self.make().double()
            for name, each in net.named_parameters():
                if each.ndim > 1:
                    values = torch.randn_like(each) / max(1, each[0].numel()) ** 0.5 + 0.05
                else:
                    values = torch.rand_like(each) + (0.5 if name.endswith("weight") else 0.1)
                each.data.copy_(values)
            for name, each in net.named_buffers():
                if "running" in name:
                    each.copy_(torch.rand_like(each) + 0.5)
        return net.eval()

    def example(self) -> tuple[Any, ...]:
        """What it is traced with."""
        return _made(self.inputs, 1)

    def examples(self) -> tuple[Any, ...]:
        """What the oracle works with."""
        return _made(self.inputs if self.really is None else self.really, 2)


NETWORKS: dict[str, Network] = {}


def network(
    words: str, *inputs: Any, **more: Any
) -> Callable[[Callable[[], nn.Module]], Callable[[], nn.Module]]:
    """Put a function that makes a network on the list, under its name."""

    def put(make: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
        given = {"inputs": inputs} if inputs else {}
        known = NETWORKS.setdefault(make.__name__, Network(make, words, **given, **more))
        # pytest, looking for examples in docstrings, imports every file once more, by another name.
        assert known.make.__code__.co_filename == make.__code__.co_filename, "two of one name"
        return make

    return put


def _made(inputs: Any, seed: int) -> Any:
    generator = torch.Generator().manual_seed(seed)

    def one(each: Any) -> Any:
        if isinstance(each, tuple) and all(isinstance(size, int) for size in each):
            return torch.randn(each, generator=generator, dtype=torch.float64)
        return [one(inner) for inner in each] if isinstance(each, list) else each

    return tuple(one(each) for each in inputs)
