"""Networks over time: causal convolutions and recurrent cells."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from oracle.networks import Net, network


@network("causal, dilated convolutions over time, residual", (3, 3, 8))
def over_time() -> nn.Module:
    def run(net: Net, x: Tensor) -> Tensor:
        x = net.stem(x)
        for layer, step in ((net.a, 1), (net.b, 2)):
            x = x + F.relu(layer(F.pad(x, (2 * step, 0))))
        return net.head(x[..., -1])

    return Net(
        run,
        stem=nn.Conv1d(3, 4, 1),
        a=nn.Conv1d(4, 4, 3),
        b=nn.Conv1d(4, 4, 3, dilation=2),
        head=nn.Linear(4, 2),
    )


@network("gated convolutions whose skips are summed up for the output", (3, 3, 8))
def gated_skips() -> nn.Module:
    def run(net: Net, x: Tensor) -> Tensor:
        x, total = net.stem(x), torch.zeros(())
        for pair, skip, back in zip(net.pairs, net.skips, net.backs, strict=True):
            value, gate = pair(x).chunk(2, 1)
            h = torch.tanh(value) * torch.sigmoid(gate)
            total = total + skip(h)
            x = x + back(h)
        return net.out(F.relu(total))

    return Net(
        run,
        stem=nn.Conv1d(3, 4, 1),
        pairs=nn.ModuleList(nn.Conv1d(4, 6, 3, padding=1) for _ in range(2)),
        skips=nn.ModuleList(nn.Conv1d(3, 5, 1) for _ in range(2)),
        backs=nn.ModuleList(nn.Conv1d(3, 4, 1) for _ in range(2)),
        out=nn.Conv1d(5, 2, 1),
    )


@network("a recurrent cell by hand: what it gives it reads again", (4, 3, 5))
def recurrent_by_hand() -> nn.Module:
    def run(net: Net, x: Tensor) -> Tensor:
        h = torch.zeros(x.shape[0], 4, dtype=x.dtype)
        for step in x.unbind(1):
            h = torch.tanh(net.inward(step) + net.again(h))
        return net.head(h)

    return Net(run, inward=nn.Linear(5, 4), again=nn.Linear(4, 4), head=nn.Linear(4, 2))


@network("gated recurrent units from two layers, the gates' filters in thirds of one", (4, 3, 5))
def gated_recurrent() -> nn.Module:
    def run(net: Net, x: Tensor) -> Tensor:
        h = torch.zeros(x.shape[0], 4, dtype=x.dtype)
        for step in x.unbind(1):
            (r1, z1, n1), (r2, z2, n2) = (
                net.inward(F.relu(net.stem(step))).chunk(3, 1),
                net.again(h).chunk(3, 1),
            )
            z = torch.sigmoid(z1 + z2)
            h = (1 - z) * torch.tanh(n1 + torch.sigmoid(r1 + r2) * n2) + z * h
        return net.head(h)

    return Net(
        run,
        stem=nn.Linear(5, 4),
        inward=nn.Linear(4, 12),
        again=nn.Linear(4, 12),
        head=nn.Linear(4, 2),
    )


@network("torch's GRUCell between linear layers", (4, 3, 5))
def gru_cell() -> nn.Module:
    def run(net: Net, x: Tensor) -> Tensor:
        h = torch.zeros(x.shape[0], 3, dtype=x.dtype)
        for step in x.unbind(1):
            h = net.cell(F.relu(net.stem(step)), h)
        return net.head(F.relu(net.middle(h)))

    return Net(
        run,
        stem=nn.Linear(5, 4),
        cell=nn.GRUCell(4, 3),
        middle=nn.Linear(3, 4),
        head=nn.Linear(4, 2),
    )


@network("a recurrent layer that is called twice, first on zeros", (4, 2, 5))
def two_steps() -> nn.Module:
    def run(net: Net, x: Tensor) -> Tensor:
        h = torch.zeros(x.shape[0], 4, dtype=x.dtype)
        for step in x.unbind(1):
            h = torch.tanh(net.inward(step) + net.again(h))
        return net.head(h)

    return Net(run, inward=nn.Linear(5, 4), again=nn.Linear(4, 4), head=nn.Linear(4, 2))


@network("torch's LSTM over the columns of a convolution's output", (2, 2, 4, 5))
def lstm_over_columns() -> nn.Module:
    def run(net: Net, x: Tensor) -> Tensor:
        h = F.relu(net.conv(x)).mean(2).transpose(1, 2)
        return net.head(F.relu(net.middle(net.lstm(h)[0][:, -1])))

    return Net(
        run,
        conv=nn.Conv2d(2, 4, 3, padding=1),
        lstm=nn.LSTM(4, 3, batch_first=True),
        middle=nn.Linear(3, 4),
        head=nn.Linear(4, 2),
    )


@network(
    "a convolutional LSTM: four gates in one convolution over the input and its own output",
    (2, 3, 2, 5, 5),
)
def convolutional_lstm() -> nn.Module:
    def run(net: Net, x: Tensor) -> Tensor:
        h = c = torch.zeros(x.shape[0], 3, *x.shape[3:], dtype=x.dtype)
        for step in x.unbind(1):
            i, f, o, g = net.gates(torch.cat([step, h], 1)).chunk(4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
        return net.head(F.relu(net.last(h)).mean((2, 3)))

    return Net(
        run, gates=nn.Conv2d(5, 12, 3, padding=1), last=nn.Conv2d(3, 4, 1), head=nn.Linear(4, 2)
    )
