"""Declare the operators that torchvision describes and that its compiled part could not bring.

`mend_torchvision.py` puts a copy of this into site-packages, with a `.pth` line that imports it at the start of every
interpreter. So it imports nothing by itself: it waits until torchvision has tried its compiled part and comes to the
module that describes operators. Where the compiled part was loaded, nothing is missing and nothing is done.
"""

from __future__ import annotations

import sys

DESCRIBED = ("nms", "qnms")
"""torchvision registers shapes for these in any case; networks use none of them."""

_kept: list[object] = []


class Declarer:
    """A finder that finds nothing: it looks at what is about to be imported."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Declare what is missing just before torchvision describes it; the other finders go on."""
        if name == "torchvision._meta_registrations":
            declare()


def declare() -> None:
    """Give the missing operators their names and signatures; calling one still fails."""
    import torch  # noqa: PLC0415  torchvision has imported it by now

    missing = [name for name in DESCRIBED if not hasattr(torch.ops.torchvision, name)]
    if missing:
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in missing:
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _kept.append(library)  # what it declares goes when it goes


sys.meta_path.insert(0, Declarer())
