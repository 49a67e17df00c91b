"""One network judged: what is known of it, how many filters were judged, and what is wrong."""

from __future__ import annotations

from typing import Any

import torch

import regrow
from oracle.changes import judge_changes, judge_silence
from oracle.networks import NETWORKS, Network
from oracle.pinned import Stage
from oracle.readers import judge_readers, spread
from oracle.renewals import ALWAYS, IN_TURN, renewals

Row = dict[str, Any]


def measure(name: str) -> Row:
    """Judge a network of the list.

    Args:
        name: Its name.

    Returns:
        Plain values.
    """
    return judge(NETWORKS[name])


def judge(network: Network, *, per_layer: int = 2) -> Row:
    """Trace a network, and judge its wiring and what recipes change in it."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        return _judge(network, per_layer)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def _judge(network: Network, per_layer: int) -> Row:
    net = network.build()
    wiring = regrow.trace(net, network.example())
    modes = (False, True) if network.training else (False,)
    stages = [Stage(net, network.examples(), network.outputs, training) for training in modes]
    judged, wrong = judge_readers(stages, wiring, per_layer=per_layer)
    for stage in stages:
        stage.record()
    changes = 0
    harm: list[str] = []
    for turn, layer in enumerate(wiring.layers):
        units = spread(layer.count, per_layer)
        for number, recipe in enumerate((*ALWAYS, IN_TURN[turn % len(IN_TURN)])):
            unit = units[number % len(units)]
            for changed, model in renewals(network, wiring, layer.path, unit, recipe):
                changes += 1
                for stage in stages:
                    harm += judge_changes(stage, changed, network)
                if changed.out:
                    harm += judge_silence(stages[0], model, changed, network.terms)
    followed = [layer for layer in wiring.layers if not (layer.is_head or layer.refused)]
    refused = [layer for layer in wiring.layers if layer.refused and not layer.is_head]
    return {
        "layers": len(wiring.layers),
        "followed": sum(layer.count for layer in followed),
        "refused": sum(layer.count for layer in refused),
        "judged": judged,
        "renewals": changes,
        "wrong": wrong,
        "harm": list(dict.fromkeys(harm)),
        "why": sorted({layer.refused for layer in refused}),
    }
