"""Equal settings have one text in every process, whatever its hashes."""

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
    texts = {
        subprocess.run(
            [sys.executable, "-c", PRINT],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(texts) == 1
    assert "randomout" in texts.pop()
