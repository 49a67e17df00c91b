"""Make `import torchvision` work where its compiled part does not fit this build of torch.

A wheel that was built for another torch (say, with CUDA) cannot load its operators, and its import then fails on the
first one that it describes. Networks need none of them. The mend is a module in site-packages that declares their names
when torchvision is imported (`mended_torchvision.py`), and a `.pth` line that starts it. Where torchvision imports by
itself, nothing is written.

    .venv/bin/python tools/mend_torchvision.py     # make runs it; again does no harm
"""

from __future__ import annotations

import py_compile
import re
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Final

NAME: Final = "mended_torchvision"
BY_ITSELF: Final = f"""
import sys
sys.meta_path[:] = [each for each in sys.meta_path if type(each).__module__ != {NAME!r}]
import torchvision
"""
BOTH: Final = "import torchvision, timm"


def complaint(code: str) -> str:
    """What a new interpreter says last when it fails to run this code; nothing if it runs."""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603
    if ran.returncode == 0:
        return ""
    return (ran.stderr.strip().splitlines() or [f"exit status {ran.returncode}"])[-1]


def mend(site_packages: Path) -> None:
    """Put the module and the line that starts it there, where they are not yet."""
    module = Path(__file__).with_name(f"{NAME}.py").read_text(encoding="utf-8")
    for file, text in ((f"{NAME}.py", module), (f"{NAME}.pth", f"import {NAME}\n")):
        at = site_packages / file
        if not at.is_file() or at.read_text(encoding="utf-8") != text:
            at.write_text(text, encoding="utf-8")
            if at.suffix == ".py":
                py_compile.compile(str(at))  # as pip does: every interpreter loads it


def main() -> int:
    """Mend this interpreter's torchvision if its operators are missing, and see that it imports."""
    if re.search(r"operator torchvision::\w+ does not exist", complaint(BY_ITSELF)):
        mend(Path(sysconfig.get_path("purelib")))
    if why := complaint(BOTH):
        sys.exit(f"mend_torchvision: `{BOTH}` fails with {sys.executable}: {why}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
