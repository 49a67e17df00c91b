"""The pictures of docs/inspect.md: the health page of a sick and of a healthy network, on a desk and on a telephone.

One small network learns scikit-learn's digits twice from the same weights and the same batches, once at a learning rate
that blows it up, once at one that suits it. `regrow.inspect` looks at both on the test images, and
headless Chromium (Debian's package `chromium`) shows the pages at 1280 and 400 pixels, light and dark.

    python benchmarks/health_pictures.py [--out docs/pictures]
"""

from __future__ import annotations

import argparse
import io
import sys
from collections import OrderedDict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor, nn

import regrow
from regrow.health import Health
from regrow.report.health_page import write_health_page

# The browser lies beside the tests.
sys.path[0] = str(Path(__file__).resolve().parents[1] / "tests")

from browsed import browsing  # noqa: E402

RATES: Final = {"sick": 3.0, "healthy": 0.05}
WINDOWS: Final = ((1280, 2000, ""), (400, 1600, "units"))
"""Width and height of what is shown, and the section that it begins with; empty: the top."""

EPOCHS, BATCH = 10, 32
COLOURS: Final = 128
"""Of a picture: a page has few, and a file is a quarter as large."""


def network() -> nn.Sequential:
    """Two convolutions with batch norms, and two linear layers."""
    torch.manual_seed(0)
    layers: dict[str, nn.Module] = {
        "conv1": nn.Conv2d(1, 16, 3),
        "norm1": nn.BatchNorm2d(16),
        "relu1": nn.ReLU(),
        "conv2": nn.Conv2d(16, 32, 3),
        "norm2": nn.BatchNorm2d(32),
        "relu2": nn.ReLU(),
        "flat": nn.Flatten(),
        "dense": nn.Linear(32 * 16, 64),
        "relu3": nn.ReLU(),
        "head": nn.Linear(64, 10),
    }
    return nn.Sequential(OrderedDict(layers))


def digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Standardised images, (N, 1, 8, 8), and labels: the first 1,400 to train on, the rest to look at."""
    found = load_digits()
    images = torch.from_numpy(found.images).float()[:, None]
    images = (images - images[:1400].mean()) / images[:1400].std()
    labels = torch.from_numpy(found.target)
    return images[:1400], labels[:1400], images[1400:], labels[1400:]


def looked_at(rate: float) -> tuple[Health, float]:
    """Train at a learning rate; what is found of the network, and its accuracy on the test images."""
    images, labels, test, wanted = digits()
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    order = torch.Generator().manual_seed(0)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(images), generator=order).split(BATCH):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()
    with torch.no_grad():
        right = (model(test).argmax(1) == wanted).float().mean().item()
    return regrow.inspect(model, test, targets=wanted, optimizer=optimizer), right


def small(png: bytes) -> bytes:
    """The same picture in few colours."""
    kept = io.BytesIO()
    image = Image.open(io.BytesIO(png)).convert("RGB")
    image.quantize(COLOURS, dither=Image.Dither.NONE).save(kept, "PNG", optimize=True)
    return kept.getvalue()


def main() -> None:
    """Train, look, show."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"))
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder, browsing() as browser:
        for name, rate in RATES.items():
            health, right = looked_at(rate)
            dead = health.share("dead") or 0.0
            print(f"{name}: learning rate {rate}, {right:.1%} right, {dead:.1%} of the units dead")
            page = Path(folder) / f"{name}.html"
            write_health_page(health, page, title=f"digits, learning rate {rate}")
            for width, height, section in WINDOWS:
                for look in ("light", "dark"):
                    browser.open(page, width=width, height=height, dark=look == "dark")
                    if section:
                        browser.run(f"document.getElementById('{section}').scrollIntoView()")
                    file = out / f"health-{name}-{width}-{look}.png"
                    file.write_bytes(small(browser.picture()))
                    print(f"  {file}: {file.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
