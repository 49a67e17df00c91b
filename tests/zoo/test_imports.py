"""torchvision and timm import as they are, in the environment that make leaves."""

from __future__ import annotations

import subprocess
import sys

import pytest

from zoo import nets


def says(code: str) -> str:
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return "" if ran.returncode == 0 else ran.stderr


@pytest.mark.slow
@pytest.mark.skipif(not nets.installed(), reason=nets.WHY_NOT_HERE)
def test_torchvision_and_timm_import_plainly() -> None:
    wrong = says("import torchvision, timm; timm.create_model('resnet10t')")
    assert not wrong, f"tools/mend_torchvision.py (make runs it) mends this: {wrong}"


def test_an_interpreter_starts_without_torch() -> None:
    assert not says("import sys; assert not {'torch', 'torchvision'} & set(sys.modules)")
