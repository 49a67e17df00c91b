"""Networks on pictures: encoders and decoders, pyramids, gates, frozen norms, several inputs and outputs."""

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


@network("U-Net: a transposed convolution up, the encoder's channels beside it")
def unet() -> nn.Module:
    def run(net: Net, x: Tensor) -> Tensor:
        a = F.relu(net.norm(net.down1(x)))
        b = F.relu(net.down2(F.max_pool2d(a, 2)))
        return net.out(F.relu(net.join(torch.cat([net.up(b), a], 1))))

    return Net(
        run,
        down1=nn.Conv2d(3, 4, 3, padding=1),
        norm=nn.BatchNorm2d(4),
        down2=nn.Conv2d(4, 6, 3, padding=1),
        up=nn.ConvTranspose2d(6, 4, 2, 2),
        join=nn.Conv2d(8, 4, 3, padding=1),
        out=nn.Conv2d(4, 2, 1),
    )


@network("U-Net with a grouped transposed convolution, stretched by interpolation and cropped")
def unet_stretched() -> nn.Module:
    def run(net: Net, x: Tensor) -> Tensor:
        a = F.relu(net.down1(x))
        b = F.relu(net.up(F.relu(net.down2(a))))
        b = F.interpolate(b, size=(7, 7), mode="bilinear")[:, :, :6, :6]
        return net.out(torch.cat([a, b], 1))

    return Net(
        run,
        down1=nn.Conv2d(3, 4, 3, padding=1),
        down2=nn.Conv2d(4, 4, 3, 2, 1),
        up=nn.ConvTranspose2d(4, 6, 3, 2, groups=2),
        out=nn.Conv2d(10, 2, 1),
    )


@network("feature pyramid: lateral sums from above, a list of outputs")
def pyramid() -> nn.Module:
    def run(net: Net, x: Tensor) -> list[Tensor]:
        c1 = F.relu(net.c1(x))
        c2 = F.relu(net.c2(c1))
        p2 = net.lateral2(c2)
        p1 = net.lateral1(c1) + F.interpolate(p2, scale_factor=2.0)
        return [net.out(F.relu(net.smooth(each))) for each in (p1, p2)]

    return Net(
        run,
        c1=nn.Conv2d(3, 4, 3, padding=1),
        c2=nn.Conv2d(4, 6, 3, 2, 1),
        lateral1=nn.Conv2d(4, 5, 1),
        lateral2=nn.Conv2d(6, 5, 1),
        smooth=nn.Conv2d(5, 5, 3, padding=1),
        out=nn.Conv2d(5, 2, 1),
    )


@network("super-resolution: pixel shuffle, added to the stretched input")
def pixel_shuffle() -> nn.Module:
    def run(net: Net, x: Tensor) -> Tensor:
        h = F.relu(net.a(x))
        up = F.relu(F.pixel_shuffle(net.b(h), 2))
        return net.out(up) + F.interpolate(x, scale_factor=2.0)

    return Net(
        run,
        a=nn.Conv2d(3, 4, 3, padding=1),
        b=nn.Conv2d(4, 8, 3, padding=1),
        out=nn.Conv2d(2, 3, 3, padding=1),
    )


@network("space to depth: four filters' pixels beside each other, then half of them turned")
def pixel_unshuffle() -> nn.Module:
    def run(net: Net, x: Tensor) -> Tensor:
        h = F.pixel_unshuffle(F.relu(net.a(x)), 2)
        return net.head(F.relu(net.b(h).flip(1)).mean((2, 3)))

    return Net(run, a=nn.Conv2d(3, 4, 3, padding=1), b=nn.Conv2d(16, 4, 1), head=nn.Linear(4, 2))


@network("two heads in a dictionary, one of them on a layer in the middle")
def two_heads() -> nn.Module:
    def run(net: Net, x: Tensor) -> dict[str, Tensor]:
        a = F.relu(net.a(x))
        b = F.relu(net.b(a))
        return {"label": net.label(b.mean((2, 3))), "mask": net.mask(a)}

    return Net(
        run,
        a=nn.Conv2d(3, 4, 3),
        b=nn.Conv2d(4, 5, 3),
        label=nn.Linear(5, 3),
        mask=nn.Conv2d(4, 1, 1),
    )


@network("dilated branches and a pooled one that is spread out again, all beside each other")
def dilated_branches() -> nn.Module:
    def run(net: Net, x: Tensor) -> Tensor:
        x = F.relu(net.stem(x))
        pooled = F.relu(net.pooled(x.mean((2, 3), keepdim=True))).expand(-1, -1, *x.shape[2:])
        return net.out(torch.cat([net.one(x), net.two(x), pooled], 1))

    return Net(
        run,
        stem=nn.Conv2d(3, 4, 3, padding=1),
        one=nn.Conv2d(4, 3, 1),
        two=nn.Conv2d(4, 3, 3, padding=2, dilation=2),
        pooled=nn.Conv2d(4, 3, 1),
        out=nn.Conv2d(9, 2, 1),
    )


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


@network("coordinates beside the channels")
def coordinates() -> nn.Module:
    def run(net: Net, x: Tensor) -> Tensor:
        both = torch.cat([F.relu(net.a(x)), net.grid.expand(x.shape[0], -1, -1, -1)], 1)
        return net.head(F.relu(net.b(both)).amax((2, 3)))

    grid = torch.stack(
        torch.meshgrid(torch.linspace(-1, 1, 6), torch.linspace(-1, 1, 6), indexing="ij")
    )
    return Net(
        run,
        a=nn.Conv2d(3, 4, 3, padding=1),
        b=nn.Conv2d(6, 4, 3),
        head=nn.Linear(4, 2),
        grid=grid[None],
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


@network("a picture of three scales as a list, summed in the middle", [(3, 3, 8, 8), (3, 3, 4, 4)])
def list_input() -> nn.Module:
    def run(net: Net, scales: list[Tensor]) -> Tensor:
        large = F.relu(net.large(scales[0]))
        both = F.avg_pool2d(large, 2) + net.small(scales[1])
        return net.head(F.relu(both).mean((2, 3)))

    return Net(
        run, large=nn.Conv2d(3, 4, 3, padding=1), small=nn.Conv2d(3, 4, 1), head=nn.Linear(4, 2)
    )


@network("picture to picture: what is found is taken from the input")
def from_the_input() -> nn.Module:
    def run(net: Net, x: Tensor) -> Tensor:
        h = x + net.b(F.relu(net.a(x)))
        return x - net.out(F.relu(net.c(h)))

    return Net(
        run,
        a=nn.Conv2d(3, 4, 3, padding=1),
        b=nn.Conv2d(4, 3, 3, padding=1),
        c=nn.Conv2d(3, 4, 3, padding=1),
        out=nn.Conv2d(4, 3, 1),
    )


@network("channels shuffled, split in two, one half worked on and put back in place")
def half_in_place() -> nn.Module:
    def run(net: Net, x: Tensor) -> Tensor:
        x = F.relu(net.stem(x)).clone()
        x[:, ::2] = F.relu(net.part(x[:, 1::2]))
        x[:, 1] += x[:, 4]
        return net.head(F.channel_shuffle(x, 3).amax((2, 3)))

    return Net(
        run, stem=nn.Conv2d(3, 6, 3), part=nn.Conv2d(3, 3, 3, padding=1), head=nn.Linear(6, 2)
    )


@network("through frequencies and back")
def frequencies() -> nn.Module:
    def run(net: Net, x: Tensor) -> Tensor:
        h = torch.fft.irfft2(torch.fft.rfft2(F.relu(net.a(x))) * 0.5)
        return net.head(F.relu(net.b(h)).mean((2, 3)))

    return Net(run, a=nn.Conv2d(3, 4, 3), b=nn.Conv2d(4, 4, 3), head=nn.Linear(4, 2))


@network("weights normalised, masked, and put together of two factors")
def computed_weights() -> nn.Module:
    def run(net: Net, x: Tensor) -> Tensor:
        x = F.relu(net.a(x))
        x = F.relu(F.conv2d(x, net.b.weight * net.mask, net.b.bias))
        return net.head(F.linear(x.mean((2, 3)), net.first @ net.second))

    return Net(
        run,
        a=nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3)),
        b=nn.Conv2d(4, 5, 3),
        first=nn.Parameter(torch.ones(4, 2)),
        second=nn.Parameter(torch.ones(2, 5)),
        head=nn.Linear(4, 2),
        mask=torch.ones(5, 4, 3, 3).tril(1),
    )


@network("a codebook: the nearest of its entries for every pixel")
def codebook() -> nn.Module:
    def run(net: Net, x: Tensor) -> Tensor:
        h = net.encode(x).permute(0, 2, 3, 1)
        nearest = torch.cdist(h.reshape(-1, 4), net.book.weight).argmin(1)
        code = net.book(nearest).reshape(h.shape)
        return net.decode(F.relu(net.middle(code)).permute(0, 3, 1, 2))

    return Net(
        run,
        encode=nn.Conv2d(3, 4, 1),
        book=nn.Embedding(5, 4),
        middle=nn.Linear(4, 5),
        decode=nn.Conv2d(5, 3, 1),
    )


@network("in three dimensions, folded into two for a while", (2, 2, 4, 4, 4))
def three_dimensions() -> nn.Module:
    def run(net: Net, x: Tensor) -> Tensor:
        h = F.relu(net.a(x))
        h = F.relu(net.b(h.transpose(1, 2).flatten(0, 1))).unflatten(0, (-1, 4))
        return net.head(h.mean((1, 3, 4)))

    return Net(run, a=nn.Conv3d(2, 4, 3, padding=1), b=nn.Conv2d(4, 5, 3), head=nn.Linear(5, 2))
