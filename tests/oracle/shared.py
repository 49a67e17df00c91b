"""Networks in which somebody uses a tensor twice."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from oracle.networks import Net, network


@network("one convolution twice, one behind the other, as in a network that is unrolled")
def layer_twice() -> nn.Module:
    def run(net: Net, x: Tensor) -> Tensor:
        x = F.relu(net.stem(x))
        for _ in range(2):
            x = F.relu(net.again(x))
        return net.head(x.mean((2, 3)))

    return Net(
        run,
        stem=nn.Conv2d(3, 4, 3, padding=1),
        again=nn.Conv2d(4, 4, 3, padding=1),
        head=nn.Linear(4, 2),
    )


@network(
    "one trunk on two inputs, their difference beside their product", (3, 3, 6, 6), (3, 3, 6, 6)
)
def siamese() -> nn.Module:
    def run(net: Net, a: Tensor, b: Tensor) -> Tensor:
        a, b = (net.trunk(each).mean((2, 3)) for each in (a, b))
        return net.head(torch.cat([a - b, a * b], 1))

    trunk = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.ReLU()
    )
    return Net(run, trunk=trunk, head=nn.Linear(10, 2))


@network("two names of one convolution, a norm for each")
def two_names() -> nn.Module:
    first, second = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
    second.weight, second.bias = first.weight, first.bias

    def run(net: Net, x: Tensor) -> Tensor:
        x = F.relu(net.norm1(net.first(F.relu(net.stem(x)))))
        return net.head(F.relu(net.norm2(net.second(x))).mean((2, 3)))

    return Net(
        run,
        stem=nn.Conv2d(3, 4, 1),
        first=first,
        norm1=nn.BatchNorm2d(4),
        second=second,
        norm2=nn.BatchNorm2d(4),
        head=nn.Linear(4, 2),
    )


@network("an autoencoder whose decoder is the encoder's weight, transposed")
def tied_transposed() -> nn.Module:
    def run(net: Net, x: Tensor) -> Tensor:
        h = F.relu(net.second(F.relu(net.encoder(x))))
        return net.out(F.relu(F.conv_transpose2d(h, net.encoder.weight, net.shift)))

    return Net(
        run,
        encoder=nn.Conv2d(3, 4, 3),
        second=nn.Conv2d(4, 4, 1),
        shift=nn.Parameter(torch.zeros(3)),
        out=nn.Conv2d(3, 3, 1),
    )


@network("the same with linear layers: h @ W beside F.linear(x, W)", (5, 6))
def tied_product() -> nn.Module:
    def run(net: Net, x: Tensor) -> Tensor:
        return net.out(F.relu(net.second(F.relu(net.encoder(x)))) @ net.encoder.weight)

    return Net(run, encoder=nn.Linear(6, 4), second=nn.Linear(4, 4), out=nn.Linear(6, 2))


@network("the reader of a layer works as the decoder of another", (5, 6))
def tied_reader() -> nn.Module:
    def run(net: Net, x: Tensor) -> tuple[Tensor, Tensor]:
        h = F.relu(net.first(x))
        code = F.relu(net.second(h))
        return net.head(code), net.side(F.relu(F.linear(code, net.second.weight.t())))

    return Net(
        run,
        first=nn.Linear(6, 4),
        second=nn.Linear(4, 5),
        head=nn.Linear(5, 2),
        side=nn.Linear(4, 2),
    )


@network("two convolutions with one bias")
def shared_bias() -> nn.Module:
    a, b = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)
    b.bias = a.bias
    return Net(
        lambda net, x: net.head(torch.cat([net.a(x), net.b(x)], 1).relu().mean((2, 3))),
        a=a,
        b=b,
        head=nn.Linear(8, 2),
    )


@network("one weight with two biases")
def two_biases() -> nn.Module:
    def run(net: Net, x: Tensor) -> Tensor:
        a, b = net.a(x), F.conv2d(x.flip(3), net.a.weight, net.other)
        return net.head(F.relu(torch.cat([a, b], 1)).mean((2, 3)))

    return Net(run, a=nn.Conv2d(3, 4, 3), other=nn.Parameter(torch.zeros(4)), head=nn.Linear(8, 2))


@network("two norms with one scale and shift, behind two layers")
def one_scale_in_two_norms() -> nn.Module:
    first, second = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
    second.weight, second.bias = first.weight, first.bias
    return nn.Sequential(
        *(nn.Conv2d(3, 4, 3), first, nn.ReLU(), nn.Conv2d(4, 4, 3), second, nn.ReLU()),
        *(nn.Flatten(), nn.Linear(16, 2)),
    )


@network("one norm behind two layers")
def one_norm_behind_two() -> nn.Module:
    def run(net: Net, x: Tensor) -> Tensor:
        x = F.relu(net.norm(net.a(x)))
        return net.head(F.relu(net.norm(net.b(x))).mean((2, 3)))

    return Net(
        run,
        a=nn.Conv2d(3, 4, 3),
        b=nn.Conv2d(4, 4, 3),
        norm=nn.BatchNorm2d(4),
        head=nn.Linear(4, 2),
    )


@network("one slope of a PReLU, and one scale, for two layers")
def one_slope_for_two() -> nn.Module:
    def run(net: Net, x: Tensor) -> Tensor:
        x = F.prelu(net.a(x), net.slope)
        x = F.prelu(net.b(x), net.slope)
        return net.head(x.mean((2, 3)) * net.slope)

    return Net(
        run,
        a=nn.Conv2d(3, 4, 3),
        b=nn.Conv2d(4, 4, 3),
        slope=nn.Parameter(torch.ones(4)),
        head=nn.Linear(4, 2),
    )


@network("a bias that the forward adds somewhere else too")
def bias_elsewhere() -> nn.Module:
    def run(net: Net, x: Tensor) -> Tensor:
        a = F.relu(net.a(x))
        return net.head(F.relu(net.b(a) + net.a.bias.sum()).mean((2, 3)))

    return Net(run, a=nn.Conv2d(3, 4, 3), b=nn.Conv2d(4, 4, 3), head=nn.Linear(4, 2))


@network("a weight whose mean scales another layer")
def weight_elsewhere() -> nn.Module:
    def run(net: Net, x: Tensor) -> Tensor:
        a = F.relu(net.a(x))
        return net.head(F.relu(net.b(a) * net.a.weight.mean()).mean((2, 3)))

    return Net(run, a=nn.Conv2d(3, 4, 3), b=nn.Conv2d(4, 4, 3), head=nn.Linear(4, 2))


@network("a norm's shift that the forward adds somewhere else too")
def norm_elsewhere() -> nn.Module:
    def run(net: Net, x: Tensor) -> Tensor:
        a = F.relu(net.norm(net.a(x)))
        return net.head(F.relu(net.b(a) + net.norm.bias.mean()).mean((2, 3)))

    return Net(
        run,
        a=nn.Conv2d(3, 4, 3),
        norm=nn.BatchNorm2d(4),
        b=nn.Conv2d(4, 4, 3),
        head=nn.Linear(4, 2),
    )


@network("an embedding that is the output's weight too", torch.tensor([[0, 3, 5, 1], [2, 6, 4, 3]]))
def tied_embedding() -> nn.Module:
    def run(net: Net, tokens: Tensor) -> Tensor:
        x = net.embedding(tokens)
        return F.linear(x + net.down(F.relu(net.up(x))), net.embedding.weight)

    return Net(run, embedding=nn.Embedding(7, 4), up=nn.Linear(4, 6), down=nn.Linear(6, 4))


@network("heads of one weight on three scales, each with norms of its own, in a list")
def shared_head_on_scales() -> nn.Module:
    def run(net: Net, x: Tensor) -> list[Tensor]:
        scales = [F.relu(net.stem(x))]
        scales += [F.relu(net.down1(scales[-1]))]
        scales += [F.relu(net.down2(scales[-1]))]
        return [
            net.out(F.relu(norm(net.tower(each))))
            for norm, each in zip(net.norms, scales, strict=True)
        ]

    return Net(
        run,
        stem=nn.Conv2d(3, 4, 3, padding=1),
        down1=nn.Conv2d(4, 4, 3, 2, 1),
        down2=nn.Conv2d(4, 4, 3, 2, 1),
        tower=nn.Conv2d(4, 4, 3, padding=1),
        norms=nn.ModuleList(nn.BatchNorm2d(4) for _ in range(3)),
        out=nn.Conv2d(4, 2, 1),
    )


@network("a part of a wider weight, and all of it")
def sliced_weight() -> nn.Module:
    def run(net: Net, x: Tensor) -> Tensor:
        narrow = F.relu(F.conv2d(x, net.wide.weight[:3], net.wide.bias[:3]))
        whole = F.relu(net.wide(x.flip(2)))
        return net.head(torch.cat([narrow, whole], 1).mean((2, 3)))

    return Net(run, wide=nn.Conv2d(3, 5, 3), head=nn.Linear(8, 2))


@network("one convolution on a picture and on the picture turned round, summed")
def turned_and_summed() -> nn.Module:
    def run(net: Net, x: Tensor) -> Tensor:
        x = F.relu(net.a(x) + net.a(x.rot90(1, (2, 3))).rot90(-1, (2, 3)))
        return net.head(F.relu(net.b(x)).amax((2, 3)))

    return Net(run, a=nn.Conv2d(3, 4, 3), b=nn.Conv2d(4, 4, 3), head=nn.Linear(4, 2))
