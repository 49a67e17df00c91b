"""stable-baselines3's DQN with its convolutions, and ReDo on the critic; its target network is a companion.

Needs ``pip install regrow stable-baselines3``.
"""

from __future__ import annotations

import torch
from catch import Catch
from stable_baselines3 import DQN

import regrow


def train(steps: int = 50_000, recipe: regrow.Recipe | None = None) -> tuple[regrow.Report, DQN]:
    """Play and learn; what was renewed, and the agent."""
    agent = DQN("CnnPolicy", Catch(), buffer_size=10_000, learning_starts=64, seed=0)
    regrower = regrow.attach(
        recipe or regrow.ReDo(),
        agent.q_net,  # the encoder and the head behind it: all that the optimizer trains
        agent.policy.optimizer,
        example_inputs=torch.zeros(2, 1, 36, 36, dtype=torch.uint8),
        companions=[agent.q_net_target],
        state_in_optimizer=True,  # agent.save takes the optimizer along, and the regrower with it
    )
    agent.learn(steps)
    return regrower.report, agent


if __name__ == "__main__":
    print(train()[0])
