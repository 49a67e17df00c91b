"""What Lightning alone has: a second fit, averages of the model, manual optimization, parts, and its own ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import regrow
from regrow.errors import ConfigError, UnknownNameError
from trainers import kit

pl = pytest.importorskip("lightning.pytorch")
from lightning.pytorch.callbacks import EMAWeightAveraging, StochasticWeightAveraging

from regrow.integrations.lightning import RegrowCallback
from trainers.lightning_training import Module, train

PLAIN: dict[str, Any] = {
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


def _fit(module: Any, *callbacks: Any, epochs: int = 1, **settings: Any) -> Any:
    with kit.quietly():
        trainer = pl.Trainer(
            **{**PLAIN, "max_epochs": epochs, **settings}, callbacks=list(callbacks)
        )
        trainer.fit(module, kit.Batches())
    return trainer


def test_a_second_fit_is_a_training_of_its_own() -> None:
    """Its optimizer is a new one, and its clock is what is left of the trainer's."""
    callback, module = RegrowCallback(kit.often()), Module(None)
    trainer = _fit(module, callback, epochs=2)
    first = callback.regrower
    assert callback.report.steps == 2 * kit.BATCHES
    trainer.fit_loop.max_epochs = 5
    with kit.quietly():
        trainer.fit(module, kit.Batches())
    assert callback.regrower is not first
    assert callback.report.steps == 3 * kit.BATCHES
    assert max(event.step for event in callback.report.events) < 0.7 * 3 * kit.BATCHES
    assert first.report.steps == 2 * kit.BATCHES  # it was detached


def test_a_fit_that_is_broken_off_leaves_the_way_free() -> None:
    callback = RegrowCallback(kit.often())

    class Broken(Module):
        def training_step(self, batch: Any, index: int) -> Tensor:
            if index == 2:
                raise RuntimeError("broken off")
            return super().training_step(batch, index)

    with pytest.raises(RuntimeError, match="broken off"):
        _fit(Broken(None), callback)
    module = Module(None)
    _fit(module, callback)
    assert callback.report.steps == kit.BATCHES


@pytest.mark.parametrize(
    "average", [lambda: EMAWeightAveraging(decay=0.9, update_starting_at_step=10**6)]
)
def test_averages_are_renewed_with_the_model(average: Any) -> None:
    """One that is never updated has its first weights, but for the filters that were renewed."""
    callback, module, ema = RegrowCallback(kit.dead()), Module(None), average()
    before = {name: each.clone() for name, each in module.network.state_dict().items()}
    kept: dict[str, Tensor] = {}

    class Keep(pl.Callback):
        def on_train_batch_end(self, trainer: Any, *others: Any) -> None:
            kept.update(
                {
                    name: each.clone()
                    for name, each in ema._average_model.module.network.state_dict().items()
                }
            )

    _fit(module, callback, ema, Keep())
    [event] = callback.report.events
    assert event.layer == "network.layers.3"
    name = "layers.3.weight"
    changed = (kept[name] != before[name]).flatten(1).any(1).nonzero()[:, 0].tolist()
    assert changed == list(event.filters)


def test_stochastic_averaging_goes_along() -> None:
    callback, module = RegrowCallback(kit.dead()), Module(None)
    _fit(module, callback, StochasticWeightAveraging(swa_lrs=0.01, swa_epoch_start=2), epochs=3)
    assert callback.report.events


class Manual(Module):
    """Two optimizers, by hand."""

    def __init__(self) -> None:
        super().__init__(None)
        self.automatic_optimization = False

    def training_step(self, batch: Any, index: int) -> None:
        first, second = self.optimizers()
        loss = kit.loss(self(batch[0]), batch[1])
        first.zero_grad()
        second.zero_grad()
        self.manual_backward(loss)
        first.step()
        second.step()

    def configure_optimizers(self) -> Any:
        layers = self.network.layers
        return (
            torch.optim.AdamW(layers[:3].parameters(), lr=0.003),
            torch.optim.AdamW(layers[3:].parameters(), lr=0.003),
        )


def test_manual_optimization_with_two_optimizers() -> None:
    callback = RegrowCallback(kit.dead(), total_steps=kit.BATCHES)
    _fit(Manual(), callback)
    assert callback.report.steps == kit.BATCHES
    assert callback.report.events


def test_manual_optimization_says_what_is_missing() -> None:
    with pytest.raises(ConfigError, match="total_steps"):
        _fit(Manual(), RegrowCallback(regrow.RandomOut(active_fraction=0.5)))


def test_a_part_and_inputs_of_ones_own() -> None:
    class Parted(Module):
        forward = None

        def training_step(self, batch: Any, index: int) -> Tensor:
            return kit.loss(self.network(batch[0]), batch[1])

    callback = RegrowCallback(kit.dead(), part="network", inputs=lambda batch: (batch[0][:2],))
    _fit(Parted(None), callback)
    assert [event.layer for event in callback.report.events] == ["layers.3"]


def test_a_recipe_by_name() -> None:
    callback = RegrowCallback("randomout", settings={"active_fraction": 1.0}, seed=3)
    _fit(Module(None), callback)
    assert callback.report.recipe == "randomout"
    with pytest.raises(UnknownNameError, match="did you mean 'randomout'"):
        RegrowCallback("randomot")
    with pytest.raises(ConfigError, match="settings are for a recipe that is given by name"):
        RegrowCallback(kit.dead(), settings={"threshold": 1.0})
    with pytest.raises(ConfigError, match="recipe must be a Recipe for one network"):
        RegrowCallback(regrow.FilterGrafting())


def test_a_longer_training_goes_on_where_the_shorter_ended(tmp_path: Path) -> None:
    """Continued with more epochs: the clock is that of the new length."""
    train(tmp_path, kit.dead(), max_epochs=2)
    ended = train(tmp_path, kit.dead(), max_epochs=kit.EPOCHS)
    assert ended.same(train(tmp_path / "whole", kit.dead()))
