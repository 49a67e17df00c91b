"""What the Trainer of Transformers alone has: a second train() with the same optimizer, and a longer training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from trainers import kit

pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from trainers.transformers_training import train


def test_a_second_training_remembers_what_its_optimizer_does(tmp_path: Path) -> None:
    """The trainer counts from 0, the optimizer and the regrower go on."""
    ended = train(tmp_path, kit.often(), again=True)
    assert ended.steps == 2 * kit.STEPS
    assert any(event.step >= kit.STEPS for event in ended.events)


def test_a_longer_training_goes_on_where_the_shorter_ended(tmp_path: Path) -> None:
    settings = {"lr_scheduler_type": "constant"}
    train(tmp_path / "parted", kit.dead(), num_train_epochs=2, **settings)
    ended = train(tmp_path / "parted", kit.dead(), **settings)
    assert ended.same(train(tmp_path / "whole", kit.dead(), **settings))


@pytest.mark.slow
def test_a_compiled_model(tmp_path: Path) -> None:
    """What is called is what torch.compile has made; the pass is read all the same."""
    settings = {"torch_compile": True, "torch_compile_backend": "eager"}
    whole = train(tmp_path / "whole", kit.dead(), **settings)
    assert [event.step for event in whole.events] == [3]
    torch._dynamo.reset()
    train(tmp_path / "parted", kit.dead(), stop=5, **settings)
    assert train(tmp_path / "parted", kit.dead(), **settings).same(whole)
