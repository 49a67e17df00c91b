"""One run of a model in which layers are measured, and set, before it comes to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from regrow.errors import TraceError
from regrow.graph.undisturbed import undisturbed


def measured_run(
    model: nn.Module,
    arguments: Callable[[], tuple[Sequence[Any], Mapping[str, Any]]],
    *,
    layers: Iterable[nn.Module],
    before: Callable[[Any, tuple[Any, ...], dict[str, Any]], None],
    written: Sequence[Tensor],
    where: str,
) -> None:
    """Call a model once, and a function in front of each of some layers: behind their own hooks, which change inputs.

    The function takes the layer, and its arguments by place and by name. The model's own, a copy, are made where it
    runs: one of inference mode could not be written to there. The model stays as it was but for what is `written`, and
    that too after an error; a model that does not run is a TraceError.
    """
    values = [each.detach().clone() for each in written]
    try:
        with undisturbed(model), ExitStack() as stack:
            for layer in layers:
                handle = layer.register_forward_pre_hook(before, with_kwargs=True)
                stack.callback(handle.remove)
            args, named = arguments()
            model(*args, **named)
            # Before buffers are put back, of which some may be written; one by one, for weights are large.
            for place, tensor in enumerate(written):
                values[place] = tensor.detach().clone()
    except TraceError:
        raise
    except Exception as error:
        raise TraceError(
            f"the model must run on the inputs; its forward raised {type(error).__name__}: {error} ({where})"
        ) from error
    finally:
        with torch.no_grad():
            for tensor, value in zip(written, values, strict=True):
                if not torch.equal(tensor, value):  # a copy would count as a change for autograd
                    tensor.copy_(value)
