"""Fifty faults at random moments: what ended stays, and every study ends as a quiet local one."""

from __future__ import annotations

from pathlib import Path

import pytest

from on_ray.faults import Faults, quiet, write_study
from on_ray.nodes import Nodes

pytest.importorskip("ray", reason="Ray is not installed here: make test-ray")


@pytest.mark.slow
def test_nothing_that_ended_is_lost_in_fifty_faults(tmp_path: Path) -> None:
    study = write_study(tmp_path, seeds=6, epochs=40)
    local = quiet(study, tmp_path / "local")
    nodes = Nodes(count=3)
    try:
        found = Faults(nodes, tmp_path, study, local, seed=0).run(50)
    finally:
        nodes.close()
    assert sum(found.faults.values()) == 50
    assert found.ended > 0
    assert (found.lost, found.different, found.exits) == (0, 0, [])
    assert {"node", "worker", "storage"} <= set(found.said)
