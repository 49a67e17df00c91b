"""Models and optimizers that are split over ranks are refused before training, with the way out."""

import warnings
from collections.abc import Callable, Generator

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import regrow
from regrow.errors import ConfigError, OptimizerError

pytestmark = pytest.mark.skipif(
    not (dist.is_available() and dist.is_gloo_available()), reason="this torch has no gloo"
)

EXAMPLE = torch.zeros(2, 1, 8, 8)
RECIPE = regrow.RandomOut(confirm="gradient", threshold=1e-12, active_fraction=1.0)
Cnn = Callable[[int], nn.Module]


@pytest.fixture
def one_rank() -> Generator[None]:
    """A process group of this process alone: what is refused is refused there too."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def _refused(model: nn.Module, message: str) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ConfigError, match=message) as caught:
        regrow.attach(RECIPE, model, optimizer, example_inputs=EXAMPLE)
    assert "DistributedDataParallel, which keeps the model whole" in str(caught.value)


@pytest.mark.usefixtures("one_rank")
def test_fully_shard_is_refused(small_cnn: Cnn) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    model = small_cnn(0)
    fully_shard(model[3], mesh=init_device_mesh("cpu", (1,)))  # type: ignore[index]
    _refused(model, r"3\.weight is a DTensor \(fully_shard or tensor parallelism\)")


@pytest.mark.usefixtures("one_rank")
@pytest.mark.parametrize("names_kept", [True, False])
def test_fully_sharded_data_parallel_is_refused(names_kept: bool, small_cnn: Cnn) -> None:
    from torch.distributed.fsdp import FullyShardedDataParallel

    def wrap(module: nn.Module) -> nn.Module:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # one rank has nothing to shard, torch says
            return FullyShardedDataParallel(
                module, use_orig_params=names_kept, device_id=torch.device("cpu")
            )

    _refused(wrap(small_cnn(0)), "and the model is inside FullyShardedDataParallel")
    partly = small_cnn(0)
    partly[3] = wrap(partly[3])  # type: ignore[index]
    _refused(partly, "and 3 is inside FullyShardedDataParallel")


@pytest.mark.usefixtures("one_rank")
def test_tensor_parallelism_is_refused(small_cnn: Cnn) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor.parallel import ColwiseParallel, parallelize_module

    model = small_cnn(0)
    parallelize_module(model, init_device_mesh("cpu", (1,)), {"6": ColwiseParallel()})
    _refused(model, r"6\.weight is a DTensor")


@pytest.mark.usefixtures("one_rank")
@pytest.mark.parametrize("reset", [True, False])
def test_optimizers_that_are_split_are_refused(reset: bool, small_cnn: Cnn) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # this module of torch uses torch.jit
        from torch.distributed.optim import PostLocalSGDOptimizer, ZeroRedundancyOptimizer

    model = DistributedDataParallel(small_cnn(0))
    recipe = regrow.RandomOut(
        confirm="gradient",
        threshold=1e-12,
        active_fraction=1.0,
        optimizer_state="exact" if reset else "kept",
    )
    split = ZeroRedundancyOptimizer(model.parameters(), torch.optim.Adam, lr=0.1)
    with pytest.raises(OptimizerError, match=r"ZeroRedundancyOptimizer splits it: give the optim"):
        regrow.attach(recipe, model, split, example_inputs=EXAMPLE)

    inner = torch.optim.SGD(model.parameters(), lr=0.1)
    local = PostLocalSGDOptimizer(inner, averager=None)
    with pytest.raises(OptimizerError, match="PostLocalSGDOptimizer each sees its own"):
        regrow.attach(recipe, model, local, example_inputs=EXAMPLE)


def test_data_parallel_replicas_read_the_renewed_weights(small_cnn: Cnn) -> None:
    """`nn.DataParallel` copies the module's own parameters to its replicas in every forward pass."""
    model = nn.DataParallel(small_cnn(0))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    recipe = regrow.RandomOut(confirm="gradient", threshold=1e9, active_fraction=1.0)
    images = torch.randn(4, 1, 8, 8)
    regrower = regrow.attach(recipe, model, optimizer, example_inputs=EXAMPLE)
    before = model(images)
    before.sum().backward()
    optimizer.step()
    assert regrower.report.renewed == 10
    assert not torch.equal(model(images), before)
    assert torch.equal(model(images), model.module(images))
