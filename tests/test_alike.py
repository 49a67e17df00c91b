"""Equal settings have one text in every process, whatever its hashes."""

import contextlib
import io
import os
import subprocess
import sys

PRINT = """
import regrow
from regrow import recipes
from regrow._alike import text_of
from regrow.schedule import AtSteps

for name in recipes.names():
    print(text_of(recipes.info(name)))
print(text_of(regrow.RePr()), text_of(AtSteps.of(range(100, 0, -7))), text_of(frozenset("abcdefgh")))
"""


def test_equal_settings_have_one_text_in_every_process() -> None:
    """In this one, and in one that hashes in another way."""
    seed = "1" if os.environ.get("PYTHONHASHSEED") == "2" else "2"
    other = subprocess.run(
        [sys.executable, "-c", PRINT],
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    with contextlib.redirect_stdout(io.StringIO()) as own:
        exec(PRINT, {})  # noqa: S102 # our own program
    assert other == own.getvalue()
    assert "randomout" in other
