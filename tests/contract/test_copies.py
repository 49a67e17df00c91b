"""Who holds a Regrower can be copied and pickled, and the copy can go on bit for bit; of every recipe."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import regrow
from contract.partner_rows import EACH as EACH_PARTNER
from contract.partner_rows import VARIANTS as PARTNERS
from contract.rows import DATA, FEW, VARIANTS, wiring_of
from crossed import crossed
from partners.nets import Plain, step_of
from regrow.errors import ConfigError
from regrow.loop import Detached
from traced import attach_partners_traced

EXAMPLE = torch.zeros(2, 1, 8, 8)
STEPS, CUT = 16, 6
Batches = list[tuple[torch.Tensor, torch.Tensor]]


class Holder(nn.Module):
    """What holds its model and its regrower as attributes, as a LightningModule or an estimator does."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.regrower: Any = None


def _optimizer(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=0.01)


def _attached(name: str, holder: Holder, optimizer: torch.optim.Optimizer) -> Any:
    row = VARIANTS[name]
    return regrow.attach(
        row.make(**row.acts),
        holder.net,
        optimizer,
        wiring=wiring_of(holder.net),
        total_steps=STEPS,
        steps_per_epoch=5,
        seed=3,
        **DATA,
    )


def _train(model: nn.Module, optimizer: torch.optim.Optimizer, batches: Batches) -> None:
    for images, labels in batches:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()


COPIES: dict[str, Callable[[Any], Any]] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda each: pickle.loads(pickle.dumps(each)),  # noqa: S301 # its own
}


@pytest.mark.parametrize(("name", "way"), crossed(FEW, COPIES))
def test_a_copy_goes_on_where_the_original_was(
    name: str,
    way: str,
    small_cnn: Callable[[int], nn.Module],
    batches: Callable[[int], Batches],
) -> None:
    holder = Holder(small_cnn(0))
    optimizer = _optimizer(holder)
    holder.regrower = _attached(name, holder, optimizer)
    _train(holder.net, optimizer, batches(STEPS)[:CUT])
    copied = COPIES[way](holder)
    remembered = copy.deepcopy(optimizer.state_dict())
    _train(holder.net, optimizer, batches(STEPS)[CUT:])
    assert holder.regrower.report.renewed
    assert isinstance(copied.regrower, Detached)
    assert copied.regrower.report.steps == CUT

    again = COPIES[way](copied).regrower  # a copy of the copy, which does nothing
    again.tell(loss=1.0)
    again.step()
    assert again.bring_back() == ()
    with again:
        again.detach()
    with pytest.raises(ConfigError, match="attach to the copied model"):
        again.load_state_dict(again.state_dict())

    second = _optimizer(copied.net)
    second.load_state_dict(remembered)
    regrower = _attached(name, copied, second)
    regrower.load_state_dict(again.state_dict())
    _train(copied.net, second, batches(STEPS)[CUT:])
    for (key, one), two in zip(
        holder.net.state_dict().items(), copied.net.state_dict().values(), strict=True
    ):
        assert torch.equal(one, two), key
    assert regrower.report.events == holder.regrower.report.events


@pytest.mark.parametrize(("name", "way"), crossed(EACH_PARTNER, COPIES))
def test_a_grafter_is_copied_as_its_report_and_state(name: str, way: str) -> None:
    models = [Plain() for _ in range(2)]
    optimizers = [_optimizer(each) for each in models]
    grafter = attach_partners_traced(
        PARTNERS[name].make(**{**PARTNERS[name].acts, "partners": 2}),
        models,
        optimizers,
        example_inputs=EXAMPLE,
        total_steps=STEPS,
        steps_per_epoch=5,
    )
    for step in range(5):
        for k in range(2):
            step_of(models[k], optimizers[k], step, network=k)
    assert grafter.report.grafts == 1
    copied = COPIES[way](grafter)
    assert isinstance(copied, Detached)
    assert copied.report == grafter.report
    assert copied.state_dict() == grafter.state_dict()
    grafter.load_state_dict(copied.state_dict())


def test_an_estimator_that_holds_a_regrower_is_cloned(
    small_cnn: Callable[[int], nn.Module], batches: Callable[[int], Batches]
) -> None:
    """scikit-learn copies what an estimator was made with."""
    base = pytest.importorskip("sklearn.base")

    class Estimator(base.BaseEstimator):  # type: ignore[misc, name-defined]
        def __init__(self, net: Any = None, regrower: Any = None) -> None:
            self.net = net
            self.regrower = regrower

    name = next(iter(VARIANTS))
    holder = Holder(small_cnn(0))
    optimizer = _optimizer(holder)
    regrower = _attached(name, holder, optimizer)
    _train(holder.net, optimizer, batches(3))
    cloned = base.clone(Estimator(net=holder.net, regrower=regrower))
    assert isinstance(cloned.regrower, Detached)
    assert cloned.regrower.report.steps == 3
    _train(holder.net, optimizer, batches(1))  # the original goes on
    assert regrower.report.steps == 4
