"""Networks with attention, tables of positions, words beside pictures, sets."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from oracle.networks import Net, network

TOKENS = torch.tensor([[0, 3, 5, 1], [2, 6, 4, 3]])


@network("attention by hand over the pixels of a convolution, residual")
def attention_by_hand() -> nn.Module:
    def run(net: Net, x: Tensor) -> Tensor:
        x = F.relu(net.conv(x)).flatten(2).transpose(1, 2)
        q, k, v = net.qkv(x).chunk(3, 2)
        weight = torch.softmax(q @ k.transpose(1, 2) / 2, -1)
        return net.head((x + net.proj(weight @ v)).mean(1))

    return Net(
        run,
        conv=nn.Conv2d(3, 4, 3),
        qkv=nn.Linear(4, 12),
        proj=nn.Linear(4, 4),
        head=nn.Linear(4, 2),
    )


@network("torch's encoder layer over tokens with learnt positions", (2, 4, 5))
def encoder_layer() -> nn.Module:
    def run(net: Net, x: Tensor) -> Tensor:
        return net.head(net.layer(net.stem(x) + net.positions).mean(1))

    return Net(
        run,
        stem=nn.Linear(5, 4),
        layer=nn.TransformerEncoderLayer(4, 2, dim_feedforward=6, batch_first=True),
        positions=nn.Parameter(torch.zeros(1, 4, 4)),
        head=nn.Linear(4, 2),
    )


@network("patches, a token for the class beside them, learnt positions", (2, 3, 6, 6))
def class_token() -> nn.Module:
    def run(net: Net, x: Tensor) -> Tensor:
        x = net.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([net.token.expand(x.shape[0], -1, -1), x], 1) + net.positions
        x = x + net.down(F.gelu(net.up(x)))
        return net.head(x[:, 0] + x[:, 1:].amax(1))

    return Net(
        run,
        patches=nn.Conv2d(3, 4, 3, 3),
        token=nn.Parameter(torch.zeros(1, 1, 4)),
        positions=nn.Parameter(torch.zeros(1, 5, 4)),
        up=nn.Linear(4, 6),
        down=nn.Linear(6, 4),
        head=nn.Linear(4, 2),
    )


def _turn_phase(net: nn.Module) -> None:
    net.phase += 1.0


@network(
    "a table of positions that the forward works out, added to filters",
    (2, 4, 5),
    elsewhere=_turn_phase,
)
def computed_positions() -> nn.Module:
    def run(net: Net, x: Tensor) -> Tensor:
        place = torch.arange(4, dtype=x.dtype)[:, None] * torch.tensor(
            [1.0, 0.1, 0.5, 0.05], dtype=x.dtype
        )
        x = net.stem(x) + torch.sin(place + net.phase)
        return net.head(F.relu(net.middle(x)).mean(1))

    net = Net(run, stem=nn.Linear(5, 4), middle=nn.Linear(4, 4), head=nn.Linear(4, 2))
    net.phase = 0.0
    return net


@network("a table worked out from a parameter, added to a convolution's filters")
def positions_from_a_parameter() -> nn.Module:
    def run(net: Net, x: Tensor) -> Tensor:
        row = torch.sin(net.rates[:, None, None] * torch.arange(6, dtype=x.dtype)[:, None])
        return net.head(F.relu(net.b(F.relu(net.a(x) + row))).mean((2, 3)))

    return Net(
        run,
        a=nn.Conv2d(3, 4, 3, padding=1),
        b=nn.Conv2d(4, 4, 3),
        rates=nn.Parameter(torch.ones(4)),
        head=nn.Linear(4, 2),
    )


@network("a number for each column, learnt, added to all filters")
def learnt_columns() -> nn.Module:
    def run(net: Net, x: Tensor) -> Tensor:
        return net.head(F.relu(net.b(F.relu(net.a(x) + net.columns))).mean((2, 3)))

    return Net(
        run,
        a=nn.Conv2d(3, 4, 3, padding=1),
        b=nn.Conv2d(4, 4, 3),
        columns=nn.Parameter(torch.zeros(1, 1, 1, 6)),
        head=nn.Linear(4, 2),
    )


@network("linear layers over tokens and over channels in turn", (2, 4, 5))
def mixer() -> nn.Module:
    def run(net: Net, x: Tensor) -> Tensor:
        x = net.stem(x)
        x = x + net.back(F.gelu(net.tokens(x.transpose(1, 2)))).transpose(1, 2)
        return net.head((x + net.down(F.gelu(net.up(x)))).mean(1))

    return Net(
        run,
        stem=nn.Linear(5, 4),
        tokens=nn.Linear(4, 3),
        back=nn.Linear(3, 4),
        up=nn.Linear(4, 6),
        down=nn.Linear(6, 4),
        head=nn.Linear(4, 2),
    )


@network("filters as columns, read by rows: inputs times a matrix, plus a bias", (2, 4, 5))
def columns() -> nn.Module:
    def run(net: Net, x: Tensor) -> Tensor:
        x = net.stem(x)
        up = F.gelu(torch.addmm(net.first, x.flatten(0, 1), net.up))
        return net.head((x + (up @ net.down + net.second).view(x.shape)).mean(1))

    return Net(
        run,
        stem=nn.Linear(5, 4),
        up=nn.Parameter(torch.zeros(4, 6)),
        first=nn.Parameter(torch.zeros(6)),
        down=nn.Parameter(torch.zeros(6, 4)),
        second=nn.Parameter(torch.zeros(4)),
        head=nn.Linear(4, 2),
    )


@network("words that scale and shift a picture's channels", (2, 3, 6, 6), TOKENS)
def scaled_by_words() -> nn.Module:
    def run(net: Net, x: Tensor, tokens: Tensor) -> Tensor:
        scale, shift = net.words(net.embedding(tokens).mean(1)).chunk(2, 1)
        h = F.relu(net.norm(net.a(x)) * (1 + scale[..., None, None]) + shift[..., None, None])
        return net.head(F.relu(net.b(h)).mean((2, 3)))

    return Net(
        run,
        embedding=nn.Embedding(7, 5),
        words=nn.Linear(5, 8),
        a=nn.Conv2d(3, 4, 3),
        norm=nn.BatchNorm2d(4),
        b=nn.Conv2d(4, 4, 3),
        head=nn.Linear(4, 2),
    )


@network("attention of words to pixels", (2, 3, 4, 4), TOKENS)
def attention_between() -> nn.Module:
    def run(net: Net, x: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        pixels = F.relu(net.conv(x)).flatten(2).transpose(1, 2)
        words = net.words(net.embedding(tokens))
        seen = F.scaled_dot_product_attention(net.q(words), net.k(pixels), net.v(pixels))
        return net.head((words + seen).mean(1)), net.side(pixels.mean(1))

    return Net(
        run,
        conv=nn.Conv2d(3, 4, 3),
        embedding=nn.Embedding(7, 5),
        words=nn.Linear(5, 4),
        q=nn.Linear(4, 4),
        k=nn.Linear(4, 4),
        v=nn.Linear(4, 4),
        head=nn.Linear(4, 2),
        side=nn.Linear(4, 2),
    )


@network("experts weighed by a softmax", (5, 6))
def experts() -> nn.Module:
    def run(net: Net, x: Tensor) -> Tensor:
        x = F.relu(net.stem(x))
        weight = torch.softmax(net.choose(x), 1)
        made = torch.stack([expert(x) for expert in net.experts], 1)
        return net.head(F.relu((made * weight[..., None]).sum(1)))

    return Net(
        run,
        stem=nn.Linear(6, 4),
        choose=nn.Linear(4, 3),
        experts=nn.ModuleList(nn.Linear(4, 5) for _ in range(3)),
        head=nn.Linear(5, 2),
    )


@network("messages along the edges of a graph", (5, 6))
def messages() -> nn.Module:
    def run(net: Net, x: Tensor) -> Tensor:
        h = F.relu(net.stem(x))
        first, second = torch.tensor([0, 1, 2, 3, 4, 0]), torch.tensor([1, 2, 3, 4, 0, 2])
        sent = F.relu(net.send(torch.cat([h[first], h[second]], 1)))
        heard = torch.zeros(5, 4, dtype=x.dtype).index_add(0, second, sent)
        return net.head(h + heard)

    return Net(run, stem=nn.Linear(6, 4), send=nn.Linear(8, 4), head=nn.Linear(4, 2))


@network("two towers, compared by the product of their outputs", (4, 6), (4, 5))
def two_towers() -> nn.Module:
    def run(net: Net, a: Tensor, b: Tensor) -> Tensor:
        a = net.a2(F.relu(net.a1(a)))
        b = net.b2(F.relu(net.b1(b)))
        return F.normalize(a, dim=1) @ F.normalize(b, dim=1).t()

    return Net(run, a1=nn.Linear(6, 4), a2=nn.Linear(4, 3), b1=nn.Linear(5, 4), b2=nn.Linear(4, 3))


@network("products written with einsum, heads apart", (2, 4, 6))
def by_einsum() -> nn.Module:
    def run(net: Net, x: Tensor) -> Tensor:
        h = F.relu(torch.einsum("bti,oi->bto", x, net.first.weight))
        h = F.relu(torch.einsum("oi,bti->bot", net.second.weight, h))
        return net.head(h.mean(2))

    return Net(
        run,
        first=nn.Linear(6, 4, bias=False),
        second=nn.Linear(4, 5, bias=False),
        head=nn.Linear(5, 2),
    )
