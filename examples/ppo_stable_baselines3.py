"""stable-baselines3's PPO with its convolutions, and Continual Backprop on encoder, actor and critic.

Needs ``pip install regrow stable-baselines3``.
"""

from __future__ import annotations

import torch
from catch import Catch
from stable_baselines3 import PPO

import regrow


def train(steps: int = 50_000, recipe: regrow.Recipe | None = None) -> tuple[regrow.Report, PPO]:
    """Play and learn; what was renewed, and the agent."""
    dense = {"pi": [64], "vf": [64]}
    agent = PPO(
        *("CnnPolicy", Catch()),
        n_steps=128,
        policy_kwargs={"net_arch": dense, "activation_fn": torch.nn.ReLU},
        seed=0,
    )
    regrower = regrow.attach(
        recipe or regrow.ContinualBackprop(),
        agent.policy,  # PPO trains encoder, actor and critic together, by one optimizer
        agent.policy.optimizer,
        example_inputs=torch.zeros(2, 1, 36, 36, dtype=torch.uint8),
        state_in_optimizer=True,
    )
    agent.learn(steps)
    return regrower.report, agent


if __name__ == "__main__":
    print(train()[0])
