"""Every optimizer of this torch is known or refused, with a reason and a way out."""

from pathlib import Path

import pytest
import torch
from torch import nn, optim
from torch.optim import Optimizer

from regrow.errors import ConfigError, OptimizerError
from regrow.renewal import Edit
from regrow.surgery import OptimizerSurgeon
from regrow.surgery.optimizers import FAMILIES, REFUSED, family_of, known_kind
from surgery.optimizers_of_users import Inherits, Mine, OtherState, Overrides, SubMuon
from surgery.rows import ROWS, kinds

DOCS = Path(__file__).parents[2] / "docs" / "optimizers.md"


def _weight() -> nn.Parameter:
    return nn.Parameter(torch.ones(2, 3))


def _surgeon(optimizer: Optimizer, reset_state: str = "exact") -> OptimizerSurgeon:
    weight = optimizer.param_groups[0]["params"][0]
    return OptimizerSurgeon(optimizer, {"w": weight}, reset_state=reset_state)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", list(kinds()), ids=lambda kind: kind.__name__)
def test_every_optimizer_of_torch_is_known_or_refused(kind: type[Optimizer]) -> None:
    """A new one in torch fails here: it needs a family and rows, or a reason."""
    assert (kind in FAMILIES) != (kind.__name__ in REFUSED)
    if kind in FAMILIES:
        assert any(row.kind is kind for row in ROWS.values() if not row.slow), (
            "no row of it in the quick suite"
        )
        assert _surgeon(kind([_weight()])).state_dict()["young"] == {}
    assert f"| {kind.__name__} |" in DOCS.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("make", "reason", "way"),
    [
        (
            lambda: optim.Adafactor([_weight()]),
            "clipped by a norm over the whole tensor",
            "optimizer_state",
        ),
        (
            lambda: optim.Muon([_weight()]),
            "makes the momentum of a whole matrix",
            "reset_state='zero'",
        ),
        (
            lambda: SubMuon([_weight()]),
            "makes the momentum of a whole matrix",
            "reset_state='zero'",
        ),
        (lambda: optim.LBFGS([_weight()]), "couples all parameters", "optimizer_state='kept'"),
        (lambda: optim.SparseAdam([_weight()]), "sparse gradients only", "optimizer_state='kept'"),
        (lambda: Overrides([_weight()]), r"optimizers_of_users\.Overrides", "reset_state='zero'"),
        (lambda: OtherState([_weight()]), r"optimizers_of_users\.OtherState", "reset_state='zero'"),
        (lambda: Mine([_weight()], torch.zeros_like), r"Mine.*known: ASGD, ", "reset_state='zero'"),
        (
            lambda: optim.Adam([_weight()], differentiable=True),
            "differentiable=True",
            "optimizer_state",
        ),
    ],
)
def test_refusals_name_the_reason_and_the_way_out(
    make: "type[Optimizer]", reason: str, way: str
) -> None:
    optimizer = make()  # type: ignore[call-arg]
    with pytest.raises(OptimizerError, match=rf"(?=.*{type(optimizer).__name__}).*{reason}.*{way}"):
        _surgeon(optimizer)


@pytest.mark.parametrize("kind", [optim.Adafactor, optim.LBFGS, optim.SparseAdam])
def test_where_zero_is_no_way_out_either(kind: type[Optimizer]) -> None:
    with pytest.raises(
        OptimizerError, match=f"'zero' is not for {kind.__name__}: .*optimizer_state"
    ):
        _surgeon(kind([_weight()]), "zero")


def test_a_subclass_that_inherits_its_step_is_known() -> None:
    optimizer = Inherits([_weight()])
    assert known_kind(optimizer) is optim.Adam
    assert known_kind(Overrides([_weight()])) is None
    _surgeon(optimizer)


def test_reset_state_is_one_of_two() -> None:
    with pytest.raises(ConfigError, match="reset_state must be 'exact' or 'zero', got 'fresh'"):
        _surgeon(optim.SGD([_weight()]), "fresh")


def _stepped(optimizer: Optimizer) -> OptimizerSurgeon:
    surgeon = _surgeon(optimizer, "zero")
    for weight in optimizer.param_groups[0]["params"]:
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    return surgeon


ROW = torch.tensor([[True], [False]])


def test_zero_zeroes_what_has_the_shape_and_leaves_the_rest() -> None:
    optimizer = Mine([_weight()], lambda weight: torch.ones(()))
    surgeon = _stepped(optimizer)
    surgeon.reset([Edit(name="w", mask=ROW, value=0.0)])
    state = next(iter(optimizer.state.values()))
    assert state["velocity"].tolist() == [[0, 0, 0], [1, 1, 1]]
    assert (state["step"].item(), state["more"].item(), state["name"]) == (1, 1, "not a tensor")
    assert surgeon.state_dict() == {"family": "Zeroed", "young": {}}
    assert not surgeon.needs_pre_step


@pytest.mark.parametrize("kind", FAMILIES, ids=lambda kind: kind.__name__)
def test_zero_of_a_known_optimizer_is_exact(kind: type[Optimizer]) -> None:
    assert family_of(kind([_weight()]), reset_state="zero") is FAMILIES[kind]


def test_zero_of_a_known_optimizer_keeps_what_does_not_begin_at_zero() -> None:
    optimizer = optim.Adagrad([_weight()], initial_accumulator_value=0.5, lr_decay=0.1)
    surgeon = _stepped(optimizer)
    surgeon.reset([Edit(name="w", mask=ROW, value=0.0)])
    state = next(iter(optimizer.state.values()))
    assert state["sum"].tolist() == [[0.5, 0.5, 0.5], [1.5, 1.5, 1.5]]
    assert set(surgeon.state_dict()["young"]) == {"w"}


def test_zero_for_muon_reaches_its_momentum() -> None:
    optimizer = optim.Muon([_weight()])
    _stepped(optimizer).reset([Edit(name="w", mask=ROW, value=0.0)])
    momentum = next(iter(optimizer.state.values()))["momentum_buffer"]
    assert (momentum == 0).tolist() == [[True] * 3, [False] * 3]


class Whole:
    """A memory in an object."""

    def __init__(self, memory: torch.Tensor) -> None:
        self.memory = memory


WAY = r"optimizer_state='kept' in the recipe \(RandomOut\(optimizer_state='kept'\)\)"


@pytest.mark.parametrize(
    ("memory", "message"),
    [
        (
            lambda weight: torch.zeros(2, 1),
            r"'more' is torch.float32 of shape \(2, 1\) for a parameter",
        ),
        (lambda weight: weight.to(torch.uint8), r"'more' is torch.uint8 of shape \(2, 3\)"),
        (lambda weight: [torch.eye(2), torch.eye(3)], r"'more' is a list that holds tensors"),
        (lambda weight: {"Q": (weight * 1,)}, r"'more' is a dict that holds tensors"),
        (lambda weight: Whole(weight * 1), r"'more' is a Whole that holds tensors"),
    ],
)
def test_zero_refuses_what_is_not_one_number_an_entry(memory: object, message: str) -> None:
    """Factored and quantised memories: zeroing would do nothing, or something else. Nothing is changed then."""
    optimizer = Mine([_weight()], memory)  # type: ignore[arg-type]
    surgeon, edits = _stepped(optimizer), [Edit(name="w", mask=ROW, value=0.0)]
    for refuse in (surgeon.check, surgeon.reset):
        with pytest.raises(OptimizerError, match=f"(?=.*Mine keeps of 'w').*{message}.*{WAY}"):
            refuse(edits)
    assert next(iter(optimizer.state.values()))["velocity"].tolist() == [[1, 1, 1], [1, 1, 1]]


def test_zero_refuses_memory_that_is_kept_elsewhere() -> None:
    optimizer = Mine([_weight()], torch.zeros_like)
    surgeon, edits = _stepped(optimizer), [Edit(name="w", mask=ROW, value=0.0)]
    surgeon.check(edits)
    optimizer.averages = {"w": [torch.zeros(2, 3)]}  # type: ignore[attr-defined]
    with pytest.raises(
        OptimizerError, match=f"Mine keeps tensors in its attribute 'averages'.*{WAY}"
    ):
        surgeon.check(edits)


def test_zero_refuses_a_parameter_of_which_nothing_is_kept_though_of_others_there_is() -> None:
    weight, other = _weight(), _weight()
    optimizer = Mine([weight, other], torch.zeros_like)
    surgeon, edits = _stepped(optimizer), [Edit(name="w", mask=ROW, value=0.0)]
    surgeon.check(edits)
    del optimizer.state[weight]
    with pytest.raises(
        OptimizerError, match=f"a state of other parameters, but none of 'w'.*{WAY}"
    ):
        surgeon.check(edits)
    weight.grad = None  # frozen so far
    surgeon.check(edits)
    weight.grad = torch.ones_like(weight)
    del optimizer.state[other]  # an optimizer without any memory
    surgeon.reset(edits)


class Slow(Optimizer):
    """As Lookahead of timm: the moments are inside, and it writes slow weights beside them."""

    def __init__(self, inner: Optimizer) -> None:
        super().__init__(inner.param_groups, {})
        self._base = inner


@pytest.mark.parametrize("reset_state", ["exact", "zero"])
def test_an_optimizer_that_holds_another_is_refused(reset_state: str) -> None:
    inner = optim.AdamW([_weight()])
    wanted = rf"Slow steps another optimizer, its '_base'.*optimizer\._base\), or {WAY}"
    with pytest.raises(OptimizerError, match=wanted):
        _surgeon(Slow(inner), reset_state)


@pytest.mark.parametrize("kind", FAMILIES, ids=lambda kind: kind.__name__)
def test_a_memory_that_torch_has_not_made_is_refused(kind: type[Optimizer]) -> None:
    optimizer = kind([_weight()])
    surgeon = OptimizerSurgeon(optimizer, {"w": optimizer.param_groups[0]["params"][0]})
    weight = optimizer.param_groups[0]["params"][0]
    weight.grad = torch.ones_like(weight)
    optimizer.step()
    edits = [Edit(name="w", mask=ROW, value=0.0)]
    surgeon.check(edits)
    optimizer.state[weight]["slow"] = weight.detach().clone()
    with pytest.raises(
        OptimizerError, match=f"'w' in {kind.__name__} has 'slow'.*does not keep.*{WAY}"
    ):
        surgeon.check(edits)
