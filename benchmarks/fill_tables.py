"""Put the measured tables into the pages that quote them: between `<!-- from FILE -->` and `<!-- end -->`.

python benchmarks/fill_tables.py        # README.md and docs/**/*.md
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"<!-- from (\S+) -->\n((?:(?!<!-- end -->).*\n)*)<!-- end -->")


def filled(page: str) -> str:
    """The page with every quoted table as it stands in its file now."""
    return BLOCK.sub(
        lambda block: (
            f"<!-- from {block[1]} -->\n{(ROOT / block[1]).read_text().strip()}\n<!-- end -->"
        ),
        page,
    )


def main() -> None:
    """Rewrite the pages."""
    for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        path.write_text(filled(path.read_text()))


if __name__ == "__main__":
    main()
