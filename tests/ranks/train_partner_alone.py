"""One rank of a ring whose ranks are started one by one, saves a checkpoint after each graft, and may die or hang.

    python tests/ranks/train_partner_alone.py FOLDER [--resume] [--die STEP] [--hang STEP] [--timeout SECONDS]

with RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT in the environment, and `tests` in PYTHONPATH.

`FOLDER/RANK.pt` is the last checkpoint, `FOLDER/RANK-end.pt` the end.
"""

from __future__ import annotations

import argparse
import datetime
import os
import signal
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

import regrow
from partners.nets import EPOCH, EXAMPLE, step_of
from ranks.started import as_program
from ranks.train_partners import build, optimizer_of

STEPS = 4 * EPOCH


def save(path: Path, *parts: Any) -> None:
    """Whole or not at all."""
    torch.save([part.state_dict() for part in parts], path.with_suffix(".new"))
    path.with_suffix(".new").rename(path)


def main() -> None:
    """Train, from the start or from the last checkpoint."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--die", type=int)
    parser.add_argument("--hang", type=int)
    parser.add_argument("--timeout", type=float)
    parser.add_argument("--memory", default="graft")
    given = parser.parse_args()
    torch.set_num_threads(1)
    dist.init_process_group("gloo", timeout=datetime.timedelta(hours=1))
    rank = dist.get_rank()
    model = build(rank)
    optimizer = optimizer_of(model, rank)
    grafter = regrow.attach_partners(
        regrow.FilterGrafting(partners=dist.get_world_size(), memory=given.memory),
        *(model, optimizer),
        example_inputs=EXAMPLE,
        steps_per_epoch=EPOCH,
        timeout_s=given.timeout,
    )
    parts, checkpoint = (model, optimizer, grafter), given.folder / f"{rank}.pt"
    if given.resume:
        states = torch.load(checkpoint, weights_only=True)
        for part, state in zip(parts, states, strict=True):
            part.load_state_dict(state)
    for step in range(grafter.report.steps, STEPS):
        if step == given.die:
            os.kill(os.getpid(), signal.SIGKILL)
        if step == given.hang:
            signal.pause()
        step_of(model, optimizer, step, network=rank)
        if (step + 1) % EPOCH == 0:
            save(checkpoint, *parts)
    save(given.folder / f"{rank}-end.pt", *parts)
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    as_program(main)
