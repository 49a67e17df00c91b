"""Models and optimizers that keep only a part of themselves on each rank: refused, with the way out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor, nn
from torch.optim import Optimizer

from regrow.errors import ConfigError, OptimizerError

_WAY_OUT = (
    "train with torch.nn.parallel.DistributedDataParallel, which keeps the model whole on each rank"
)


def refuse_sharded_model(model: nn.Module, parameters: Mapping[str, Tensor]) -> None:
    """Filters can be scored and renewed only where a rank holds them whole."""
    for split in _split(model, parameters):
        raise ConfigError(
            f"every parameter must be whole on each rank, and {split}: {_WAY_OUT} (attach)"
        )


def _split(model: nn.Module, parameters: Mapping[str, Tensor]) -> Iterator[str]:
    for path, module in model.named_modules():
        if _is_a(module, "FullyShardedDataParallel"):
            yield f"{path or 'the model'} is inside FullyShardedDataParallel, which flattens and splits them"
    for name, parameter in parameters.items():
        if hasattr(parameter, "placements"):  # a DTensor; its class is slow to import
            yield f"{name} is a {type(parameter).__name__} (fully_shard or tensor parallelism)"
        if hasattr(parameter, "ds_id") and parameter.numel() == 0:
            yield f"{name} is split by DeepSpeed's stage 3"


def refuse_sharded_optimizer(optimizer: Optimizer) -> None:
    """A renewed filter's optimizer state must be on every rank, and the gradients the same; the innermost is given."""
    if _is_a(optimizer, "ZeroRedundancyOptimizer"):
        raise OptimizerError(
            "the optimizer's state must be whole on each rank, and ZeroRedundancyOptimizer splits it: "
            "give the optimizer that it wraps all parameters itself (attach)"
        )
    if _is_a(optimizer, "PostLocalSGDOptimizer"):
        raise OptimizerError(
            "all ranks must see the same gradients, and with PostLocalSGDOptimizer each sees its own: "
            "use the optimizer that it wraps under DistributedDataParallel without the hook (attach)"
        )


def _is_a(thing: object, name: str) -> bool:
    """By name: torch.distributed's classes are slow to import, and one that is not imported is not here."""
    return any(kind.__name__ == name for kind in type(thing).__mro__)
