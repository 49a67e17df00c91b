"""What networks that are trained side by side took: each what its own recipe did, and all the same of the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.sharing.running import small_study
from lab.test_trial import dataset_of
from regrow.lab.plan import plan
from regrow.lab.run import Run
from regrow.lab.trial import Request, train_together

ARMS = {
    "none": {"recipe": "none"},
    "randomout": {
        "recipe": "randomout",
        "settings": {"confirm": "gradient", "threshold": 0.3, "active_fraction": 1.0},
    },
}


@pytest.mark.parametrize("engine", ["modules", "stack"])
def test_a_recipe_s_time_is_its_own_network_s(
    digits_npz: Path, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    study = small_study(digits_npz, ARMS)
    specs = [spec for spec in plan(study).trials if spec.seed == study.seeds[0]]
    noted: dict[str, list[tuple[float, float]]] = {}
    told = Run.trained

    def trained(self: Run, found: object, *, finite: object, seconds: float) -> object:
        noted.setdefault(self.spec.label, []).append((seconds, self.recipe_seconds))
        return told(self, found, finite=finite, seconds=seconds)  # type: ignore[arg-type] # pyright: ignore

    monkeypatch.setattr(Run, "trained", trained)
    train_together(
        [Request(specs=(spec,)) for spec in specs],
        dataset_of(study),
        engine=engine,  # pyright: ignore[reportArgumentType]
        on_fork=lambda _: None,
        on_epoch=lambda *_: None,
        on_end=lambda _: None,
    )
    assert len(noted["none"]) == len(noted["randomout"]) > 1
    past = 0.0
    for (plain, nothing), (renewing, inside) in zip(noted["none"], noted["randomout"], strict=True):
        own, past = inside - past, inside
        assert nothing == 0
        assert own > 0
        assert renewing - plain == pytest.approx(own)
