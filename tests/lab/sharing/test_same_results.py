"""What trials have in common is trained once, and every result has the bits of the trial trained alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from lab.sharing.grids import ALONE, BOTH, NETS, QUICK, Kind
from lab.sharing.running import Outcome, column, first_renewals, go, small_study, tables
from regrow.lab.events import Progressed, Started
from regrow.study.document import EngineName


def run_both(
    digits: Path, folder: Path, kinds: Mapping[str, Kind], engine: EngineName, *, epochs: int
) -> tuple[Outcome, Outcome]:
    """One study with sharing and without; their databases must be the same."""
    arms = {label: arm for name, kind in kinds.items() for label, arm in kind.arms(name).items()}
    train = {"epochs": epochs, "batch_size": 16, "lr": 0.1}
    looks = {"overlap": True, "weights": True}
    study = small_study(digits, arms, train=train, diagnostics=looks)
    shared = go(study, folder / "shared", engine=engine, sharing=True)
    alone = go(study, folder / "alone", engine=engine, sharing=False)
    found, expected = tables(shared.folder), tables(alone.folder)
    assert found.keys() == expected.keys()
    for table, rows in expected.items():
        assert found[table] == rows, table
    # A file that does not fit would be set aside with a notice, and its trials begun anew.
    assert shared.notices == alone.notices == []
    assert shared.tally.ended == alone.tally.ended
    assert not column(shared.folder, "SELECT error FROM trials WHERE status = 'crashed'")
    return shared, alone


def progressed(outcome: Outcome) -> int:
    return sum(event.network_epochs for event in outcome.events if isinstance(event, Progressed))


@pytest.mark.parametrize("engine", ["modules", pytest.param("stack", marks=pytest.mark.slow)])
def test_a_grid_has_the_same_results_with_sharing_and_without(
    digits_npz: Path, tmp_path: Path, engine: EngineName
) -> None:
    # Adam, augmented and with another rate at each step, is met in a stack and, by itself, below.
    kinds = {name: QUICK[name] for name in (QUICK if engine == "stack" else ("sgd", "blown"))}
    shared, alone = run_both(digits_npz, tmp_path, kinds, engine, epochs=4)
    # What is trained alone is all that was asked for, but for trials that diverged.
    assert alone.effort == sum(column(alone.folder, "SELECT epochs FROM trials"))
    assert shared.effort < 0.6 * alone.effort
    assert (progressed(shared), progressed(alone)) == (shared.effort, alone.effort)
    # Forks happened, some of them in the middle of the training.
    assert first_renewals(shared.folder) > {1}
    begun = [event.specs for event in shared.events if isinstance(event, Started)]
    assert len(begun) > len(kinds) * 2  # a family and a control each
    assert any(len(specs) > 1 for specs in begun[1:])
    ends = "SELECT COUNT(DISTINCT test_loss) FROM trials WHERE arm LIKE 'sgd-%'"
    assert column(shared.folder, ends)[0] >= 3
    # Scores that are no numbers are counted while a recipe looks.
    blown = "SELECT DISTINCT nonfinite FROM trials WHERE status = 'diverged'"
    assert len(column(shared.folder, blown)) >= 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "name"),
    [
        *(("stack", name) for name in BOTH),
        *(("modules", name) for name in BOTH),
        *(("modules", name) for name in ALONE),
    ],
)
def test_every_kind_of_training_has_the_same_results_with_sharing_and_without(
    digits_npz: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    engine: EngineName,
    name: str,
) -> None:
    (tmp_path / "dropping_nets.py").write_text(NETS)
    monkeypatch.syspath_prepend(tmp_path)
    kind = {**BOTH, **ALONE}[name]
    shared, alone = run_both(digits_npz, tmp_path, {name: kind}, engine, epochs=6)
    assert shared.effort < 0.75 * alone.effort
    renewed = column(shared.folder, "SELECT renewed FROM trials WHERE renewed > 0")
    assert 0 < len(renewed) < len(kind.arms(name))
    if kind.late:
        assert max(first_renewals(shared.folder)) > 1
