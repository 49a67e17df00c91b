"""Pages in headless Chromium, spoken to over two pipes: what they show, what they do, how they look.

Used by the tests of the two pages and by `benchmarks/page_pictures.py`. Nothing is loaded from anywhere but a file.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Literal

BROWSER: Final = shutil.which("chromium") or shutil.which("chromium-browser")
"""None where Chromium is not installed."""

ABSENT: Final = "chromium is not installed (Debian's package has this name)"


_START: Final = """
import fcntl, os, sys
heard, told = (fcntl.fcntl(int(each), fcntl.F_DUPFD, 10) for each in sys.argv[1:3])
os.dup2(heard, 3), os.dup2(told, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Chromium reads its commands from 3 and writes its answers to 4."""


PATIENCE_S = 300
"""Seconds without a word from the browser, however busy the machine."""


class Browser:
    """One tab: commands of the DevTools protocol go in at one pipe, and answers come out of the other."""

    def __init__(self, commands: int, answers: int, downloads: Path) -> None:
        self._commands, self._answers = commands, answers
        self._number, self._session, self._rest = 0, "", b""
        self._told: list[dict[str, Any]] = []
        self.downloads = downloads
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        self.send("Page.enable")
        self.send(
            "Browser.setDownloadBehavior",
            behavior="allow",
            downloadPath=str(downloads),
            eventsEnabled=True,
        )

    def send(self, method: str, **given: object) -> dict[str, Any]:
        """Give a command and wait for its answer."""
        self._number += 1
        self._told.clear()
        message: dict[str, object] = {"id": self._number, "method": method, "params": given}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            found = self._read()
            if found.get("id") == self._number:
                assert "error" not in found, f"{method}: {found['error']}"
                return found["result"]
            self._told.append(found)

    def wait_for(self, event: str, **having: object) -> dict[str, Any]:
        """Wait until something is told that the last command led to, if it was not told before the command's answer."""
        while True:
            found = self._told.pop(0) if self._told else self._read()
            told = found.get("params", {})
            if found.get("method") == event and all(told.get(k) == having[k] for k in having):
                return told

    def open(self, page: Path, *, width: int, height: int = 900, dark: bool = False) -> None:
        """Show a page in a window of so many pixels."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])
        self.send("Page.navigate", url=page.resolve().as_uri())
        self.wait_for("Page.loadEventFired")

    def run(self, script: str) -> Any:
        """What an expression of JavaScript gives, or what it promises."""
        found = self.send(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def press(self, key: Literal["Tab", "Enter", " "]) -> None:
        """Press a key and let it go."""
        code = {"Tab": 9, "Enter": 13, " ": 32}[key]
        text = {"Enter": "\r", " ": " "}.get(key, "")
        common = {"key": key, "windowsVirtualKeyCode": code}
        self.send("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        self.send("Input.dispatchKeyEvent", type="keyUp", **common)

    def saved(self, script: str) -> bytes:
        """What is downloaded where a script is run, by the name that the page gives it."""
        self.run(script)
        told = self.wait_for("Browser.downloadWillBegin")
        self.wait_for("Browser.downloadProgress", guid=told["guid"], state="completed")
        file = self.downloads / told["suggestedFilename"]
        content = file.read_bytes()
        file.unlink()
        return content

    def picture(self, *, whole: bool = False) -> bytes:
        """The window as PNG, or the whole page."""
        found = self.send("Page.captureScreenshot", captureBeyondViewport=whole)
        return base64.b64decode(found["data"])

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            # One that hangs must not hold up the whole suite.
            ready, _, _ = select.select([self._answers], [], [], PATIENCE_S)
            assert ready, f"chromium has said nothing for {PATIENCE_S} s"
            part = os.read(self._answers, 1 << 20)
            assert part, "chromium has ended"
            self._rest += part
        first, _, self._rest = self._rest.partition(b"\0")
        return json.loads(first)


@contextmanager
def browsing() -> Generator[Browser]:
    """A browser, with a profile and a folder of downloads of its own, ended afterwards."""
    assert BROWSER is not None, ABSENT
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        (downloads := Path(folder) / "downloads").mkdir()
        heard, commands = os.pipe()
        answers, told = os.pipe()
        process = subprocess.Popen(
            [
                *(sys.executable, "-ISc", _START, str(heard), str(told), BROWSER),
                *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
                *(
                    "--disable-dev-shm-usage",
                    "--no-first-run",
                    "--remote-debugging-pipe",
                    f"--user-data-dir={folder}/profile",
                ),
            ],
            pass_fds=(heard, told),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(heard)
        os.close(told)
        try:
            browser = Browser(commands, answers, downloads)
            yield browser
            browser.send("Browser.close")
        finally:
            os.close(commands)
            os.close(answers)
            process.kill()
            process.wait()
