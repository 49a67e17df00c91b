"""A plain DQN loop on images, with ReDo on the critic: its encoder and its dense layer; the target is a companion.

Needs ``pip install regrow gymnasium``.
"""

from __future__ import annotations

import copy
import random
from collections import deque

import torch
from catch import Catch
from torch import nn

import regrow


def q_network(actions: int) -> nn.Module:
    """The convolutions of "Human-level control through deep reinforcement learning", for a smaller image."""
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 8, 4), nn.ReLU(), nn.Conv2d(32, 64, 4, 2), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(64 * 3 * 3, 128), nn.ReLU(), nn.Linear(128, actions)),
    )


def train(
    steps: int = 20_000, recipe: regrow.Recipe | None = None
) -> tuple[regrow.Report, nn.Module, nn.Module]:
    """Play and learn; what was renewed, the network and its target."""
    env = Catch()
    net = q_network(3)
    target = copy.deepcopy(net)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-4)
    regrower = regrow.attach(
        recipe or regrow.ReDo(every_steps=500),
        net,
        optimizer,
        example_inputs=torch.zeros(2, 1, 36, 36),
        companions=[
            target
        ],  # a renewed unit is renewed there too, between two updates of the target
        # No total_steps: a training that has no end needs none.
    )
    memory: deque[tuple[torch.Tensor, ...]] = deque(maxlen=10_000)
    image, _ = env.reset(seed=0)
    seen = torch.from_numpy(image) / 255
    for step in range(steps):
        explores = random.random() < max(0.05, 1 - step / 5_000)  # noqa: S311 # no secret
        with torch.no_grad():
            action = random.randrange(3) if explores else int(net(seen[None]).argmax())  # noqa: S311
        image, reward, ended, _, _ = env.step(action)  # type: ignore[arg-type]
        after = torch.from_numpy(image) / 255
        past = torch.tensor(action), torch.tensor(reward), torch.tensor(float(ended))
        memory.append((seen, *past, after))
        seen = torch.from_numpy(env.reset()[0]) / 255 if ended else after
        if len(memory) < 64:
            continue
        batch = random.sample(memory, 32)
        before, did, got, over, then = (torch.stack(each) for each in zip(*batch, strict=True))
        with torch.no_grad():
            wanted = got + 0.99 * (1 - over) * target(then).amax(1)
        said = net(before).gather(1, did[:, None])[:, 0]
        optimizer.zero_grad()
        nn.functional.smooth_l1_loss(said, wanted).backward()
        optimizer.step()
        if step % 500 == 0:
            target.load_state_dict(net.state_dict())
    return regrower.report, net, target


if __name__ == "__main__":
    print(train()[0])
