"""Networks on pictures: encoders and decoders, pyramids, several inputs and outputs, what cannot be followed."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from oracle.networks import Net, network


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
