"""examples/: each of them trains for some hundred steps, units are renewed, and a target network follows."""

from __future__ import annotations

import importlib
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import regrow
from trainers import kit

pytest.importorskip("gymnasium", reason="make test-trainers installs it")

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Any:
    """An example by its name, as it is where it is run from its own folder."""
    monkeypatch.syspath_prepend(EXAMPLES)

    def load(name: str) -> Any:
        return importlib.import_module(name)

    random.seed(0)
    with torch.random.fork_rng(), kit.quietly():
        torch.manual_seed(0)
        yield load


def _follows(report: Any, net: nn.Module, target: nn.Module) -> None:
    """What was renewed last is in the target too, which is otherwise a copy of some time ago."""
    event = report.events[-1]
    name = f"{event.layer}.weight"
    own, there = (dict(each.named_parameters())[name].detach() for each in (net, target))
    for unit in event.filters:
        # A fresh unit differs from an old one by far more than the steps since have moved it.
        assert torch.allclose(own[unit], there[unit], atol=0.3 * float(own[unit].std()))


def test_the_plain_loop(example: Any) -> None:
    module = example("dqn_loop")
    report, net, target = module.train(260, regrow.ReDo(every_steps=64))
    assert report.events
    assert {event.layer for event in report.events} <= {"0", "2", "5"}
    assert "7" not in report.layers  # the values of the actions are the answer
    _follows(report, net, target)


def test_stable_baselines3_dqn(example: Any) -> None:
    pytest.importorskip("stable_baselines3")
    report, agent = example("dqn_stable_baselines3").train(700, regrow.ReDo(every_steps=50))
    assert report.steps > 100
    assert report.events
    _follows(report, agent.q_net, agent.q_net_target)


def test_stable_baselines3_ppo(example: Any) -> None:
    """Units of the encoder, of the actor and of the critic, and of no head."""
    pytest.importorskip("stable_baselines3")
    report, _ = example("ppo_stable_baselines3").train(
        256, regrow.ContinualBackprop(rate=0.02, maturity=8)
    )
    assert report.steps > 20
    parts = {event.layer.partition(".")[0] for event in report.events}
    assert parts
    assert {"action_net", "value_net"}.isdisjoint(report.layers)


def test_the_image_says_where_ball_and_paddle_are(example: Any) -> None:
    catch = example("catch")
    env = catch.Catch()
    image, _ = env.reset(seed=3)
    assert image.shape == (1, 36, 36)
    rewards = []
    for _ in range(8):
        image, reward, ended, _, _ = env.step(1)
        rewards.append(reward)
    assert ended
    caught = image[0, -4, 16] == 255 and int((image > 0).sum()) == 16
    assert rewards == [0.0] * 7 + [1.0 if caught else -1.0]
