"""Networks of which the example does not show everything, or not as training has it."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from oracle.networks import Net, network


class Answer:
    """Neither a mapping nor a sequence nor a dataclass."""

    __slots__ = ("value",)

    def __init__(self, value: Tensor) -> None:
        self.value = value


class NoisyLinear(nn.Module):
    """A linear layer whose weights have noise in training, as wide as it learns."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.weight, self.bias = (
            nn.Parameter(torch.zeros(width, inputs)),
            nn.Parameter(torch.zeros(width)),
        )
        self.sigma = nn.Parameter(torch.zeros(width, inputs))

    def forward(self, x: Tensor) -> Tensor:
        out = F.linear(x, self.weight, self.bias)
        return out + F.linear(torch.sign(x), self.sigma) if self.training else out


@network("an auxiliary head in training alone", training=True)
def head_in_training() -> nn.Module:
    def run(net: Net, x: Tensor) -> object:
        h = F.relu(net.a(x))
        out = net.head(F.relu(net.b(h)).mean((2, 3)))
        return (out, net.aux(F.relu(net.side(h)).mean((2, 3)))) if net.training else out

    return Net(
        run,
        a=nn.Conv2d(3, 4, 3),
        b=nn.Conv2d(4, 4, 3),
        head=nn.Linear(4, 2),
        side=nn.Conv2d(4, 3, 1),
        aux=nn.Linear(3, 2),
    )


@network("a linear layer with noise in training, as wide as it learns", (5, 6), training=True)
def noisy() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 4), nn.ReLU(), NoisyLinear(4, 5), nn.ReLU(), nn.Linear(5, 2))


@network("a branch that training alone adds", training=True)
def branch_in_training() -> nn.Module:
    def run(net: Net, x: Tensor) -> Tensor:
        h = F.relu(net.a(x))
        h = F.relu(net.b(h) + net.more(h)) if net.training else F.relu(net.b(h))
        return net.head(h.mean((2, 3)))

    return Net(
        run,
        a=nn.Conv2d(3, 4, 3),
        b=nn.Conv2d(4, 4, 3),
        more=nn.Conv2d(4, 4, 3),
        head=nn.Linear(4, 2),
    )


@network("a norm for training and another for evaluation", training=True)
def split_norms() -> nn.Module:
    def run(net: Net, x: Tensor) -> Tensor:
        h = net.a(x)
        h = F.relu(net.one(h) if net.training else net.other(h))
        return net.head(F.relu(net.b(h)).mean((2, 3)))

    return Net(
        run,
        a=nn.Conv2d(3, 4, 3),
        one=nn.BatchNorm2d(4),
        other=nn.BatchNorm2d(4),
        b=nn.Conv2d(4, 4, 3),
        head=nn.Linear(4, 2),
    )


@network("a bias that another layer adds in training alone", training=True)
def bias_in_training() -> nn.Module:
    def run(net: Net, x: Tensor) -> Tensor:
        h = F.relu(net.a(x))
        h = net.b(h) + (net.a.bias.reshape(1, -1, 1, 1) if net.training else 0.0)
        return net.head(F.relu(h).mean((2, 3)))

    return Net(run, a=nn.Conv2d(3, 4, 3), b=nn.Conv2d(4, 4, 3), head=nn.Linear(4, 2))


@network(
    "a detector that finds no box in the example",
    torch.zeros(2, 3, 6, 6, dtype=torch.float64) - 9.0,
    really=((2, 3, 6, 6),),
)
def no_box_found() -> nn.Module:
    def run(net: Net, x: Tensor) -> tuple[Tensor, Tensor]:
        h = F.relu(net.a(x))
        score = net.score(h)
        found = h.permute(0, 2, 3, 1)[x.mean((1, 2, 3)) > -5.0].reshape(-1, 4)
        return score, net.box(F.relu(net.middle(found)))

    return Net(
        run,
        a=nn.Conv2d(3, 4, 3),
        score=nn.Conv2d(4, 1, 1),
        middle=nn.Linear(4, 5),
        box=nn.Linear(5, 4),
    )


def _with_side(net: nn.Module, out: object) -> object:
    return out, net.side_output


@network("a head whose output is kept on the network", outputs=_with_side)
def head_on_an_attribute() -> nn.Module:
    def run(net: Net, x: Tensor) -> Tensor:
        h = F.relu(net.a(x))
        net.side_output = net.side(F.relu(net.middle(h)))
        return net.head(h.mean((2, 3)))

    return Net(
        run,
        a=nn.Conv2d(3, 4, 3),
        middle=nn.Conv2d(4, 5, 1),
        side=nn.Conv2d(5, 3, 1),
        head=nn.Linear(4, 2),
    )


def _opened(net: nn.Module, out: tuple[Tensor, Answer]) -> object:
    return out[0], out[1].value


@network("an output inside an object of an unknown class", outputs=_opened)
def output_in_an_object() -> nn.Module:
    def run(net: Net, x: Tensor) -> tuple[Tensor, Answer]:
        h = F.relu(net.a(x))
        return net.head(h.mean((2, 3))), Answer(net.mask(F.relu(net.b(h))))

    return Net(
        run,
        a=nn.Conv2d(3, 4, 3),
        b=nn.Conv2d(4, 5, 1),
        mask=nn.Conv2d(5, 1, 1),
        head=nn.Linear(4, 2),
    )


@network("a scripted layer in the middle")
def scripted_middle() -> nn.Module:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        middle = torch.jit.script(nn.Sequential(nn.Conv2d(4, 4, 3), nn.ReLU()))
    return Net(
        lambda net, x: net.head(F.relu(net.b(net.middle(F.relu(net.a(x))))).mean((2, 3))),
        a=nn.Conv2d(3, 4, 3),
        middle=middle,
        b=nn.Conv2d(4, 4, 1),
        head=nn.Linear(4, 2),
    )
