from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from crossed import seldom
from regrow.errors import ConfigError, RegrowError
from regrow.lab.plan import plan
from regrow.lab.preflight import preflight
from regrow.study.document import Study

MakeStudy = Callable[..., Study]


def test_a_good_study_gives_the_datas_hash_and_nothing_to_say(tiny_study: MakeStudy) -> None:
    found = preflight(plan(tiny_study("none", "randomout", "random", "restart")).trials)
    assert list(found.data_digests) == ["base"]
    assert len(found.data_digests["base"]) == 64
    assert found.notices == ()


def test_a_recipe_that_cannot_act_is_noticed_and_no_error(tiny_study: MakeStudy) -> None:
    settings = ("randomout.every_epochs=3", "randomout.active_fraction=0.5")
    found = preflight(plan(tiny_study("randomout", settings=settings)).trials)
    assert len(found.notices) == 1
    assert found.notices[0].startswith("arm randomout: recipe 'randomout' will never act")


@pytest.mark.parametrize(
    "ranking",
    seldom(["activations", "apoz", "taylor", "hessian", "oracle"], often=["activations", "oracle"]),
)
def test_a_ranking_on_images_that_are_trained_on_is_noticed(
    tiny_study: MakeStudy, ranking: str
) -> None:
    settings = ("repr.s1=1", "repr.s2=1", "repr.cycles=1", f"repr.rank_by={ranking}")
    found = preflight(plan(tiny_study("none", "repr", settings=settings, epochs=5)).trials)
    assert found.notices == (
        "arm repr: ranks filters on the first 96 training images, which it is trained on; "
        "train.held_out = N sets images aside",
    )
    apart = tiny_study("none", "repr", settings=(*settings, "train.held_out=24"), epochs=5)
    assert preflight(plan(apart).trials).notices == ()


@pytest.mark.parametrize("ranking", ["overlap", "weights", "gradients", "random"])
def test_a_ranking_that_looks_at_no_images_needs_none_aside(
    tiny_study: MakeStudy, ranking: str
) -> None:
    settings = ("repr.s1=1", "repr.s2=1", "repr.cycles=1", f"repr.rank_by={ranking}")
    study = tiny_study("none", "repr", "random", settings=settings, epochs=5)
    assert preflight(plan(study).trials).notices == ()


def test_a_missing_data_folder(tiny_study: MakeStudy, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--data-dir: must be a folder"):
        preflight(plan(tiny_study()).trials, data_dir=tmp_path / "none")


def test_a_batch_that_leaves_no_step(tiny_study: MakeStudy) -> None:
    settings = ("train.drop_last=true", "train.batch_size=97")
    with pytest.raises(ConfigError, match=r"train\.batch_size: must be at most 96"):
        preflight(plan(tiny_study(settings=settings)).trials)


def test_an_image_too_small_for_the_model(tiny_study: MakeStudy) -> None:
    with pytest.raises(RegrowError, match="cratercnn"):
        preflight(plan(tiny_study(settings=("model.kernel=9",))).trials)


NETS = """
from torch import nn


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)

    def forward(self, x):
        return self.conv(x), x


class Broken(Two):
    def forward(self, x):
        raise ValueError("first\\nsecond")


def flat(outputs):
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2 * 6 * 6, outputs))


def too_many(*, in_channels, image_size, classes):
    return flat(classes + 7)


def too_few(*, in_channels, image_size, classes):
    return flat(1)


def two(*, in_channels, image_size, classes):
    return Two()


def broken(*, in_channels, image_size, classes):
    return Broken()


class InTraining(nn.Module):
    # Right where it is tested; in training mode something else comes out.

    def __init__(self, outputs, *, wrong):
        super().__init__()
        self.net, self.wrong = flat(outputs), wrong

    def forward(self, x):
        scores = self.net(x)
        return self.wrong(scores, x) if self.training else scores


def pair_in_training(*, in_channels, image_size, classes):
    return InTraining(classes, wrong=lambda scores, x: (scores, x))


def fewer_in_training(*, in_channels, image_size, classes):
    return InTraining(classes, wrong=lambda scores, x: scores[:, :1])


def fails_in_training(*, in_channels, image_size, classes):
    def fail(scores, x):
        raise ValueError("first\\nsecond")

    return InTraining(classes, wrong=fail)


def detached_in_training(*, in_channels, image_size, classes):
    return InTraining(classes, wrong=lambda scores, x: scores.detach())


def whole_numbers(*, in_channels, image_size, classes):
    return InTraining(classes, wrong=lambda scores, x: scores.long())


class Modeless(nn.Sequential):
    def __init__(self, classes, refused):
        super().__init__(nn.Flatten(), nn.Linear(64, classes))
        self.refused = refused

    def train(self, mode=True):
        if mode in self.refused:
            raise ValueError("no such mode")
        return super().train(mode)


def no_evaluation(*, in_channels, image_size, classes):
    return Modeless(classes, refused=(False,))


def no_training(*, in_channels, image_size, classes):
    return Modeless(classes, refused=(True,))


def no_mode(*, in_channels, image_size, classes):
    return Modeless(classes, refused=(True, False))


def normed(*, in_channels, image_size, classes):
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, classes)
    )


class Counting(nn.Module):
    # Says how often it was run, and how large the batches were that it was trained on.

    runs, trained = 0, []

    def __init__(self, outputs):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, outputs)
        )

    def forward(self, x):
        Counting.runs += 1
        if self.training and type(x).__name__ == "Tensor":
            Counting.trained.append(len(x))
        return self.net(x)


def counting(*, in_channels, image_size, classes):
    return Counting(classes)


def lazy(*, in_channels, image_size, classes):
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.LazyLinear(classes))
"""


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            "too_many",
            "must return one score for each of 3 classes, shape (2, 3) for 2 images, got (2, 10)",
        ),
        (
            "too_few",
            "must return one score for each of 3 classes, shape (2, 3) for 2 images, got (2, 1)",
        ),
        ("two", "must return a tensor of scores, got tuple"),
        ("broken", "raised ValueError: first second on images of shape (2, 1, 8, 8)"),
        ("pair_in_training", "in training mode: must return a tensor of scores, got tuple"),
        (
            "fewer_in_training",
            "in training mode: must return one score for each of 3 classes, shape (16, 3) for 16 images, got (16, 1)",
        ),
        (
            "fails_in_training",
            "raised ValueError: first second in training mode on the last batch of an epoch, images of shape "
            "(16, 1, 8, 8)",
        ),
        ("lazy", "must know its shapes before it is trained, 2.weight belongs to a lazy layer"),
        *(
            (f"no_{mode}", "raised ValueError: no such mode on images of shape (2, 1, 8, 8)")
            for mode in ("evaluation", "training", "mode")
        ),
    ],
)
def test_a_network_that_cannot_be_trained_is_told_by_its_name(
    function: str,
    message: str,
    tiny_study: MakeStudy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "preflight_nets.py").write_text(NETS)
    monkeypatch.syspath_prepend(tmp_path)
    study = tiny_study("none")
    own = study.model.model_copy(update={"name": f"preflight_nets:{function}", "settings": {}})
    with pytest.raises(ConfigError) as told:
        preflight(plan(study.model_copy(update={"model": own})).trials)
    assert str(told.value) == f"model 'preflight_nets:{function}': {message}"


def test_a_recipe_that_cannot_be_attached_names_its_arm(tiny_study: MakeStudy) -> None:
    with pytest.raises(ConfigError, match=r"^arm randomout: .*unknown initialiser 'foo'"):
        preflight(plan(tiny_study("none", "randomout", settings=("randomout.init=foo",))).trials)


@pytest.fixture
def own_net(
    tiny_study: MakeStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Study]:
    """A study of one of the networks above."""
    (tmp_path / "preflight_nets.py").write_text(NETS)
    monkeypatch.syspath_prepend(tmp_path)

    def make(function: str, *recipes: str, **options: Any) -> Study:
        study = tiny_study(*recipes, **options)
        own = study.model.model_copy(update={"name": f"preflight_nets:{function}", "settings": {}})
        return study.model_copy(update={"model": own})

    return make


@pytest.mark.parametrize(
    ("function", "told"),
    [
        ("detached_in_training", "RuntimeError: element 0 of tensors does not require grad"),
        ("whole_numbers", "not implemented for 'Long'"),
    ],
)
def test_a_loss_that_cannot_be_learned_from_is_told(
    own_net: Callable[..., Study], function: str, told: str
) -> None:
    with pytest.raises(ConfigError) as error:
        preflight(plan(own_net(function, "none")).trials)
    begin = f"model 'preflight_nets:{function}': cannot learn from the last batch of an epoch, images of shape (16, 1,"
    assert str(error.value).startswith(begin)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_a_norm_over_one_image_is_told_where_the_last_batch_has_one(
    own_net: Callable[..., Study],
) -> None:
    """96 images: of 19 in a batch the last has one, of 16 it has 16; 95 are left of them by one held out."""
    with pytest.raises(ConfigError) as error:
        preflight(plan(own_net("normed", "none", settings=("train.batch_size=19",))).trials)
    assert str(error.value) == (
        "model 'preflight_nets:normed': raised ValueError: Expected more than 1 value per channel when training, got "
        "input size torch.Size([1, 8]) in training mode on the last batch of an epoch, images of shape (1, 1, 8, 8); "
        "train.drop_last = true leaves a batch of one image out"
    )
    for settings in (
        ("train.batch_size=16",),
        ("train.batch_size=19", "train.drop_last=true"),
        ("train.batch_size=19", "train.held_out=1"),
    ):
        preflight(plan(own_net("normed", "none", settings=settings)).trials)


def test_a_batch_larger_than_the_data_is_noticed(tiny_study: MakeStudy) -> None:
    found = preflight(
        plan(tiny_study("none", "randomout", settings=("train.batch_size=97",))).trials
    )
    assert found.notices == (
        "train.batch_size: 97 is more than the 96 training images, each step has all",
    )
    assert preflight(plan(tiny_study(settings=("train.batch_size=96",))).trials).notices == ()


def test_what_cells_and_arms_have_in_common_is_tried_once(own_net: Callable[..., Study]) -> None:
    """Networks run as often for 36 cells of three arms as for one."""

    def counted(grid: dict[str, list[Any]]) -> tuple[int, list[int]]:
        study = own_net(
            "counting", "none", "randomout", "random", settings=("randomout.confirm=gradient",)
        )
        counter = importlib.import_module("preflight_nets").Counting
        counter.runs, counter.trained = 0, []
        specs = plan(study.model_copy(update={"grid": grid})).trials
        assert len(preflight(specs).data_digests) == len({spec.cell for spec in specs})
        return counter.runs, counter.trained

    grid = {
        "randomout.threshold": [1e-8, 1e-6, 1e-4],
        "randomout.active_fraction": [0.3, 0.6, 0.9],
        "train.lr": [0.1, 0.2],
        "train.epochs": [2, 3],
    }
    alone, crossed = counted({}), counted(grid)
    assert crossed == alone
    assert crossed[1].count(16) == 1
    # What is trained otherwise is tried for itself, on its own last batch: 96 are 16 times 6 and 50 and 46.
    assert counted({"train.batch_size": [16, 50]})[1].count(46) == 1


def test_a_rehearsal_leaves_the_generator_as_it_was(tiny_study: MakeStudy) -> None:
    before = torch.get_rng_state()
    preflight(plan(tiny_study("none", "randomout")).trials)
    assert torch.equal(torch.get_rng_state(), before)
