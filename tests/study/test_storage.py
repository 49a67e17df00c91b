"""Files that every node reads: whole or not there, also on storage that fails for a while."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest

from regrow.errors import ConfigError, RegrowWarning
from regrow.study import storage
from regrow.study.storage import Stored, place_of, write


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Nothing waits; how long it would have."""
    waited: list[float] = []
    monkeypatch.setattr(storage.time, "sleep", waited.append)
    return waited


@pytest.fixture(params=["folder", "memory"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Stored:
    if request.param == "folder":
        return Stored(str(tmp_path))
    return Stored(f"memory://{tmp_path.name}")


def test_names_are_those_of_paths() -> None:
    for url in ("/a/b", "s3://bucket/b"):
        file = Stored(url) / "c.0.ckpt"
        path = Path("/a/b/c.0.ckpt")
        assert (file.name, file.suffix) == (path.name, path.suffix)
        assert file.parent == Stored(url)
        assert file.with_suffix(".damaged").name == path.with_suffix(".damaged").name
        assert str(file) == f"{url}/c.0.ckpt"
        assert pickle.loads(pickle.dumps(file)) == file  # noqa: S301 # our own
    assert place_of("s3://a/b") == Stored("s3://a/b")
    assert place_of("a") == Stored(str(Path.cwd() / "a"))


def test_it_holds_what_was_written_last(root: Stored) -> None:
    folder = root / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "a.ckpt"
    assert not file.is_file()
    with pytest.raises(FileNotFoundError):
        file.read_bytes()
    for content in (b"first", b"second, and longer", b""):
        write(file, content[:3], memoryview(content)[3:])
        assert file.read_bytes() == content
    write(folder / "b.ckpt", b"b", forced=True)
    assert {each.name for each in folder.iterdir()} == {"a.ckpt", "b.ckpt"}
    assert [each.name for each in folder.glob("b*")] == ["b.ckpt"]
    file.replace(folder / "a.damaged")
    assert not file.is_file()
    file.unlink(missing_ok=True)
    with pytest.raises(FileNotFoundError):
        file.unlink()
    (folder / "a.damaged").unlink()
    assert [each.name for each in folder.iterdir()] == ["b.ckpt"]
    assert list((root / "nothing").iterdir()) == []


class Failing:
    """Something that fails so many times first."""

    def __init__(self, times: int, then: Callable[[], object]) -> None:
        self.left, self._then = times, then

    def __call__(self, *_: object, **__: object) -> object:
        if self.left:
            self.left -= 1
            raise ConnectionError("no route to the storage")
        return self._then()


def test_what_fails_is_tried_again_and_told(
    monkeypatch: pytest.MonkeyPatch, at_once: list[float]
) -> None:
    file = Stored("memory://patient/a")
    system = type(fsspec.filesystem("memory"))
    file.write(b"content")
    monkeypatch.setattr(system, "cat_file", Failing(1, lambda: b"once"))
    assert file.read_bytes() == b"once"
    monkeypatch.setattr(system, "cat_file", Failing(4, lambda: b"at last"))
    with pytest.warns(
        RegrowWarning, match="memory://patient: the storage fails .*no route"
    ) as said:
        assert file.read_bytes() == b"at last"
    assert len(said) == 1
    assert at_once == [*storage.PAUSES[:1], *storage.PAUSES[:4]]


def test_after_a_while_it_is_an_error(
    monkeypatch: pytest.MonkeyPatch, at_once: list[float]
) -> None:
    file = Stored("memory://patient/a")
    gone = Failing(1000, lambda: None)
    monkeypatch.setattr(type(fsspec.filesystem("memory")), "pipe_file", gone)
    with pytest.warns(RegrowWarning), pytest.raises(OSError, match="no route") as caught:
        file.write(b"content")
    assert caught.value.strerror is not None
    assert 1000 - gone.left == len(storage.PAUSES) + 1
    assert sum(at_once) > 60
    at_once.clear()
    with pytest.raises(OSError, match="no route"):
        Stored(file.url, patient=False).write(b"content")
    assert at_once == []


def test_a_shared_folder_that_is_away_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing file means that a trial begins anew: a folder that is not mounted must not look like one."""
    shared, aside = tmp_path / "shared", tmp_path / "aside"
    shared.mkdir()
    file = Stored(f"{shared}/a.ckpt")
    file.write(b"content")

    def away(act: Callable[[], object]) -> object:
        shutil.move(shared, aside)
        tries: list[float] = []

        def wait(seconds: float) -> None:
            tries.append(seconds)
            if len(tries) == 3:
                shutil.move(aside, shared)

        monkeypatch.setattr(storage.time, "sleep", wait)
        with pytest.warns(RegrowWarning, match="the storage fails"):
            found = act()
        assert len(tries) == 3
        return found

    assert away(file.read_bytes) == b"content"
    away(lambda: file.write(b"more"))
    away(lambda: (Stored(str(shared)) / "weights").mkdir(exist_ok=True))
    assert file.read_bytes() == b"more"


def test_storage_that_nothing_is_known_of_is_a_line() -> None:
    with pytest.raises(ConfigError, match=r"nothing://there/a: .*Protocol not known: nothing"):
        (Stored("nothing://there") / "a").write(b"")
