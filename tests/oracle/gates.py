"""Networks with gates, and with norms of other kinds or that nobody trains."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from oracle.networks import Net, network


class FrozenNorm(nn.Module):
    """A norm of numbers that nobody trains, by hand."""

    def __init__(self, width: int) -> None:
        super().__init__()
        for name in ("weight", "bias", "running_mean", "running_var"):
            self.register_buffer(name, torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        scale = self.weight * (self.running_var + 1e-5).rsqrt()
        shift = self.bias - self.running_mean * scale
        return x * scale.reshape(1, -1, 1, 1) + shift.reshape(1, -1, 1, 1)


def _frozen(module: nn.Module) -> nn.Module:
    for each in module.parameters():
        each.requires_grad_(False)
    return module


def _block(net: Net, x: Tensor) -> Tensor:
    """A residual block of layers that are called conv1, norm1, conv2, norm2."""
    return F.relu(x + net.norm2(net.conv2(F.relu(net.norm1(net.conv1(x))))))


@network(
    "an inverted residual with a depthwise layer and squeeze-and-excitation",
    gates=("excite.weight",),
)
def inverted_residual() -> nn.Module:
    def run(net: Net, x: Tensor) -> Tensor:
        x = net.stem(x)
        h = F.hardswish(net.norm1(net.expand(x)))
        h = F.hardswish(net.norm2(net.depth(h)))
        s = F.relu(net.squeeze(h.mean((2, 3), keepdim=True)))
        h = h * torch.sigmoid(net.excite(s))
        return net.head((x + net.norm3(net.project(h))).mean((2, 3)))

    return Net(
        run,
        stem=nn.Conv2d(3, 4, 3, padding=1),
        expand=nn.Conv2d(4, 6, 1, bias=False),
        norm1=nn.BatchNorm2d(6),
        depth=nn.Conv2d(6, 6, 3, padding=1, groups=6, bias=False),
        norm2=nn.BatchNorm2d(6),
        squeeze=nn.Conv2d(6, 3, 1),
        excite=nn.Conv2d(3, 6, 1),
        project=nn.Conv2d(6, 4, 1, bias=False),
        norm3=nn.BatchNorm2d(4),
        head=nn.Linear(4, 2),
    )


@network("highway: a gate between what comes and what is made of it")
def highway() -> nn.Module:
    def run(net: Net, x: Tensor) -> Tensor:
        x = F.relu(net.stem(x))
        gate = torch.sigmoid(net.gate(x))
        return net.head((gate * F.relu(net.make(x)) + (1 - gate) * x).mean((2, 3)))

    return Net(
        run,
        stem=nn.Conv2d(3, 4, 3, padding=1),
        gate=nn.Conv2d(4, 4, 3, padding=1),
        make=nn.Conv2d(4, 4, 3, padding=1),
        head=nn.Linear(4, 2),
    )


@network("gated linear units: half of a layer's filters gate the other half")
def gated_halves() -> nn.Module:
    def run(net: Net, x: Tensor) -> Tensor:
        return net.head(F.glu(net.b(F.glu(net.a(x), 1)), 1).mean((2, 3)))

    return Net(run, a=nn.Conv2d(3, 6, 3), b=nn.Conv2d(3, 8, 3), head=nn.Linear(4, 2))


@network("maxout: the larger of two filters")
def maxout() -> nn.Module:
    def run(net: Net, x: Tensor) -> Tensor:
        h = net.a(x).unflatten(1, (3, 2)).amax(2)
        first, second = net.b(h).chunk(2, 1)
        return net.head(torch.maximum(first, second).mean((2, 3)))

    return Net(run, a=nn.Conv2d(3, 6, 3), b=nn.Conv2d(3, 8, 3), head=nn.Linear(4, 2))


@network("concatenated ReLU: a filter and its negative, each read on its own")
def both_signs() -> nn.Module:
    def run(net: Net, x: Tensor) -> Tensor:
        h = net.norm(net.a(x))
        return net.head(F.relu(net.b(torch.cat([F.relu(h), F.relu(-h)], 1))).mean((2, 3)))

    return Net(
        run,
        a=nn.Conv2d(3, 4, 3),
        norm=nn.BatchNorm2d(4),
        b=nn.Conv2d(8, 4, 3),
        head=nn.Linear(4, 2),
    )


@network(
    "a residual block with norms that nobody trains, by hand",
    terms={"conv2.weight": "norm2"},
)
def frozen_norms() -> nn.Module:
    def run(net: Net, x: Tensor) -> Tensor:
        return net.head(_block(net, F.relu(net.stem(x))).mean((2, 3)))

    return Net(
        run,
        stem=nn.Conv2d(3, 4, 3, padding=1),
        conv1=nn.Conv2d(4, 5, 3, padding=1),
        norm1=FrozenNorm(5),
        conv2=nn.Conv2d(5, 4, 3, padding=1),
        norm2=FrozenNorm(4),
        head=nn.Linear(4, 2),
    )


@network("torch's norms, frozen, and a frozen reader in the middle")
def frozen_middle() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(3, 4, 3), _frozen(nn.BatchNorm2d(4)), nn.ReLU()),
        *(_frozen(nn.Conv2d(4, 5, 3)), nn.ReLU()),
        *(nn.Conv2d(5, 4, 1), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2)),
    )


@network("group normalisation in a residual block that is normalised first")
def group_norms() -> nn.Module:
    def run(net: Net, x: Tensor) -> Tensor:
        x = net.stem(x)
        x = x + net.conv2(F.relu(net.norm2(net.conv1(F.relu(net.norm1(x))))))
        return net.head(F.relu(net.norm3(x)).mean((2, 3)))

    return Net(
        run,
        stem=nn.Conv2d(3, 4, 3, padding=1),
        norm1=nn.GroupNorm(2, 4),
        conv1=nn.Conv2d(4, 6, 3, padding=1),
        norm2=nn.GroupNorm(3, 6),
        conv2=nn.Conv2d(6, 4, 3, padding=1),
        norm3=nn.GroupNorm(2, 4),
        head=nn.Linear(4, 2),
    )


@network("a block with a normalisation over channels and a scale for each of them")
def layer_scale() -> nn.Module:
    def run(net: Net, x: Tensor) -> Tensor:
        x = net.stem(x)
        h = net.norm(net.depth(x).permute(0, 2, 3, 1))
        h = (net.down(F.gelu(net.up(h))) * net.scale).permute(0, 3, 1, 2)
        return net.head((x + h).mean((2, 3)))

    return Net(
        run,
        stem=nn.Conv2d(3, 4, 3, padding=1),
        depth=nn.Conv2d(4, 4, 3, padding=1, groups=4),
        norm=nn.LayerNorm(4),
        up=nn.Linear(4, 6),
        down=nn.Linear(6, 4),
        scale=nn.Parameter(torch.ones(4)),
        head=nn.Linear(4, 2),
    )


@network("attention over channels by a convolution along them", gates=("along.weight",))
def channel_attention() -> nn.Module:
    def run(net: Net, x: Tensor) -> Tensor:
        x = F.relu(net.a(x))
        weight = torch.sigmoid(net.along(x.mean((2, 3))[:, None])).transpose(1, 2)[..., None]
        return net.head(F.relu(net.b(x * weight)).mean((2, 3)))

    return Net(
        run,
        a=nn.Conv2d(3, 4, 3),
        along=nn.Conv1d(1, 1, 3, padding=1),
        b=nn.Conv2d(4, 4, 3),
        head=nn.Linear(4, 2),
    )
