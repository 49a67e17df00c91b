"""A file is the old one or the new one, whatever happens in between."""

from __future__ import annotations

import re
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import regrow
from regrow._whole import write_whole

SRC = Path(regrow.__file__).parent


@pytest.mark.parametrize("forced", [False, True])
def test_a_file_holds_its_parts_and_nothing_lies_beside_it(tmp_path: Path, forced: bool) -> None:
    path = tmp_path / ("name" * 50)  # as long as a file's name may be, or nearly
    write_whole(path, b"old", forced=forced)
    write_whole(path, b"new", memoryview(b" and whole"), forced=forced)
    assert path.read_bytes() == b"new and whole"
    assert list(tmp_path.iterdir()) == [path]


def test_it_can_be_read_by_those_who_may_read_other_files(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    write_whole(tmp_path / "whole", b"")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "whole")]
    assert modes[0] == modes[1]


@pytest.mark.parametrize("forced", [False, True])
def test_a_full_disk_leaves_the_old_file(
    small_disk: Path, fill_disk: Callable[[Path], None], forced: bool
) -> None:
    path = small_disk / "file"
    write_whole(path, b"old", forced=forced)
    fill_disk(small_disk / "filler")
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, b"new" * 100_000, forced=forced)
    assert path.read_bytes() == b"old"
    assert {each.name for each in small_disk.iterdir()} == {"file", "filler"}


def test_an_error_in_the_middle_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, b"old")
    with pytest.raises(TypeError):
        write_whole(path, b"half", "a text")  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_kill_in_the_middle_leaves_the_old_file(tmp_path: Path) -> None:
    # The kernel ends a process that writes more to a file than it may: always at the same byte.
    script = """
import resource, signal, sys
from pathlib import Path
from regrow._whole import write_whole

write_whole(Path(sys.argv[1]), b"old")
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
write_whole(Path(sys.argv[1]), b"new" * 10_000)
"""
    path = tmp_path / "file"
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, check=False)
    assert done.returncode == -signal.SIGXFSZ, done.stderr.decode()
    assert path.read_bytes() == b"old"
    [rest] = [each for each in tmp_path.iterdir() if each != path]
    assert rest.suffix == ".tmp"  # which the store sweeps up
    assert 0 < rest.stat().st_size < 30_000


def test_nobody_else_writes_files() -> None:
    """What is not written by the one function could be found half written."""
    writes = re.compile(
        r"write_text\(|write_bytes\(|\.open\(\s*\"[wax]|mkstemp|NamedTemporary|os\.replace"
    )
    found = {
        path.relative_to(SRC).as_posix()
        for path in SRC.rglob("*.py")
        if writes.search(path.read_text(encoding="utf-8"))
    }
    # Whose the lock is: a word for people, which only its holder writes. A log's lines are appended one by one.
    assert found == {"_whole.py", "study/folder.py", "logs/csv.py"}
