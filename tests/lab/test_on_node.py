"""What a node of a cluster looks at before it trains: no cluster is needed to look."""

from __future__ import annotations

from pathlib import Path

from regrow.lab import on_node
from regrow.study.storage import Stored


def asked_in(folder: Path) -> Stored:
    file = Stored(str(folder / ".asked-1"), patient=False)
    file.write(b"regrow")
    return file


def test_a_node_that_is_fit_answers_in_the_storage(tmp_path: Path) -> None:
    asked = asked_in(tmp_path)
    assert on_node.unfit(asked, on_node.versions(), "n") == ""
    assert on_node.reply(asked, "n").read_bytes() == b"regrow"


def test_other_versions_are_named(tmp_path: Path) -> None:
    here = dict(on_node.versions())
    wanted = frozenset({**here, "torch": "0.4", "python": "2.7"}.items())
    assert on_node.unfit(asked_in(tmp_path), wanted) == (
        f"must have the versions of this machine: python {here['python']} there, 2.7 here; "
        f"torch {here['torch']} there, 0.4 here"
    )


def test_a_storage_that_is_not_there_is_named(tmp_path: Path) -> None:
    asked = Stored(str(tmp_path / "not-mounted" / ".asked-1"), patient=False)
    told = on_node.unfit(asked, on_node.versions())
    assert told.startswith(f"does not share the storage {tmp_path}/not-mounted: ")
    assert "--storage names a folder that all nodes mount" in told
