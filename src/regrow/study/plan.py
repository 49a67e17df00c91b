"""A study as it is going to run: its cells, arms and trials, each worked out once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from regrow.study.arms import complete
from regrow.study.document import EngineName, Study
from regrow.study.fingerprint import fingerprint_document
from regrow.study.grid import Cell, cells
from regrow.study.known import Known
from regrow.study.records import ArmRecord
from regrow.study.relations import arm_records
from regrow.study.trials import TrialSpec, trials


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that follows from a study before anything is trained.

    Args:
        study: As it was written.
        known: What it may name.
        where: Its file, for messages.

    Edge cases:
        What does not fit is a ConfigError when it is first asked for: `cells` asks for all of it.
    """

    study: Study
    known: Known
    where: str = "study"

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """The grid, multiplied out and completed."""
        return cells(self.study, complete=self._complete, where=self.where)

    @cached_property
    def trials(self) -> tuple[TrialSpec, ...]:
        """All trials, in the order in which they run."""
        return trials(self.cells, self.known, seeds=self.study.seeds, where=self.where)

    @cached_property
    def arms(self) -> tuple[ArmRecord, ...]:
        """How the arms of each cell stand to each other."""
        return arm_records(self.cells, self.known.recipes.info)

    @cached_property
    def document(self) -> dict[str, Any]:
        """The study as plain data with everything written out, as it is stored beside the results.

        Where the grid varies a setting, the value outside the grid stands.
        """
        base = self.study.model_copy(update={"grid": {}})
        found = self._complete(base, self.where) if self.study.grid else self.cells[0].study
        whole = found.model_dump(mode="json")
        return {**whole, "grid": dict(self.study.grid), "seeds": list(self.study.seeds)}

    def fingerprint_document(
        self,
        *,
        data_digests: Mapping[str, str],
        engine: EngineName = "modules",
        device: str = "cpu",
    ) -> dict[str, Any]:
        """All that determines the results of a trial, JSON-ready; `data_digests` are by cell."""
        return fingerprint_document(
            self.cells, self.known, data_digests=data_digests, engine=engine, device=device
        )

    def _complete(self, study: Study, where: str) -> Study:
        return complete(study, self.known, where=where)
