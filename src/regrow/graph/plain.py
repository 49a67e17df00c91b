"""Which modules are one layer and nothing else: torch's own, and those that multiply what they are called with.

Asked by whoever works with a layer by its module: calibration, surveys, gain checks, draws by what was heard.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.conv import _ConvNd  # pyright: ignore[reportPrivateUsage] # the base of all convolutions

from regrow.graph.undisturbed import undisturbed


def is_layer(module: object) -> bool:
    """Whether a module gives the product of its argument and its ``weight``, with its ``bias``, and nothing else.

    Examples:
        >>> is_layer(nn.Linear(2, 3)), is_layer(nn.ReLU())
        (True, False)
    """
    return isinstance(module, (_ConvNd, nn.Linear)) or has_columns(module)


def has_columns(module: object) -> bool:
    """Whether it gives ``x @ weight + bias``: not by its class, of which every package has its own, but tried out."""
    if not isinstance(module, nn.Module) or type(module).__module__.startswith("torch.nn."):
        return False
    own = dict(module.named_parameters())
    weight = own.get("weight")
    if weight is None or weight.ndim != 2 or not own.keys() <= {"weight", "bias"}:
        return False
    with torch.no_grad():
        # Numbers of its own, for with zeros in its weight an activation behind it would not be seen.
        tried = {name: _numbers(each) for name, each in own.items()}
        x = _numbers(weight[:, :2]).t()
        try:
            expected = x @ tried["weight"] + tried.get("bias", 0.0)
            with undisturbed(module):
                given = functional_call(module, tried, (x,))
        except Exception:  # whatever a foreign class raises: it is something else
            return False
    return (
        isinstance(given, Tensor)
        and given.shape == expected.shape
        and torch.allclose(given, expected, rtol=0.02, atol=0.02)
    )


def _numbers(like: Tensor) -> Tensor:
    """Numbers around 0 in a tensor's shape, of the size at which their products are about 1."""
    count = torch.arange(like.numel(), dtype=torch.float32, device=like.device)
    return (count.cos() / like.shape[0] ** 0.25).reshape(like.shape).to(like.dtype)
