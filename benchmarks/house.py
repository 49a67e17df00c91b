"""How large regrow is: lines of code, of docstrings and of comments, by package, in the tree or at some commits.

    python benchmarks/house.py                  # src as it is
    python benchmarks/house.py dd36c145~1 HEAD  # at commits

A line of code is one with anything but a docstring, a comment or nothing on it; a comment counts where it has a line of
its own. Prints a table; `largest` is the longest file.
"""

from __future__ import annotations

import ast
import io
import subprocess
import sys
import tarfile
import tokenize
from collections import Counter, defaultdict
from pathlib import Path

SRC = Path(__file__).parents[1] / "src" / "regrow"
KINDS = ("code", "docstrings", "comments", "files")
BLANK = {
    *(tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.COMMENT),
    tokenize.ENDMARKER,
}


def docstring_lines(tree: ast.Module) -> set[int]:
    """The lines of all docstrings of modules, classes and functions."""
    found: set[int] = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if ast.get_docstring(node, clean=False) is not None:
            first = node.body[0]
            found |= set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return found


def counted(source: str) -> Counter[str]:
    """Lines of one file by kind."""
    docstrings = docstring_lines(ast.parse(source))
    code: set[int] = set()
    comments = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            comments += token.line.lstrip().startswith("#")
        elif token.type not in BLANK:
            code |= set(range(token.start[0], token.end[0] + 1))
    return Counter(
        code=len(code - docstrings), docstrings=len(docstrings), comments=comments, files=1
    )


def sources(commit: str | None) -> dict[str, str]:
    """Every file of the package by its path in it, of a commit or of the tree."""
    if commit is None:
        return {str(each.relative_to(SRC)): each.read_text() for each in SRC.rglob("*.py")}
    command = ["git", "archive", commit, "src/regrow"]
    root = SRC.parents[1]
    packed = subprocess.run(command, cwd=root, capture_output=True, check=True).stdout  # noqa: S603
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        return {
            each.name.removeprefix("src/regrow/"): archive.extractfile(each).read().decode()
            for each in archive
            if each.name.endswith(".py")
        }


def main(commits: list[str]) -> None:
    """Print a table for each."""
    for commit in commits or [None]:
        by_package: defaultdict[str, Counter[str]] = defaultdict(Counter)
        length: dict[str, int] = {}
        for path, source in sorted(sources(commit).items()):
            package = path.partition("/")[0] if "/" in path else "(top)"
            length[path] = source.count("\n")
            for name in (package, "all"):
                by_package[name] += counted(source)
        print(commit or "the tree")
        print(f"  {'':14}" + "".join(f"{kind:>12}" for kind in KINDS))
        for name, own in by_package.items():
            print(f"  {name:14}" + "".join(f"{own[kind]:12,}" for kind in KINDS))
        longest = max(length, key=lambda path: length[path])
        print(f"  largest: {longest}, {length[longest]} lines")


if __name__ == "__main__":
    main(sys.argv[1:])
