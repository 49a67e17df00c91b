from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("ranking", ["activations", "apoz", "taylor", "hessian", "oracle"])
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
        ("lazy", "must know its shapes before it is trained, 2.weight belongs to a lazy layer"),
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
