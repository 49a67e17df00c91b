"""Names, settings and the promise that asking for them is cheap."""

from __future__ import annotations

from pathlib import Path

import pytest

from fresh import fresh
from regrow.errors import ConfigError, DataError, UnknownNameError
from regrow.lab.data import check, defaults, load, names, summary


@pytest.mark.parametrize("name", names())
def test_every_source_has_a_summary_and_settings_that_pass_their_own_check(name: str) -> None:
    assert summary(name)
    assert name == "bits" or {"scale", "n_train", "n_test"} < defaults(name).keys()
    full = f"{name}:somewhere" if name in {"npz", "folder"} else name
    check(full, defaults(name))


def test_unknown_name_and_setting() -> None:
    with pytest.raises(
        UnknownNameError, match=r"unknown data set 'digts' \(did you mean 'digits'\?\)"
    ):
        load("digts")
    with pytest.raises(UnknownNameError, match="data set digits: unknown setting 'region'"):
        check("digits", {"region": "East"})
    for ask in (defaults, summary):
        with pytest.raises(UnknownNameError, match="unknown data set 'none'"):
            ask("none")


def test_paths_where_they_belong() -> None:
    with pytest.raises(ConfigError, match="data set 'npz' needs a path: npz:PATH"):
        check("npz", {})
    with pytest.raises(ConfigError, match="data set 'digits' takes no path, got 'digits:x'"):
        check("digits:x", {})


def test_a_data_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the data folder must exist, there is no folder"):
        load("craters", data_dir=tmp_path / "gone")


def test_names_and_settings_are_known_without_torch(tmp_path: Path) -> None:
    heavy = ("torch", "sklearn", "PIL", "pooch", "matplotlib")
    program = (
        "import sys; from regrow.lab import data; from regrow.lab.models import registry as models\n"
        "data.check('craters', {'region': 'West'}); models.check('cratercnn', {'filters': 2})\n"
        "models.recorded_init('resnet20', {}); data.names(); models.defaults('convnet')\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    assert fresh(program, folder=tmp_path, forget={"regrow", *heavy}) == (0, "[]\n")
