"""On a CUDA device: the same decisions as on the CPU, no waiting in idle steps, its optimizers and graphs."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import nn

import regrow
from loop.loops import EXAMPLE, Batches, Make, adam, kill, marked, often, sgd

Cnn = Callable[[int], nn.Module]
Some = Callable[[int], Batches]
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device"),
]

MAKES: dict[str, Make] = {
    "sgd": sgd,
    "sgd-fused": lambda model: sgd(model, fused=True),
    "adam": adam,
    "adam-foreach": lambda model: adam(model, foreach=True),
    "adam-fused": lambda model: adam(model, fused=True),
    "adam-capturable": lambda model: adam(model, capturable=True),
    "adamw-fused": lambda model: torch.optim.AdamW(model.parameters(), lr=0.01, fused=True),
}


def test_a_dead_filter_is_found_as_on_the_cpu(small_cnn: Cnn, batches: Some) -> None:
    found = []
    for device in ("cpu", "cuda"):
        model = small_cnn(0).to(device)
        kill(model, 1)
        optimizer = sgd(model)
        recipe = regrow.RandomOut(active_fraction=1.0)
        regrower = regrow.attach(recipe, model, optimizer, example_inputs=EXAMPLE.to(device))
        for images, labels in batches(30):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images.to(device)), labels.to(device)).backward()
            optimizer.step()
        found.append([(event.step, event.layer, event.filters) for event in regrower.report.events])
    assert found[0] == found[1] == [(24, "3", (1,))]


def _step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: tuple[torch.Tensor, torch.Tensor],
    *,
    scaler: torch.amp.GradScaler | None = None,
    autocast: torch.dtype | None = None,
    factor: float = 1.0,
) -> None:
    images, labels = (each.cuda() for each in batch)
    optimizer.zero_grad()
    with torch.autocast("cuda", dtype=autocast, enabled=autocast is not None):
        loss = nn.functional.cross_entropy(model(images).float(), labels) * factor
    (loss if scaler is None else scaler.scale(loss)).backward()
    if scaler is None:
        optimizer.step()
    else:
        scaler.step(optimizer)
        scaler.update()


@contextmanager
def _no_waiting() -> Generator[None]:
    """Any wait for the device inside is an error."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_equal_gradients_give_equal_decisions_and_draws_on_both_devices(small_cnn: Cnn) -> None:
    """The gradients are made on the CPU and copied: the scores differ by the order of a sum at most."""
    found = []
    for device in ("cpu", "cuda"):
        model = small_cnn(0).to(device)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        recipe = regrow.RandomOut(
            confirm="gradient", threshold=25.0, active_fraction=1.0, readers="redraw"
        )
        regrower = regrow.attach(recipe, model, optimizer, example_inputs=EXAMPLE.to(device))
        generator = torch.Generator().manual_seed(3)
        for _ in range(4):
            for parameter in model.parameters():
                grad = torch.randn(parameter.shape, generator=generator)
                parameter.grad = grad.to(device)
            optimizer.step()
        values = {name: value.cpu() for name, value in model.state_dict().items()}
        found.append((marked(regrower), values, regrower.report.renewed))
    assert found[0][0] == found[1][0]
    assert 4 < found[0][2] < 40
    for name, value in found[0][1].items():
        assert torch.equal(value, found[1][1][name]), name


@pytest.mark.parametrize("name", MAKES)
def test_every_kind_of_step_renews_and_trains_on(name: str, small_cnn: Cnn, batches: Some) -> None:
    model = small_cnn(0).cuda()
    kill(model, 1, 4)
    optimizer = MAKES[name](model)
    regrower = regrow.attach(often(), model, optimizer, example_inputs=EXAMPLE.cuda())
    for batch in batches(10):
        _step(model, optimizer, batch)
    assert (regrower.report.steps, regrower.report.checks) == (10, 5)
    assert regrower.report.renewed > 2
    assert all(bool(value.isfinite().all()) for value in model.parameters())


@pytest.mark.parametrize("name", ["sgd", "sgd-fused", "adam", "adam-fused"])
def test_float16_under_a_scaler(name: str, small_cnn: Cnn, batches: Some) -> None:
    """The skipped step is not counted, and its infinite gradients decide nothing."""
    model = small_cnn(0).cuda()
    kill(model, 1)
    optimizer = MAKES[name](model)
    scaler = torch.amp.GradScaler("cuda", init_scale=1024.0)
    regrower = regrow.attach(often(), model, optimizer, example_inputs=EXAMPLE.cuda())
    for number, batch in enumerate(batches(9)):
        factor = float("inf") if number == 3 else 1.0
        _step(model, optimizer, batch, scaler=scaler, autocast=torch.float16, factor=factor)
    assert (regrower.report.steps, regrower.report.checks) == (8, 4)
    assert regrower.report.nonfinite == 0
    assert any(1 in event.filters for event in regrower.report.events if event.layer == "3")
    assert scaler.get_scale() == 512.0


@pytest.mark.parametrize("name", ["sgd", "adam", "adam-fused", "adam-capturable"])
def test_no_wait_for_the_device_where_nothing_is_due(
    name: str, small_cnn: Cnn, batches: Some
) -> None:
    model = small_cnn(0).cuda()
    optimizer = MAKES[name](model)
    recipe = regrow.RandomOut(confirm="gradient", active_fraction=1.0, every_steps=1000)
    regrower = regrow.attach(recipe, model, optimizer, example_inputs=EXAMPLE.cuda())
    images, labels = (each.cuda() for each in batches(1)[0])
    _step(model, optimizer, batches(1)[0])
    with _no_waiting():
        for _ in range(5):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
    assert (regrower.report.steps, regrower.report.checks) == (6, 0)


def test_channels_last_and_compile(small_cnn: Cnn, batches: Some) -> None:
    model = small_cnn(0).cuda().to(memory_format=torch.channels_last)
    kill(model, 1)
    optimizer = adam(model, fused=True)
    compiled: Any = torch.compile(model, backend="aot_eager", fullgraph=True)
    regrower = regrow.attach(often(), compiled, optimizer, example_inputs=EXAMPLE.cuda())
    for number, batch in enumerate(batches(8)):
        with torch.compiler.set_stance("default" if number < 2 else "fail_on_recompile"):
            _step(compiled, optimizer, batch)
    assert regrower.report.renewed > 2
    assert model[3].weight.is_contiguous(memory_format=torch.channels_last)  # type: ignore[index]


def test_a_captured_forward_and_backward_pass_sees_renewed_weights(
    small_cnn: Cnn, batches: Some
) -> None:
    """A CUDA graph reads the addresses of the parameters, and these stay. The step itself is made outside of it."""
    model = small_cnn(0).cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    images, labels = (each.cuda() for each in batches(1)[0])
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), labels).backward()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    optimizer.zero_grad()
    with torch.cuda.graph(graph):
        loss = nn.functional.cross_entropy(model(images), labels)
        loss.backward()
    recipe = regrow.RandomOut(confirm="gradient", threshold=1e9, active_fraction=1.0)
    regrower = regrow.attach(recipe, model, optimizer, example_inputs=EXAMPLE.cuda())
    graph.replay()
    before = loss.item()
    optimizer.step()
    assert regrower.report.renewed == 10
    graph.replay()
    assert loss.item() != before
    expected = nn.functional.cross_entropy(model(images), labels)
    torch.testing.assert_close(loss, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_data_parallel_replicas_read_the_renewed_weights(small_cnn: Cnn, batches: Some) -> None:
    model = nn.DataParallel(small_cnn(0).cuda())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    recipe = regrow.RandomOut(confirm="gradient", threshold=1e9, active_fraction=1.0)
    regrower = regrow.attach(recipe, model, optimizer, example_inputs=EXAMPLE.cuda())
    _step(model, optimizer, batches(1)[0])
    assert regrower.report.renewed == 10
    model.eval()
    images = batches(1)[0][0].cuda()
    torch.testing.assert_close(model(images), model.module(images), rtol=1e-3, atol=1e-5)
