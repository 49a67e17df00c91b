"""Small networks, one a way in which layers can be wired; each is traced, and judged by running it."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn


class Forward(nn.Module):
    """Layers by name, and what is done with them."""

    def __init__(self, forward: Callable[[nn.Module, Tensor], object], **layers: nn.Module) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)
        self._run = forward

    def forward(self, x: Tensor) -> object:
        return self._run(self, x)


class BasicBlock(nn.Module):
    """Two convolutions and a skip; the skip has a 1x1 convolution where the shape changes."""

    def __init__(self, inputs: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.down: nn.Module = nn.Identity()
        if inputs != width:
            self.down = nn.Sequential(nn.Conv2d(inputs, width, 1, stride), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)), inplace=True)))
        y += self.down(x)
        return F.relu(y)


class PaddedSkip(nn.Module):
    """A block whose skip takes every second pixel and pads the missing channels with zeros."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.pad = (width - inputs) // 2
        self.conv1 = nn.Conv2d(inputs, width, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        skip = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.pad, self.pad))
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + skip)


def crater() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.ReLU(),
        nn.Conv2d(4, 5, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(5 * 16, 6),
        nn.ReLU(),
        nn.Linear(6, 3),
    )


def conv_bn_pool() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 5, 3),
        nn.BatchNorm2d(5),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(5, 3),
    )


def resnet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        BasicBlock(4, 4),
        BasicBlock(4, 6, 2),
        nn.AvgPool2d(4),
        nn.Flatten(),
        nn.Linear(6, 3),
    )


def resnet_option_a() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        PaddedSkip(4, 8),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 3),
    )


def dense_concat() -> nn.Module:
    def run(net: nn.Module, x: Tensor) -> Tensor:
        a = net.a(x)
        b = net.b(F.relu(net.bn(a)))
        both = torch.cat([a, b], 1)
        return net.head(F.relu(net.c(F.relu(net.bn2(both)))).mean((2, 3)))

    return Forward(
        run,
        a=nn.Conv2d(3, 4, 3, padding=1),
        bn=nn.BatchNorm2d(4),
        b=nn.Conv2d(4, 3, 3, padding=1),
        bn2=nn.BatchNorm2d(7),
        c=nn.Conv2d(7, 4, 1),
        head=nn.Linear(4, 3),
    )


def split_and_shuffle() -> nn.Module:
    def run(net: nn.Module, x: Tensor) -> Tensor:
        x = net.stem(x)
        left, right = x.chunk(2, 1)
        x = torch.cat([left, F.relu(net.branch(right))], 1)
        n, c, h, w = x.shape
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        first, second = torch.split(x, [2, 4], 1)
        return net.head((net.one(first) * 0.5 + net.two(second)).amax((2, 3)))

    return Forward(
        run,
        stem=nn.Conv2d(3, 6, 3),
        branch=nn.Conv2d(3, 3, 3, padding=1),
        one=nn.Conv2d(2, 4, 1),
        two=nn.Conv2d(4, 4, 1),
        head=nn.Linear(4, 3),
    )


def grouped_and_depthwise() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3),
        nn.ReLU(),
        nn.Conv2d(6, 6, 3, groups=6),
        nn.ReLU(),
        nn.Conv2d(6, 8, 1, groups=2),
        nn.ReLU(),
        nn.ChannelShuffle(4),
        nn.Conv2d(8, 4, 1, groups=4),
        nn.Flatten(),
        nn.Linear(4 * 16, 3),
    )


def transposed() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2),
        nn.ReLU(),
        nn.ConvTranspose2d(4, 6, 3, groups=2),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.ConvTranspose2d(6, 4, 2, stride=2),
        nn.ReLU(),
        nn.Conv2d(4, 2, 1),
        nn.Flatten(),
        nn.Linear(2 * 100, 3),
    )


def one_dimension() -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(3, 4, 3),
        nn.BatchNorm1d(4),
        nn.ReLU(),
        nn.MaxPool1d(2),
        nn.Conv1d(4, 5, 2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(10, 3),
    )


def three_dimensions() -> nn.Module:
    return nn.Sequential(
        nn.Conv3d(3, 4, 3, padding=1),
        nn.BatchNorm3d(4),
        nn.ReLU(),
        nn.MaxPool3d(2),
        nn.Conv3d(4, 5, 2),
        nn.ReLU(),
        nn.AdaptiveAvgPool3d(1),
        nn.Flatten(),
        nn.Linear(5, 3),
    )


def squeeze_and_excite() -> nn.Module:
    def run(net: nn.Module, x: Tensor) -> Tensor:
        x = F.relu(net.conv(x))
        gate = net.up(F.relu(net.down(F.adaptive_avg_pool2d(x, 1))))
        return net.head(net.last(x * torch.sigmoid(gate)).mean((2, 3)))

    return Forward(
        run,
        conv=nn.Conv2d(3, 4, 3),
        down=nn.Conv2d(4, 2, 1),
        up=nn.Conv2d(2, 4, 1),
        last=nn.Conv2d(4, 5, 1),
        head=nn.Linear(5, 3),
    )


def functional_call() -> nn.Module:
    def run(net: nn.Module, x: Tensor) -> Tensor:
        x = F.relu(F.conv2d(x, net.a.weight, net.a.bias))
        x = F.batch_norm(x, net.bn.running_mean, net.bn.running_var, net.bn.weight, net.bn.bias)
        x = F.relu(torch.einsum("bchw,oc->bohw", x, net.b.weight))
        return F.linear(x.flatten(1), net.head.weight, net.head.bias)

    return Forward(
        run,
        a=nn.Conv2d(3, 4, 3),
        bn=nn.BatchNorm2d(4),
        b=nn.Linear(4, 5),
        head=nn.Linear(5 * 36, 3),
    )


def tied() -> nn.Module:
    def run(net: nn.Module, x: Tensor) -> Tensor:
        x = F.relu(net.stem(x))
        x = F.relu(net.shared(x))
        return net.head(F.relu(net.shared(x)).mean((2, 3)))

    return Forward(
        run, stem=nn.Conv2d(3, 4, 3), shared=nn.Conv2d(4, 4, 3, padding=1), head=nn.Linear(4, 3)
    )


def channel_layer_norm() -> nn.Module:
    def run(net: nn.Module, x: Tensor) -> Tensor:
        x = net.stem(x)
        y = net.norm(net.depthwise(x).permute(0, 2, 3, 1))
        y = net.shrink(F.gelu(net.grow(y))).permute(0, 3, 1, 2)
        return net.head((x + y).mean((2, 3)))

    return Forward(
        run,
        stem=nn.Conv2d(3, 4, 2, 2),
        depthwise=nn.Conv2d(4, 4, 3, padding=1, groups=4),
        norm=nn.LayerNorm(4),
        grow=nn.Linear(4, 8),
        shrink=nn.Linear(8, 4),
        head=nn.Linear(4, 3),
    )


def in_place() -> nn.Module:
    def run(net: nn.Module, x: Tensor) -> Tensor:
        x = net.a(x)
        room = torch.zeros(x.shape[0], 6, *x.shape[2:], dtype=x.dtype)
        room[:, 1:5] = x
        room[:, 4:].add_(net.b(x))
        room.relu_()
        last = room.narrow(1, 5, 1)
        last.mul_(2)
        return net.head(net.c(room).flatten(1))

    return Forward(
        run,
        a=nn.Conv2d(3, 4, 3),
        b=nn.Conv2d(4, 2, 1),
        c=nn.Conv2d(6, 3, 3),
        head=nn.Linear(3 * 16, 3),
    )


def encoder_decoder() -> nn.Module:
    def run(net: nn.Module, x: Tensor) -> Tensor:
        a = F.relu(net.a(x))
        b = F.relu(net.b(F.max_pool2d(a, 2)))
        up = F.interpolate(b, scale_factor=2, mode="bilinear")
        near = F.interpolate(b, scale_factor=2)
        c = net.c(
            torch.cat([F.pad(a, (1, 1, 1, 1), mode="reflect")[:, :, 1:-1, 1:-1], up, near], 1)
        )
        return net.head(F.pixel_shuffle(F.pad(c, (1, 1, 1, 1)), 2).flatten(1))

    return Forward(
        run,
        a=nn.Conv2d(3, 2, 3, padding=1),
        b=nn.Conv2d(2, 3, 3, padding=1),
        c=nn.Conv2d(8, 4, 3),
        head=nn.Linear(256, 3),
    )


def spatial_gate() -> nn.Module:
    def run(net: nn.Module, x: Tensor) -> Tensor:
        x = F.relu(net.conv(x))
        summary = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
        return net.head((x * torch.sigmoid(net.gate(summary))).mean((2, 3)))

    return Forward(
        run, conv=nn.Conv2d(3, 4, 3), gate=nn.Conv2d(2, 1, 3, padding=1), head=nn.Linear(4, 3)
    )


def self_attention() -> nn.Module:
    def run(net: nn.Module, x: Tensor) -> Tensor:
        tokens = net.patch(x).flatten(2).transpose(1, 2)
        mixed, _ = net.attend(tokens, tokens, tokens, need_weights=False)
        q, k, v = net.qkv(tokens + mixed).unflatten(-1, (3, 4)).unbind(2)
        tokens = torch.softmax(q @ k.transpose(-2, -1), -1) @ v
        return net.head(net.last(tokens).mean(1))

    return Forward(
        run,
        patch=nn.Conv2d(3, 4, 4, 4),
        attend=nn.MultiheadAttention(4, 2, batch_first=True),
        qkv=nn.Linear(4, 12),
        last=nn.Linear(4, 4),
        head=nn.Linear(4, 3),
    )


class Blur(nn.Module):
    """A fixed kernel, a channel at a time."""

    kernel: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("kernel", torch.ones(1, 1, 3, 3).div(9))
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        kernel = self.kernel.repeat(self.channels, 1, 1, 1)
        return F.conv2d(x, kernel, stride=2, padding=1, groups=self.channels)


def fixed_kernel() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), Blur(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 16, 3)
    )


def other_norms() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.InstanceNorm2d(4, affine=True),
        nn.PReLU(4),
        nn.Conv2d(4, 6, 3),
        nn.InstanceNorm2d(6, affine=True, track_running_stats=True),
        nn.Hardswish(inplace=True),
        nn.Conv2d(6, 4, 1),
        nn.GroupNorm(4, 4),
        nn.GLU(1),
        nn.Flatten(),
        nn.Linear(2 * 16, 3),
    )


def unfolded() -> nn.Module:
    """A convolution written as a matrix product with its kernel, and part of a wider one."""

    def run(net: nn.Module, x: Tensor) -> Tensor:
        x = F.relu(net.a(x))
        y = net.b.weight.reshape(5, -1) @ F.unfold(x, 3)
        y = F.relu(y.unflatten(-1, (4, 4)))
        return net.head(F.conv2d(y, net.wide.weight[:3, :5]).flatten(1))

    return Forward(
        run,
        a=nn.Conv2d(3, 4, 3),
        b=nn.Conv2d(4, 5, 3, bias=False),
        wide=nn.Conv2d(6, 4, 1),
        head=nn.Linear(3 * 16, 3),
    )


FOLLOWED: dict[str, Callable[[], nn.Module]] = {
    make.__name__: make
    for make in (
        crater,
        conv_bn_pool,
        resnet,
        resnet_option_a,
        dense_concat,
        split_and_shuffle,
        grouped_and_depthwise,
        transposed,
        one_dimension,
        three_dimensions,
        squeeze_and_excite,
        functional_call,
        tied,
        channel_layer_norm,
        in_place,
        encoder_decoder,
        spatial_gate,
        self_attention,
        fixed_kernel,
        other_norms,
        unfolded,
    )
}
"""Networks in which every reader must be found."""


def example(name: str, *, count: int = 2, seed: int = 0) -> Tensor:
    """Random float64 inputs of the size that a network of `FOLLOWED` takes."""
    space = {"one_dimension": (8,), "three_dimensions": (4, 4, 4)}.get(name, (8, 8))
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, *space, generator=generator, dtype=torch.float64)


def build(name: str, *, seed: int = 0) -> nn.Module:
    """A network of `FOLLOWED` in float64 and evaluation mode, its norms' numbers drawn too."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = FOLLOWED[name]()
        return randomised(net)


def randomised(net: nn.Module) -> nn.Module:
    """Draw every norm's numbers: behind a scale of 0 or a mean of 0 a reader could hide."""
    net = net.double().eval()
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._NormBase | nn.GroupNorm | nn.LayerNorm):
            for tensor in (*module.parameters(), *module.buffers()):
                if tensor.is_floating_point():
                    tensor.data.uniform_(0.5, 1.5)
    return net
