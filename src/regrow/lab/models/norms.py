"""The norm between a convolution and its ReLU, by name."""

from __future__ import annotations

from torch import nn

from regrow.errors import ConfigError
from regrow.lab.models.settings import NetworkSettings, groups_of
from regrow.nn import GainControl2d


def norm_layer(
    settings: NetworkSettings, channels: int, *, size: tuple[int, int], where: str
) -> nn.Module:
    """Build a norm, with what it learns at its neutral start: gain 1, bias 0.

    Instance norm learns a gain and a bias for each channel, as the others do. No norm draws random numbers, so that
    networks of one seed that differ in their norm start from the same weights; convolutions keep their bias for that
    reason too, though behind a norm it does little or nothing.
    """
    norm = settings.norm
    if norm == "none":
        return nn.Identity()
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    alone = norm != "group" or groups_of(channels) == channels
    if size == (1, 1) and alone:
        raise ConfigError(
            f"norm '{norm}' needs maps of more than one position, and layer {where} has maps of 1x1: take larger "
            "images, fewer or smaller layers, less pooling, or norm 'batch' or 'none'"
        )
    if norm == "group":
        return nn.GroupNorm(groups_of(channels), channels)
    if norm == "instance":
        return nn.InstanceNorm2d(channels, affine=True)
    return GainControl2d(
        channels,
        mean_scale=settings.mean_scale,
        learn_mean_scale=settings.gain_control_learn == "all",
        learn_gain=settings.gain_control_learn != "bias",
    )
