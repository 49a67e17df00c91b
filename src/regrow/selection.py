"""Which filters are renewed: scores of the whole network in, masks out."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, final, runtime_checkable

import torch

from regrow._checks import check_fraction, check_not_negative
from regrow._shapes import Mask, Scores
from regrow.errors import ConfigError
from regrow.functional.masks import below, lowest, lowest_of_all, spare_best


@runtime_checkable
class Selection(Protocol):
    """Scores to masks. Inherit from it: then only the call is to be written."""

    @property
    def quota(self) -> bool:
        """Whether it was asked for how many are taken, so that many at once are no surprise."""
        return False

    @abstractmethod
    def __call__(
        self, scores: Mapping[str, Scores], *, eligible: Mapping[str, Mask], step: int
    ) -> dict[str, Mask]:
        """Masks by layer, (*S, O)."""

    def idle(self, scores: Mapping[str, Scores]) -> bool:
        """Whether it is sure, without a wait for the device, that nobody is marked by these scores."""
        del scores
        return False

    def check(self, counts: Mapping[str, int]) -> None:
        """Refuse, before training starts, layers (with their number of filters) that cannot be selected from."""
        del counts


@final
@dataclass(frozen=True, kw_only=True)
class Below(Selection):
    """All filters whose score is under one absolute threshold, the same for every layer.

    Args:
        threshold: In the unit of the scores, at least 0.
        keep_one: Never mark all filters of a layer at once; the best of them stays.
        inclusive: Mark scores that are equal to the threshold too.

    Raises:
        ConfigError: A negative threshold.

    Source:
        Cohen, Lo, Ding 2016, Section 2: each filter is tested on its own, without ranking or quota.
    """

    threshold: float
    keep_one: bool = False
    inclusive: bool = False

    def __post_init__(self) -> None:
        """Check the settings."""
        check_not_negative(self.threshold, name="threshold", where="selection")

    def __call__(
        self, scores: Mapping[str, Scores], *, eligible: Mapping[str, Mask], step: int
    ) -> dict[str, Mask]:
        """Mark what is below.

        Args:
            scores: By layer, (*S, O).
            eligible: By layer, (*S, O).
            step: Not used.

        Returns:
            Masks by layer.
        """
        del step
        masks = self._under(scores)
        if self.keep_one:
            masks = {layer: spare_best(mask, scores[layer]) for layer, mask in masks.items()}
        return {layer: mask & eligible[layer] for layer, mask in masks.items()}

    def _under(self, scores: Mapping[str, Scores]) -> dict[str, Mask]:
        """All layers in one comparison, where they can be laid side by side as they are."""
        kinds = {(each.dtype, each.device, each.shape[:-1]) for each in scores.values()}
        if len(kinds) != 1:
            return {layer: self._low(each) for layer, each in scores.items()}
        masks = self._low(torch.cat(list(scores.values()), -1))
        widths = [each.shape[-1] for each in scores.values()]
        return dict(zip(scores, masks.split(widths, -1), strict=True))

    def _low(self, scores: Scores) -> Mask:
        return below(scores, threshold=self.threshold, inclusive=self.inclusive)

    def idle(self, scores: Mapping[str, Scores]) -> bool:
        """Whether all scores are numbers of at least the threshold, as in nearly every step.

        Asked on the CPU alone, where the answer costs no wait. It is exact: the comparison with a threshold rounds that
        to the scores' type, which does not put it above a score that was not under it.

        Args:
            scores: By layer, (*S, O).

        Returns:
            True: nobody is marked, and no score is to be counted as none. False: it may be otherwise.
        """
        values = list(scores.values())
        if self.inclusive or not values or not all(each.is_cpu for each in values):
            return False
        least, most = torch.cat(
            [each.flatten() for each in values]
        ).aminmax()  # NaN if there is one
        return least.item() >= self.threshold and most.item() < math.inf


@final
@dataclass(frozen=True, kw_only=True)
class CountsOf(Selection):
    """As many filters as another run renewed, in the same layer at the same step, the lowest scores first.

    Args:
        counts: Number of filters by (step, layer).
    """

    counts: Mapping[tuple[int, str], int]

    @property
    def quota(self) -> bool:
        """How many are taken was asked for."""
        return True

    def __call__(
        self, scores: Mapping[str, Scores], *, eligible: Mapping[str, Mask], step: int
    ) -> dict[str, Mask]:
        """Mark the counted number.

        Args:
            scores: By layer, (*S, O).
            eligible: Not used: the other run's counts are met whatever happened to the filters before.
            step: Optimizer step.

        Returns:
            Masks by layer.
        """
        del eligible
        return {
            layer: lowest(values, count=self.counts.get((step, layer), 0))
            for layer, values in scores.items()
        }

    def check(self, counts: Mapping[str, int]) -> None:
        """Refuse a model in which the other run's counts cannot be met.

        Args:
            counts: Number of filters by layer.

        Raises:
            ConfigError: A layer of the other run is not watched here, or has too few filters.
        """
        for (step, layer), count in self.counts.items():
            if layer not in counts:
                raise ConfigError(
                    f"the run to copy renewed filters of '{layer}', which is not watched here; "
                    f"watched: {', '.join(counts)}"
                )
            if count > counts[layer]:
                raise ConfigError(
                    f"the run to copy renewed {count} filters of '{layer}' at step {step}, "
                    f"which has {counts[layer]} here"
                )


@final
@dataclass(frozen=True, kw_only=True)
class WorstFraction(Selection):
    """A share of all filters of the network: those with the lowest scores, ranked together, without quotas.

    Args:
        fraction: Share of all filters, within [0, 1]; rounded down.
        most_of_layer: The largest share that may be taken of one layer, within [0, 1]; rounded down. A layer always
            keeps one filter.

    Raises:
        ConfigError: A share outside [0, 1].

    Source:
        Prakash et al., "RePr", CVPR 2019, Section 4: scores within a layer, ranking over the network.
    """

    fraction: float
    most_of_layer: float = 1.0

    @property
    def quota(self) -> bool:
        """How many are taken was asked for."""
        return True

    def __post_init__(self) -> None:
        """Check the settings."""
        check_fraction(self.fraction, name="fraction", where="selection")
        check_fraction(self.most_of_layer, name="most_of_layer", where="selection")

    def __call__(
        self, scores: Mapping[str, Scores], *, eligible: Mapping[str, Mask], step: int
    ) -> dict[str, Mask]:
        """Mark the share.

        Args:
            scores: By layer in call order, (O,).
            eligible: By layer, (O,).
            step: Not used.

        Returns:
            Masks by layer.
        """
        del step
        layers = list(scores)
        masks = lowest_of_all(
            [scores[layer] for layer in layers],
            count=_share(self.fraction, sum(len(scores[layer]) for layer in layers)),
            eligible=[eligible[layer] for layer in layers],
            most=[_share(self.most_of_layer, len(scores[layer])) for layer in layers],
        )
        return dict(zip(layers, masks, strict=True))

    def check(self, counts: Mapping[str, int]) -> None:
        """Refuse a network of which nothing could be taken.

        Args:
            counts: Number of filters by layer.

        Raises:
            ConfigError: The share is less than one filter, of the network or of every layer.
        """
        total = sum(counts.values())
        if _share(self.fraction, total) < 1:
            raise ConfigError(
                f"fraction={self.fraction} of {total} filters is less than one: give a larger share"
            )
        if all(min(_share(self.most_of_layer, count), count - 1) < 1 for count in counts.values()):
            raise ConfigError(
                f"no layer has a filter to give: the largest has {max(counts.values())}, most_of_layer="
                f"{self.most_of_layer} of it may go, and one must stay"
            )


def _share(fraction: float, count: int) -> int:
    """Rounded down, but for what floating point has lost: 0.29 of 100 is 29."""
    return math.floor(fraction * count + 1e-9)
