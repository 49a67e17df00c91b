"""The README tells the truth: its code runs, its tables are those in results/, its commands exist."""

import re
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
OTHERS = [ROOT / name for name in ("DESIGN.md", "CONTRIBUTING.md", "CHANGELOG.md")]
TABLE = re.compile(r"<!-- from (\S+) -->\n(.*?)<!-- end -->", re.DOTALL)


def test_the_code_of_the_readme_runs(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    told = ("keepalive: 0 renewals in 20 steps, 18 checks,", "")
    for block, what in zip(blocks, told, strict=True):
        with torch.random.fork_rng():
            exec(compile(block, "README.md", "exec"), {"__name__": "__main__"})  # noqa: S102 # our own page
        assert what in capsys.readouterr().out


def test_the_readme_is_for_strangers() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 150


@pytest.mark.parametrize("page", [*PAGES, *OTHERS], ids=lambda page: str(page.relative_to(ROOT)))
def test_no_line_of_prose_is_longer_than_120_characters(page: Path) -> None:
    prose = re.sub(r"```.*?```", "", TABLE.sub("", page.read_text()), flags=re.DOTALL).splitlines()
    # Tables and pictures have one line each, commands and trees of folders are as wide as they are.
    others = ("|", "![", "<!--", "    ")
    assert [line for line in prose if len(line) > 120 and not line.startswith(others)] == []


@pytest.mark.parametrize("page", PAGES[1:], ids=lambda page: str(page.relative_to(ROOT)))
def test_the_code_of_a_page_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks that import what they need, one after the other."""
    if page.name == "trainers.md":
        pytest.skip("tests/trainers/test_page.py runs it, block by block")
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    whole = "\n".join(block for block in blocks if "import torch" in block)
    if not whole:
        pytest.skip("this page has no code that stands alone")
    monkeypatch.chdir(tmp_path)
    with torch.random.fork_rng():
        exec(compile(whole, str(page), "exec"), {"__name__": "__main__"})  # noqa: S102 # our own pages


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_quoted_tables_are_the_measured_ones(page: Path) -> None:
    for source, quoted in TABLE.findall(page.read_text()):
        assert quoted.strip() == (ROOT / source).read_text().strip(), (
            f"{page.name} differs from {source}"
        )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_to_files_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_make_targets_of_the_readme_exist() -> None:
    rules = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"^    make ([a-z-]+)", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert named >= {"demo", "test"}
    assert named <= rules
