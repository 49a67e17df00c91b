"""Operation by operation: what a layer behind it reads is judged by running."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from graph.nets import Forward, randomised
from graph.oracle import check_wiring
from regrow.graph import trace

Op = Callable[[Tensor], Tensor]


def judged(op: Op, *, exact: bool, seed: int = 0) -> None:
    """A convolution, the operation, and a linear layer that reads every number of its result."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        x = torch.randn(12, 3, 6, 6, dtype=torch.float64)
        conv = nn.Conv2d(3, 4, 3).double()
        with torch.no_grad():
            features = op(conv(x)).reshape(12, -1).shape[1]
        net = randomised(
            Forward(
                lambda net, x: net.head(op(net.conv(x)).reshape(x.shape[0], -1)),
                conv=conv,
                head=nn.Linear(features, 2),
            )
        )
    wiring = trace(net, x[:2])
    assert wiring.remarks == ()
    assert wiring["conv"].refused == ""
    assert check_wiring(net, x, wiring, per_layer=4, exact=exact, draws=3) == 4


def padded(x: Tensor) -> Tensor:
    """Zeros around: what a window sees depends on where it is."""
    return F.pad(x, (2, 1, 3, 0))


MOVES: dict[str, Op] = {
    "permute": lambda x: x.permute(0, 3, 1, 2),
    "select": lambda x: x[:, 2],
    "step": lambda x: x[:, ::2, 1:],
    "flip": lambda x: x.flip(1),
    "roll": lambda x: x.roll((1, 1), (1, 3)),
    "index list": lambda x: x[:, [3, 0, 0]],
    "index_select": lambda x: x.index_select(1, torch.tensor([2, 1])),
    "gather": lambda x: x.gather(
        1, torch.tensor([3, 1]).view(1, 2, 1, 1).expand(x.shape[0], 2, 4, 4)
    ),
    "take_along_dim": lambda x: x.take_along_dim(torch.tensor([1]).view(1, 1, 1, 1), 1),
    "stack": lambda x: torch.stack([x, torch.zeros_like(x)], 2),
    "repeat": lambda x: x.repeat(1, 2, 1, 1),
    "repeat_interleave": lambda x: x.repeat_interleave(2, 1),
    "expand": lambda x: x[:, :, None].expand(-1, -1, 2, -1, -1),
    "constant pad": lambda x: F.pad(x, (1, 0, 0, 1, 2, 1), value=3.0),
    "negative pad": lambda x: F.pad(x, (-1, 0)),
    "reflect": lambda x: F.pad(x, (1, 2, 0, 1), mode="reflect"),
    "replicate": lambda x: F.pad(x, (1, 2, 0, 1), mode="replicate"),
    "circular": lambda x: F.pad(x, (1, 2, 0, 1), mode="circular"),
    "pixel_shuffle": lambda x: F.pixel_shuffle(x, 2),
    "pixel_unshuffle": lambda x: F.pixel_unshuffle(x, 2),
    "channel_shuffle": lambda x: F.channel_shuffle(x, 2),
    "unfold": lambda x: F.unfold(x, 2, padding=1),
    "sliding": lambda x: x.unfold(3, 2, 1),
    "nearest": lambda x: F.interpolate(x, scale_factor=2),
    "nearest exact": lambda x: F.interpolate(x, size=(3, 5), mode="nearest-exact"),
    "tril": lambda x: x.tril(),
    "rot90": lambda x: x.rot90(1, (1, 2)),
    "masked": lambda x: x.masked_fill(torch.eye(4).bool(), 0.0)[..., 1:, :1],
    "diagonal": lambda x: x.diagonal(dim1=1, dim2=2),
    "index_put": lambda x: torch.zeros_like(x).index_put(
        (torch.arange(x.shape[0])[:, None], torch.tensor([1, 3])), x[:, :2]
    ),
    "slice_scatter": lambda x: torch.slice_scatter(torch.zeros_like(x), x[:, :1], 1, 2, 3),
    "as_strided": lambda x: x.contiguous().as_strided((x.shape[0], 16), (64, 1), 16),
    "unbind": lambda x: torch.cat(x.unbind(1)[1:3], 1),
    "tensor_split": lambda x: x.tensor_split(3, 1)[0],
}

PLACES: dict[str, Op] = {
    "max_pool": lambda x: F.max_pool2d(padded(x), 2),
    "max_pool overlapping": lambda x: F.max_pool2d(padded(x), 3, 2, 1),
    "max_pool dilated": lambda x: F.max_pool2d(padded(x), 2, 1, dilation=2),
    "max_pool ceil": lambda x: F.max_pool2d(padded(x), 2, ceil_mode=True),
    "max_pool1d": lambda x: F.max_pool1d(padded(x).flatten(2), 3, 2),
    "max over channels": lambda x: F.max_pool3d(x[:, None], (2, 1, 1)),
    "avg_pool": lambda x: F.avg_pool2d(padded(x), (2, 3), (1, 2), (1, 1)),
    "avg_pool1d": lambda x: F.avg_pool1d(x.flatten(2).transpose(1, 2), 2),
    "avg_pool3d": lambda x: F.avg_pool3d(padded(x)[:, None], (2, 2, 2)),
    "adaptive": lambda x: F.adaptive_avg_pool2d(padded(x), (3, 2)),
    "adaptive max": lambda x: F.adaptive_max_pool2d(padded(x), (3, 2)),
    "global": lambda x: F.adaptive_avg_pool2d(x, 1),
    "mean": lambda x: x.mean((2, 3)),
    "mean over channels": lambda x: x.mean(1),
    "amax": lambda x: x.amax(1, keepdim=True),
    "max": lambda x: x.max(2)[0],
    "sum of all": lambda x: x.sum((1, 2, 3)),
    "std": lambda x: x.std((2, 3)),
    "var_mean": lambda x: torch.cat(torch.var_mean(x, 1), 1),
    "norm": lambda x: x.norm(dim=(2, 3)),
    "logsumexp": lambda x: x.logsumexp(2),
    "softmax": lambda x: x.softmax(1),
    "softmax over space": lambda x: x.flatten(2).softmax(-1),
    "log_softmax": lambda x: x.log_softmax(3),
    "normalize": F.normalize,
    "sort": lambda x: x.sort(1)[0],
    "glu": lambda x: F.glu(x, 1),
    "lp_pool": lambda x: F.lp_pool2d(x, 2, 2),
    "product with a constant": lambda x: x @ torch.ones(4, 2, dtype=x.dtype),
    "constant times": lambda x: torch.ones(2, 4, dtype=x.dtype) @ x,
    "bmm": lambda x: x[:, 0] @ x[:, 1],
    "matrix times vector": lambda x: x.flatten(1) @ torch.ones(64, dtype=x.dtype),
    "attention": lambda x: F.scaled_dot_product_attention(x[:, :1], x[:, 1:2], x[:, 2:3]),
    "bilinear": lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"),
    "bicubic": lambda x: F.interpolate(x, size=(3, 3), mode="bicubic"),
    "fixed depthwise": lambda x: F.conv2d(
        padded(x), torch.ones(4, 1, 3, 3, dtype=x.dtype), groups=4
    ),
    "fixed grouped": lambda x: F.conv2d(x, torch.ones(2, 2, 3, 3, dtype=x.dtype), groups=2),
    "fixed transposed": lambda x: F.conv_transpose2d(
        x, torch.ones(4, 1, 2, 2, dtype=x.dtype), groups=4
    ),
    "layer_norm": lambda x: F.layer_norm(x, (4,)),
    "layer_norm of all": lambda x: F.layer_norm(x, (4, 4, 4)),
    "rms_norm": lambda x: F.rms_norm(x, (4,)),
    "instance_norm": F.instance_norm,
    "group_norm, a channel a group": lambda x: F.group_norm(x, 4),
}


def _with_slice_written(x: Tensor) -> Tensor:
    room = x.new_zeros(x.shape[0], 6, 4, 4)
    room[:, 1:5] = x
    room[:, 3].copy_(x[:, 0])
    return room


def _with_view_written(x: Tensor) -> Tensor:
    room = torch.ones_like(x)
    flat = room.view(-1)
    room.narrow(1, 1, 2).mul_(x[:, :2])
    return flat.view(x.shape)


def _overwritten(x: Tensor) -> Tensor:
    room = x.clone()
    room[:, 0].zero_()
    room[:, 1].fill_(2.0)
    room[:, 2] = x[:, 3]
    return room


POINTWISE: dict[str, Op] = {
    "add": lambda x: x[:, :2] + x[:, 2:],
    "broadcast": lambda x: x * x[:, :1],
    "where": lambda x: torch.where(x[:, :1] > 0, x[:, 1:2], x[:, 2:3]),
    "gate": lambda x: x * torch.sigmoid(x.flip(1)),
    "hardswish": lambda x: F.hardswish(x.clone(), inplace=True),
    "prelu": lambda x: F.prelu(x, torch.full((4,), 0.3, dtype=x.dtype)),
    "in-place chain": lambda x: x.clone().mul_(2).add_(x.roll(1, 1)).clamp_(-1, 1).sigmoid_(),
    "write a slice": _with_slice_written,
    "write through a view": _with_view_written,
    "overwrite": _overwritten,
    "out": lambda x: torch.add(x, x.roll(1, 1), out=torch.empty_like(x)),
    "addcmul": lambda x: torch.addcmul(x[:, :1], x[:, 1:2], x[:, 2:3]),
    "detach": lambda x: x.detach() + 1,
    "half": lambda x: x.to(torch.float32).double(),
    "clone of a view": lambda x: x.transpose(1, 3).contiguous(),
    "swapped in place": lambda x: x.clone().transpose_(1, 2)[:, :2],
}


@pytest.mark.parametrize("name", MOVES)
def test_moves(name: str) -> None:
    judged(MOVES[name], exact=True)


@pytest.mark.parametrize("name", PLACES)
def test_reductions_windows_and_mixing(name: str) -> None:
    judged(PLACES[name], exact=True)


@pytest.mark.parametrize("name", POINTWISE)
def test_pointwise_and_in_place(name: str) -> None:
    judged(POINTWISE[name], exact=True)


@pytest.mark.parametrize(
    "op",
    [
        lambda x: x.cumsum(1),
        lambda x: F.interpolate(padded(x), scale_factor=2, mode="bilinear"),
        lambda x: x.flatten(1).topk(5, 1)[0],
        lambda x: x[:, x.mean((0, 2, 3)).argsort()],
        lambda x: F.grid_sample(x, x[:, :2].permute(0, 2, 3, 1), align_corners=False),
    ],
    ids=["cumsum", "bilinear with a border", "topk", "order by value", "grid_sample"],
)
def test_operations_that_choose_are_followed_on_the_safe_side(op: Op) -> None:
    judged(op, exact=False)
