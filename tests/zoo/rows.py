"""One network of the zoo as a row of the table: how many filters are followed, and whether the wiring is right."""

from __future__ import annotations

import platform
import re
import time
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor, nn

from regrow.graph import Wiring, trace
from zoo import nets
from zoo.judge import judge

Row = dict[str, Any]

CLASSES = ("followed", "statistics", "mixed", "refused")
"""Of filters; docs/zoo.md says what they mean."""

_OPERATION = re.compile(r"(?:mixed by|statistics in) (\w+)")
_WHERE = re.compile(r" in '[^']*'")


def measure(name: str) -> Row:
    """Build, trace and judge one network."""
    net, example = nets.build(name)
    started = time.process_time()
    wiring = trace(net, example)
    traced = time.process_time()
    findings = judge(net, example, wiring)
    finished = time.process_time()
    return {
        "name": name,
        "input": list(example.shape),
        "parameters": sum(tensor.numel() for tensor in net.parameters()),
        **counts(net, example, wiring),
        "judged": findings.judged,
        "wrong": findings.wrong,
        "not_judged": findings.skipped,
        "trace_seconds": round(traced - started, 2),
        "judge_seconds": round(finished - traced, 2),
        "versions": {
            "python": platform.python_version(),
            **{each: version(each) for each in ("torch", "torchvision", "timm", "regrow")},
        },
    }


def counts(net: nn.Module, example: Tensor, wiring: Wiring) -> Row:
    """Filters by class; those of the output head, which nobody renews, are counted apart."""
    classes: Counter[str] = Counter()
    mixed_by: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for layer in wiring.layers:
        if layer.is_head:
            classes["head"] += layer.count
        elif layer.refused:
            classes["refused"] += layer.count
            reasons[_WHERE.sub("", layer.refused)] += layer.count
        elif layer.mixed:
            classes["mixed" if "mixed by" in layer.mixed else "statistics"] += layer.count
            mixed_by[" + ".join(sorted(set(_OPERATION.findall(layer.mixed))))] += layer.count
        else:
            classes["followed"] += layer.count
    for path, count, ran in _outside(net, example, wiring):
        if ran:
            remarks = [remark for remark in wiring.remarks if f"'{path}'" in remark]
            classes["refused"] += count
            # Behind the semicolon is the way out, which names the path.
            said = _WHERE.sub("", remarks[0].partition(";")[0]) if remarks else ""
            reasons[said or "not an ordinary layer"] += count
        else:
            classes["not_run"] += count
    return {
        "layers": len(wiring),
        "filters": sum(classes[each] for each in CLASSES),
        **{each: classes[each] for each in (*CLASSES, "head", "not_run")},
        "mixed_by": dict(mixed_by.most_common()),
        "reasons": dict(reasons.most_common()),
    }


def _outside(net: nn.Module, example: Tensor, wiring: Wiring) -> Iterator[tuple[str, int, bool]]:
    """Layers that the wiring does not have: path, filters, and whether they ran."""
    seen = set[int]()
    left: dict[str, tuple[nn.Module, int]] = {}
    for path, module in net.named_modules():
        weight = module._parameters.get("weight")
        width = getattr(module, "out_channels", getattr(module, "out_features", None))
        if weight is None or weight.ndim < 2 or not isinstance(width, int) or id(weight) in seen:
            continue
        seen.add(id(weight))
        if path not in wiring:
            left[path] = module, width
    ran = set[str]()
    handles = [
        module.register_forward_hook(lambda *_, path=path: ran.add(path))
        for path, (module, _) in left.items()
    ]
    with torch.no_grad():
        net(example)
    for handle in handles:
        handle.remove()
    for path, (_, width) in left.items():
        yield path, width, path in ran
