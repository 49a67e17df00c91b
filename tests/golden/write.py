"""Write the golden files anew: after a change of what is reported, never to make a test pass."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from golden.documents import HERE, STORED, STUDIES, fingerprints, summary, told


def main() -> None:
    every = {path.name: fingerprints(path) for path in sorted(STUDIES.glob("*.toml"))}
    text = json.dumps(every, indent=1)
    (HERE / "fingerprints.json").write_text(f"{text}\n", encoding="utf-8")
    (HERE / "expected").mkdir(exist_ok=True)
    for name in STORED:
        with tempfile.TemporaryDirectory() as folder:
            shutil.copyfile(HERE / "stored" / f"{name}.sqlite", Path(folder) / "results.sqlite")
            text = json.dumps(summary(Path(folder)), indent=1)
            (HERE / "expected" / f"{name}.json").write_text(f"{text}\n", encoding="utf-8")
            (HERE / "expected" / f"{name}.md").write_text(told(Path(folder)), encoding="utf-8")


if __name__ == "__main__":
    main()
