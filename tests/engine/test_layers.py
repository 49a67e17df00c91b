"""Every layer against autograd, over shapes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from engine.nets import Build, batch, copies, everything, plain_gradients, several
from regrow.engine import Stack, tiles
from regrow.errors import ShapeError
from regrow.nn import GainControl2d

SIZES = st.integers(1, 6)
BATCHES = st.sampled_from([1, 2, 5, 48, 64])  # the last is cut into two tiles
SOME = settings(max_examples=15, deadline=None)


@pytest.fixture(scope="module", autouse=True)
def _small_tiles() -> Iterator[None]:
    """No room: these networks are so small that a tile would have hundreds of samples."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiles, "ROOM", 1)
        yield


def check(
    build: Build, *, image: tuple[int, ...], samples: int, batched: bool, training: bool = True
) -> None:
    """Loss, right answers, gradients, logits and buffers of two networks are autograd's."""
    models = several(build, 2, dtype=torch.float64)
    for model in models:
        model.train(training)
    plain = copies(models)
    stack = Stack(models, batched=batched)
    images, _ = batch(2, samples, *image)
    _, labels = batch(2, samples, 1, 1, 1)
    losses, right = stack.gradients(images, labels)
    for number, (model, other) in enumerate(zip(models, plain, strict=True)):
        loss, hits, grads = plain_gradients(other, images[number], labels[number])
        torch.testing.assert_close(losses[number], loss, rtol=1e-12, atol=1e-12)
        assert int(right[number]) == hits
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(parameter.grad, grads[name], rtol=1e-10, atol=1e-12)
        for name, buffer in model.named_buffers():
            torch.testing.assert_close(buffer, other.get_buffer(name), rtol=1e-12, atol=1e-12)
    with torch.no_grad():
        for model, other in zip(models, plain, strict=True):
            assert model.training == other.training
        found = stack.logits(images)
        for number, other in enumerate(plain):
            torch.testing.assert_close(found[number], other(images[number]), rtol=1e-10, atol=1e-12)


def headed(features: int, *layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(features, 3))


@SOME
@given(
    channels=st.sampled_from([1, 2, 9]),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    stride=st.sampled_from([(1, 1), (1, 1), (2, 2), (1, 3), (2, 1)]),
    extra=st.tuples(st.integers(0, 4), st.integers(0, 4)),
    bias=st.booleans(),
    samples=BATCHES,
    batched=st.booleans(),
)
def test_conv2d(
    *,
    channels: int,
    kernel: tuple[int, int],
    padding: tuple[int, int],
    stride: tuple[int, int],
    extra: tuple[int, int],
    bias: bool,
    samples: int,
    batched: bool,
) -> None:
    height, width = (
        max(1, k - 2 * p) + more for k, p, more in zip(kernel, padding, extra, strict=True)
    )
    after = [
        (side + 2 * p - k) // s + 1
        for side, p, k, s in zip((height, width), padding, kernel, stride, strict=True)
    ]
    check(
        lambda: headed(
            3 * after[0] * after[1],
            nn.Conv2d(2, channels, 1),  # so that the input has a gradient to be found
            nn.Conv2d(channels, 3, kernel, padding=padding, stride=stride, bias=bias),
        ),
        image=(2, height, width),
        samples=samples,
        batched=batched,
    )


@SOME
@given(
    features=st.integers(1, 9),
    hidden=SIZES,
    bias=st.booleans(),
    samples=BATCHES,
    batched=st.booleans(),
)
def test_linear_and_relu(
    features: int, hidden: int, bias: bool, samples: int, batched: bool
) -> None:
    check(
        lambda: nn.Sequential(
            nn.Flatten(), nn.Linear(features, hidden, bias=bias), nn.ReLU(), nn.Linear(hidden, 3)
        ),
        image=(features, 1, 1),
        samples=samples,
        batched=batched,
    )


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("samples", [1, 7, 64])
@pytest.mark.parametrize("activation", [nn.ReLU, nn.LeakyReLU])
def test_a_small_cnn_whose_convolutions_halve_the_maps(
    activation: type[nn.Module], samples: int, batched: bool
) -> None:
    """The first convolution reads the images, whose gradient nobody asks for; 64 samples are two tiles."""
    check(
        lambda: nn.Sequential(
            nn.Conv2d(3, 4, 3, stride=2, padding=1),
            activation(),
            nn.Conv2d(4, 5, 3, stride=2, padding=1),
            activation(),
            nn.Flatten(),
            nn.Linear(20, 6),
            activation(),
            nn.Linear(6, 3),
        ),
        image=(3, 7, 8),
        samples=samples,
        batched=batched,
    )


@SOME
@given(
    features=st.integers(1, 9),
    hidden=st.integers(2, 7),
    affine=st.booleans(),
    bias=st.booleans(),
    slope=st.sampled_from([None, 0.0, 0.01, 0.5, 3.0]),
    first=st.booleans(),
    samples=BATCHES,
    batched=st.booleans(),
)
def test_layer_norm_and_leaky_relu(
    *,
    features: int,
    hidden: int,
    affine: bool,
    bias: bool,
    slope: float | None,
    first: bool,
    samples: int,
    batched: bool,
) -> None:
    check(
        lambda: nn.Sequential(
            nn.Flatten(),
            *([nn.LayerNorm(features, eps=1e-2)] if first else []),
            nn.Linear(features, hidden),
            nn.LayerNorm(hidden, elementwise_affine=affine, bias=bias),
            nn.ReLU() if slope is None else nn.LeakyReLU(slope),
            nn.Linear(hidden, 3),
        ),
        image=(features, 1, 1),
        samples=samples,
        batched=batched,
    )


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("samples", [3, 64])
def test_an_activation_or_a_pool_that_reads_the_images(samples: int, batched: bool) -> None:
    check(
        lambda: headed(4, nn.LeakyReLU(0.3), nn.MaxPool2d(2), nn.LeakyReLU()),
        image=(1, 4, 5),
        samples=samples,
        batched=batched,
    )
    check(
        lambda: headed(4, nn.ReLU(), nn.MaxPool2d(2), nn.ReLU()),
        image=(1, 4, 5),
        samples=samples,
        batched=batched,
    )


@SOME
@given(
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    size=st.tuples(st.integers(3, 8), st.integers(3, 8)),
    samples=BATCHES,
    batched=st.booleans(),
)
def test_max_pool(
    kernel: tuple[int, int], size: tuple[int, int], samples: int, batched: bool
) -> None:
    features = 2 * (size[0] // kernel[0]) * (size[1] // kernel[1])
    check(
        # Equal numbers (zeros behind a ReLU) are common: the first has the gradient.
        lambda: headed(features, nn.Conv2d(1, 2, 1), nn.ReLU(), nn.MaxPool2d(kernel)),
        image=(1, *size),
        samples=samples,
        batched=batched,
    )


def test_max_pool_gives_a_tie_to_the_first_and_nan_through() -> None:
    def build() -> nn.Module:
        return headed(2, nn.Conv2d(2, 2, 1), nn.MaxPool2d(2))

    models = several(build, 1, dtype=torch.float64)
    with torch.no_grad():
        models[0].get_parameter("0.weight")[:, 1] = 0.0
    # All outputs are equal, and the gradient of the second channel's weights tells which one was taken.
    images = torch.ones(1, 2, 2, 2, dtype=torch.float64)
    images[0, 1] = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert_like_plain(models, images)
    images[0, 0, 1, 0] = torch.nan
    stack = Stack(copies(models))
    assert bool(stack.logits(images).isnan().all())


def assert_like_plain(models: list[nn.Module], images: torch.Tensor) -> None:
    labels = torch.zeros(len(images), dtype=torch.int64)
    _, _, grads = plain_gradients(models[0], images, labels)
    own = copies(models)
    Stack(own).gradients(images, labels)
    for name, parameter in own[0].named_parameters():
        torch.testing.assert_close(parameter.grad, grads[name])


@SOME
@given(size=st.tuples(SIZES, SIZES), samples=BATCHES, batched=st.booleans())
def test_average_pool(size: tuple[int, int], samples: int, batched: bool) -> None:
    check(
        lambda: headed(3, nn.Conv2d(1, 3, 1), nn.AdaptiveAvgPool2d(1)),
        image=(1, *size),
        samples=samples,
        batched=batched,
    )


@SOME
@given(
    channels=st.integers(1, 4),
    size=st.tuples(st.integers(2, 5), st.integers(1, 5)),
    samples=BATCHES,
    affine=st.booleans(),
    tracks=st.booleans(),
    momentum=st.sampled_from([None, 0.1, 0.7]),
    training=st.booleans(),
    batched=st.booleans(),
)
def test_batch_norm(
    *,
    channels: int,
    size: tuple[int, int],
    samples: int,
    affine: bool,
    tracks: bool,
    momentum: float | None,
    training: bool,
    batched: bool,
) -> None:
    check(
        lambda: headed(
            channels * size[0] * size[1],
            nn.Conv2d(1, channels, 1),
            nn.BatchNorm2d(
                channels, affine=affine, track_running_stats=tracks, momentum=momentum, eps=1e-3
            ),
        ),
        image=(1, *size),
        samples=samples,
        batched=batched,
        training=training,
    )


@SOME
@given(
    channels=st.integers(1, 4),
    size=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    samples=BATCHES,
    relu=st.booleans(),
    positive=st.booleans(),
    learns=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    single=st.sampled_from(["pass_through", "formula"]),
    batched=st.booleans(),
)
def test_gain_control(
    *,
    channels: int,
    size: tuple[int, int],
    samples: int,
    relu: bool,
    positive: bool,
    learns: tuple[bool, bool, bool],
    single: str,
    batched: bool,
) -> None:
    check(
        lambda: headed(
            channels * size[0] * size[1],
            nn.Conv2d(1, channels, 1),
            GainControl2d(
                channels,
                mean_scale=0.7,
                gain=1.3,
                bias=0.1,
                relu=relu,
                positive_gain=positive,
                learn_mean_scale=learns[0],
                learn_gain=learns[1],
                learn_bias=learns[2],
                single_position=single,
            ),
        ),
        image=(1, *size),
        samples=samples,
        batched=batched,
    )


def seq_norm() -> nn.Module:
    return headed(5, nn.Flatten(), nn.LayerNorm(5))


@pytest.mark.parametrize(
    ("model", "image", "told"),
    [
        (headed(3, nn.Conv2d(2, 3, 1)), (1, 1, 1), "'0' must read maps of 2 channels, got 1"),
        (headed(3, nn.Conv2d(1, 3, 3)), (1, 2, 9), "'0' has a kernel of 3x3, larger than"),
        (headed(3, nn.Conv2d(1, 3, 3, 2)), (1, 2, 9), "'0' has a kernel of 3x3, larger than"),
        (headed(3, nn.Conv2d(2, 3, 1, 2)), (1, 1, 1), "'0' must read maps of 2 channels, got 1"),
        (seq_norm(), (4, 1, 1), "'1' must read 5 features, got 4"),
        (
            nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 3)),
            (4, 1, 1),
            "'0' must read 4 features, got maps",
        ),
        (nn.Sequential(nn.Linear(4, 3)), (4, 1, 1), "'0' must read 4 features, got maps"),
        (headed(4, nn.Conv2d(1, 3, 1)), (1, 1, 1), "'2' must read 4 features, got 3"),
        (headed(3, nn.Conv2d(1, 3, 1), nn.MaxPool2d(3)), (1, 2, 3), "'1' has windows of 3x3"),
        (headed(3, nn.Conv2d(1, 3, 1), GainControl2d(3)), (1, 1, 1), "more than one position"),
        (headed(3, nn.Conv2d(1, 3, 1), nn.BatchNorm2d(3)), (1, 1, 1), "more than one number"),
        (nn.Sequential(nn.Conv2d(1, 3, 1)), (1, 1, 1), "the last layer must give"),
    ],
)
def test_what_does_not_fit_is_refused(model: nn.Module, image: tuple[int, ...], told: str) -> None:
    with pytest.raises(ShapeError, match=told):
        Stack([model]).gradients(torch.zeros(1, *image), torch.zeros(1, dtype=torch.int64))


@pytest.mark.parametrize("samples", [64, 96])
def test_a_batch_that_is_cut_into_tiles(samples: int) -> None:
    check(everything, image=(1, 8, 8), samples=samples, batched=False)
