from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from regrow.errors import ConfigError, RegrowError
from regrow.lab.preflight import preflight
from regrow.lab.study import Study
from regrow.lab.trials import trials

MakeStudy = Callable[..., Study]


def test_a_good_study_gives_the_datas_hash_and_nothing_to_say(tiny_study: MakeStudy) -> None:
    found = preflight(trials(tiny_study("none", "randomout", "random", "restart")))
    assert list(found.data_digests) == ["base"]
    assert len(found.data_digests["base"]) == 64
    assert found.notices == ()


def test_a_recipe_that_cannot_act_is_noticed_and_no_error(tiny_study: MakeStudy) -> None:
    settings = ("randomout.every_epochs=3", "randomout.active_fraction=0.5")
    found = preflight(trials(tiny_study("randomout", settings=settings)))
    assert len(found.notices) == 1
    assert found.notices[0].startswith("arm randomout: recipe 'randomout' will never act")


def test_a_missing_data_folder(tiny_study: MakeStudy, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--data-dir: must be a folder"):
        preflight(trials(tiny_study()), data_dir=tmp_path / "none")


def test_a_batch_that_leaves_no_step(tiny_study: MakeStudy) -> None:
    settings = ("train.drop_last=true", "train.batch_size=97")
    with pytest.raises(ConfigError, match=r"train\.batch_size: must be at most 96"):
        preflight(trials(tiny_study(settings=settings)))


def test_an_image_too_small_for_the_model(tiny_study: MakeStudy) -> None:
    with pytest.raises(RegrowError, match="cratercnn"):
        preflight(trials(tiny_study(settings=("model.kernel=9",))))
