"""One of two ranks of the training of `kit`: ``one_rank.py TRAINER FOLDER RANK PORT``, as torchrun would start it."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ranks.started import as_program
from trainers import kit


def main() -> None:
    """Train, and write down what came of it."""
    torch.set_num_threads(1)
    name, folder, rank, port = sys.argv[1:]
    os.environ |= {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    # Lightning's own word for its second process, which it would start itself.
    os.environ |= {"NODE_RANK": "0"}
    # Other examples on each rank, for trainers that do not deal them out.
    kit.IMAGES = kit.IMAGES.roll(kit.BATCH * int(rank), 0)
    trainer = importlib.import_module(f"trainers.{name}_training")
    ended = trainer.train(Path(folder) / "run", kit.dead(), **trainer.RANKS)
    weights = {key: each for key, each in ended.weights.items() if "running" not in key}
    events = [(each.step, each.layer, list(each.filters)) for each in ended.events]
    torch.save({"weights": weights, "events": events}, f"{folder}/{rank}.pt")


if __name__ == "__main__":
    as_program(main)
