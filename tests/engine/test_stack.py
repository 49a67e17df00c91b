"""A stack's networks stay modules: views, gradients, states, release; and its refusals."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from engine.nets import Crater, batch, copies, everything, several, streamed
from regrow.engine import SGD, Adam, Answers, Stack, program_of
from regrow.engine.loss import Reduction
from regrow.errors import ConfigError, ShapeError


def stacked(count: int = 3) -> tuple[list[nn.Module], Stack]:
    models = several(everything, count, dtype=torch.float32)
    return models, Stack(models)


def test_parameters_keep_identity_and_numbers_and_are_views() -> None:
    models = several(everything, 3, dtype=torch.float32)
    before = [dict(model.named_parameters()) for model in models]
    kept = copies(models)
    stack = Stack(models)
    for number, model in enumerate(models):
        for name, parameter in model.named_parameters():
            assert parameter is before[number][name]
            assert torch.equal(parameter, kept[number].get_parameter(name))
            row = stack.memory.parameters.all(name)[number]
            assert parameter.data_ptr() == row.data_ptr()
            assert parameter.requires_grad
            assert parameter.is_leaf
    with torch.no_grad():
        models[1].get_parameter("0.weight").fill_(3.0)
    assert bool((stack.memory.parameters.all("0.weight")[1] == 3.0).all())
    assert not bool((stack.memory.parameters.all("0.weight")[0] == 3.0).any())


def test_what_is_edited_in_a_network_is_what_the_stack_computes() -> None:
    models, stack = stacked()
    images, _ = batch(4, 1, 8, 8, dtype=torch.float32)
    other = several(everything, 5, dtype=torch.float32)[4]
    models[2].load_state_dict(other.state_dict())
    for model in (*models, other):
        model.eval()
    with torch.no_grad():
        expected = other(images)
    torch.testing.assert_close(stack.logits(images)[2], expected, rtol=1e-4, atol=1e-5)


def test_gradients_come_back_after_somebody_took_them_away() -> None:
    models, stack = stacked()
    images, labels = batch(4, 1, 8, 8, dtype=torch.float32)
    stack.gradients(images, labels)
    first = models[0].get_parameter("0.weight").grad
    assert first is not None
    kept = first.clone()
    models[0].zero_grad(set_to_none=True)
    for model in models:
        model.get_submodule("1").reset_running_stats()
    stack.gradients(images, labels)
    again = models[0].get_parameter("0.weight").grad
    assert again is not None
    assert torch.equal(again, kept)
    assert again.data_ptr() == stack.memory.gradients.all("0.weight")[0].data_ptr()


def test_folded_layers_have_no_gradient_and_the_next_call_has() -> None:
    models = several(Crater, 2, dtype=torch.float32)
    stack = Stack(models)
    images, labels = batch(4, 1, 8, 8, dtype=torch.float32)
    before = models[0].get_parameter("dense.weight").clone()
    stack.gradients(images, labels, rates=[0.1, 0.1], folded=["dense"])
    assert models[0].get_parameter("dense.weight").grad is None
    assert models[0].get_parameter("head.weight").grad is not None
    assert not torch.equal(models[0].get_parameter("dense.weight"), before)
    stack.gradients(images, labels)
    assert models[0].get_parameter("dense.weight").grad is not None


def test_release_gives_each_network_memory_of_its_own() -> None:
    models, stack = stacked()
    images, labels = batch(4, 1, 8, 8, dtype=torch.float32)
    optimizer = SGD(stack, lr=0.1)
    optimizer.train(images, labels)
    before = {key: value.clone() for key, value in models[0].state_dict().items()}
    stack.release()
    stack.memory.parameters.flat.zero_()
    stack.memory.buffers.flat.zero_()
    for key, value in models[0].state_dict().items():
        assert torch.equal(value, before[key])
        assert value.untyped_storage().nbytes() == value.nbytes
    models[0](images).sum().backward()  # a plain module again


def test_norms_in_training_and_evaluation_network_by_network() -> None:
    models, stack = stacked(2)
    models[0].eval()
    kept = copies(models)
    images, _ = batch(4, 1, 8, 8, dtype=torch.float32)
    found = stack.logits(images)
    for number, model in enumerate(kept):
        with torch.no_grad():
            expected = model(images)
        torch.testing.assert_close(found[number], expected, rtol=1e-4, atol=1e-5)
        for name, buffer in model.named_buffers():
            torch.testing.assert_close(models[number].get_buffer(name), buffer)
    assert int(models[0].get_buffer("1.num_batches_tracked")) == 0
    assert int(models[1].get_buffer("1.num_batches_tracked")) == 1


@pytest.mark.parametrize("batched", [False, True])
def test_a_mean_over_all_batches_goes_on_from_each_networks_own_count(batched: bool) -> None:
    def build() -> nn.Module:
        norm = nn.BatchNorm2d(3, momentum=None)
        return nn.Sequential(nn.Conv2d(1, 3, 2), norm, nn.Flatten(), nn.Linear(27, 3))

    models = several(build, 2, dtype=torch.float64)
    for step in range(2):  # the second network has seen two batches more
        models[1](batch(5, 1, 4, 4, seed=9 + step)[0])
    plain = copies(models)
    stack = Stack(models, batched=batched)
    for step in range(3):
        images, labels = batch(5, 1, 4, 4, seed=step)
        stack.gradients(images, labels)
        for other in plain:
            other(images)
    for model, other in zip(models, plain, strict=True):
        for name, buffer in other.named_buffers():
            torch.testing.assert_close(model.get_buffer(name), buffer, rtol=1e-12, atol=1e-12)


def test_a_known_program_is_not_traced_again() -> None:
    models = several(Crater, 2, dtype=torch.float32)
    program = program_of(models[0])
    assert Stack(models, program=program).program is program


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_reductions(reduction: str) -> None:
    models = several(Crater, 1, dtype=torch.float64)
    plain = copies(models)[0]
    images, labels = batch(6, 1, 8, 8)
    losses, _ = Stack(models).gradients(images, labels, reduction=reduction)  # type: ignore[arg-type]
    loss = nn.functional.cross_entropy(plain(images), labels, reduction=reduction)
    loss.backward()
    torch.testing.assert_close(losses[0], loss.detach())
    for name, parameter in plain.named_parameters():
        torch.testing.assert_close(models[0].get_parameter(name).grad, parameter.grad)


def test_refusals() -> None:
    one = several(Crater, 1, dtype=torch.float32)[0]
    with pytest.raises(ConfigError, match="at least one network"):
        Stack([])
    with pytest.raises(ConfigError, match="in a stack once"):
        Stack([one, one])
    with pytest.raises(ConfigError, match="network 1 computes something else"):
        Stack([one, *several(everything, 1, dtype=torch.float32)])
    with pytest.raises(ConfigError, match="float32 or float64"):
        Stack(several(Crater, 1, dtype=torch.bfloat16))
    with pytest.raises(ConfigError, match=r"of network 1 must be torch\.float32"):
        Stack([one, *several(Crater, 1, dtype=torch.float64)])
    stack = Stack([one])
    images, labels = batch(4, 1, 8, 8, dtype=torch.float32)
    with pytest.raises(ConfigError, match=r"images must be torch\.float32"):
        stack.logits(images.double())
    with pytest.raises(ShapeError, match="images must be"):
        stack.gradients(images.expand(2, -1, -1, -1, -1), labels)
    with pytest.raises(ShapeError, match="labels must be"):
        stack.gradients(images, labels[:3])
    with pytest.raises(ConfigError, match="need 1 learning rates"):
        stack.gradients(images, labels, folded=["dense"])
    with pytest.raises(ConfigError, match="'conv1' is none"):
        stack.gradients(images, labels, folded=["conv1"], rates=[0.1])
    with pytest.raises(ConfigError, match="folded layers need plain SGD"):
        SGD(stack, lr=0.1, momentum=0.9, folded=["dense"])
    with pytest.raises(ConfigError, match="lr must be one number or 1, got 2"):
        Adam(stack, lr=[0.1, 0.2])


@pytest.mark.parametrize("laid", [False, True])
def test_to_learn_is_to_find_the_same_gradients_and_to_be_judged_later(laid: bool) -> None:
    """Also where the images are laid into the stack's memory by somebody else."""
    stacks = [Stack(several(streamed, 2, dtype=torch.float32)) for _ in range(2)]
    answers = Answers(2, device=torch.device("cpu"))
    losses, right = torch.zeros(2, dtype=torch.float64), torch.zeros(2, dtype=torch.int64)
    for step, samples in enumerate((6, 6, 4)):
        images, labels = batch(2, samples, 1, 8, 8, seed=step, dtype=torch.float32)
        loss, hits = stacks[0].gradients(images, labels)
        losses += loss.to(torch.float64) * samples
        right += hits
        columns = stacks[1].columns(samples, (1, 8, 8))
        assert columns is not None
        if laid:
            columns.copy_(images.flatten(2).mT)
        given = None if laid else images
        stacks[1].learn(given, labels, answers=answers, shape=(1, 8, 8) if laid else ())
        for one, other in zip(*(stack.models for stack in stacks), strict=True):
            for mine, theirs in zip(one.parameters(), other.parameters(), strict=True):
                assert mine.grad is not None
                assert theirs.grad is not None
                assert torch.equal(mine.grad, theirs.grad)
        assert torch.equal(stacks[0].heard("0", 1), stacks[1].heard("0", 1))
    found = answers.sums()
    assert torch.equal(found[0], losses)
    assert torch.equal(found[1], right)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_outputs_that_take_no_part_have_no_gradient_and_are_no_answer(
    reduction: Reduction,
) -> None:
    """Of each network another number, against autograd over the others; also where those would win, or are none."""
    models = several(streamed, 3, dtype=torch.float64)
    head = "11"
    with torch.no_grad():
        models[0].get_parameter(f"{head}.bias")[2] = 50.0
        models[1].get_parameter(f"{head}.bias")[1] = float("nan")
    plain, stack, there = copies(models), Stack(models), torch.tensor([2, 1, 3])
    answers = Answers(3, device=torch.device("cpu"))
    images, labels = batch(3, 6, 1, 8, 8, dtype=torch.float64)
    labels = torch.minimum(labels, there[:, None] - 1)
    stack.learn(images, labels, answers=answers, reduction=reduction, outputs=there)
    losses, right = answers.sums()
    for number, (model, other) in enumerate(zip(models, plain, strict=True)):
        count = int(there[number])
        scores = other(images[number])[:, :count]
        loss = F.cross_entropy(scores, labels[number], reduction=reduction)
        loss.backward()
        weight = 6 if reduction == "mean" else 1
        assert float(losses[number]) == pytest.approx(float(loss.detach()) * weight, abs=1e-12)
        assert int(right[number]) == int((scores.argmax(1) == labels[number]).sum())
        grad = model.get_parameter(f"{head}.weight").grad
        assert grad is not None
        assert not grad[count:].any()
        for name, mine in model.named_parameters():
            if not mine.isnan().any() and number != 1:
                expected = other.get_parameter(name).grad
                torch.testing.assert_close(mine.grad, expected, rtol=1e-10, atol=1e-12)


def test_batches_that_lie_in_tiles_have_no_columns() -> None:
    stack = Stack(
        several(
            lambda: nn.Sequential(nn.Conv2d(8, 2, 5), nn.Flatten(), nn.Linear(2048, 2)),
            1,
            dtype=torch.float32,
        )
    )
    assert stack.columns(4, (8, 36, 36)) is not None
    assert stack.columns(256, (8, 36, 36)) is None
