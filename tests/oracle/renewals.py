"""Real recipes on a copy of a network: one filter of one layer, and what is changed by it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

import regrow
from oracle.changes import Changed, tensors_of
from oracle.networks import Network
from oracle.readers import spot_of
from regrow.compose import Recipe
from regrow.errors import ConfigError, LargeRenewalWarning
from regrow.graph import Policy, Wiring
from regrow.selection import Selection


@dataclass(frozen=True)
class Exactly(Selection):
    """A selection: one filter of one layer, whenever it is asked."""

    layer: str
    unit: int
    found: list[bool] = field(default_factory=list)

    def __call__(
        self, scores: Mapping[str, Tensor], *, eligible: Mapping[str, Tensor], step: int
    ) -> dict[str, Tensor]:
        masks = {
            layer: torch.zeros_like(values, dtype=torch.bool) for layer, values in scores.items()
        }
        if self.layer in masks:
            masks[self.layer][self.unit] = True
            masks[self.layer] &= eligible[self.layer]
            self.found.append(bool(masks[self.layer].any()))
        return masks


def _at_once(readers: str) -> Recipe:
    return regrow.RandomOut(confirm="gradient", active_fraction=1.0, every_steps=1, readers=readers)


RECIPES: Mapping[str, tuple[Recipe, Policy]] = {
    "randomout, readers zero": (_at_once("zero"), "writer"),
    "randomout, readers redrawn, streams": (_at_once("redraw"), "stream"),
    "repr": (
        regrow.RePr(s1=1, s2=1, cycles=1, unit="steps", rank_by="random", readers="zero"),
        "writer",
    ),
    "repr, streams": (regrow.RePr(s1=1, s2=1, cycles=1, unit="steps", rank_by="random"), "stream"),
    "noise-scion": (regrow.NoiseScion(threshold=1e9), "writer"),
    "internal-scion": (regrow.InternalScion(threshold=1e9), "writer"),
}
ALWAYS = ("randomout, readers zero", "repr")
"""What is done in every layer; and of the others one, the next in the next layer."""

IN_TURN = tuple(each for each in RECIPES if each not in ALWAYS)


def renewals(
    network: Network, wiring: Wiring, layer: str, unit: int, recipe: str
) -> Iterator[tuple[Changed, nn.Module]]:
    """Renew one filter, and give what was changed whenever something was.

    Args:
        network: Built anew: copies of scripted layers cannot be trained.
        wiring: Its wiring.
        layer: Whose filter.
        unit: Which.
        recipe: One of `RECIPES`.

    Yields:
        What was changed so far, and the network as it is then: once for recipes that renew at once, and for others
        while the filter is out, and when it is back.
    """
    what, policy = RECIPES[recipe]
    select = Exactly(layer, unit)
    model = network.build()
    trained = [each for each in model.parameters() if each.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.0)
    try:
        regrower = regrow.attach(
            what.with_parts(select=select),
            model,
            optimizer,
            wiring=wiring,
            layers=("conv", "conv_transpose", "linear"),
            coupled=policy,
            init="kaiming_uniform",
            total_steps=4,
            steps_per_epoch=1,
        )
    except ConfigError as error:
        if "there is no filter that the recipe may" not in str(error):
            raise
        return
    before = {name: each.detach().clone() for name, each in tensors_of(model).items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LargeRenewalWarning)
        for _ in range(3):
            for each in trained:
                each.grad = torch.ones_like(each)
            optimizer.step()
            resting = regrower.state_dict()["resting"]["masks"]
            out = {path: mask.nonzero().flatten().tolist() for path, mask in resting.items()}
            done = {event.layer: list(event.filters) for event in regrower.report.events}
            which = done or out
            masks = {name: each != before[name] for name, each in tensors_of(model).items()}
            masks = {name: mask for name, mask in masks.items() if bool(mask.any())}
            if which:
                spots = frozenset(
                    spot_of(wiring[path], u) for path, units in which.items() for u in units
                )
                words = f"{recipe}{'' if done else ' (out)'}: {layer}[{unit}]"
                yield Changed(words, spots, masks, out=not done), model
            else:
                assert not masks, f"{sorted(masks)} are changed, and no event says so"
            if done:
                return
