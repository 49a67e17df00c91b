"""Agreement with the oracle, against the same numbers made by hand and compared by scipy."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from scipy import stats
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from regrow.criteria.oracle import accuracy_drop
from regrow.graph import trace
from regrow.lab.rankings import COMPARED, compare_rankings


@pytest.fixture
def case() -> tuple[nn.Sequential, Tensor, Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = nn.Sequential(
            nn.Conv2d(1, 5, 3), nn.ReLU(), nn.Conv2d(5, 7, 3), nn.ReLU(), nn.Flatten(),
            nn.Linear(7 * 16, 4),
        )  # fmt: skip
        return model, torch.randn(60, 1, 8, 8), torch.randint(4, (60,))


def oracle_by_hand(model: nn.Sequential, images: Tensor, labels: Tensor) -> dict[str, list[float]]:
    """Each filter's weights and bias at zero in a copy: behind a ReLU that silences it."""

    def measured(network: nn.Module) -> tuple[float, float]:
        with torch.no_grad():
            outputs = network(images)
        right = int((outputs.argmax(1) == labels).sum()) / len(labels)
        return right, float(F.cross_entropy(outputs.double(), labels))

    whole = measured(model)
    found: dict[str, list[float]] = {}
    for layer in ("0", "2"):
        found[layer] = []
        for index in range(model[int(layer)].weight.shape[0]):
            silenced = copy.deepcopy(model)
            with torch.no_grad():
                silenced[int(layer)].weight[index] = 0.0
                silenced[int(layer)].bias[index] = 0.0
            right, loss = measured(silenced)
            drop = accuracy_drop(
                torch.tensor(whole[0]), torch.tensor([right]), torch.tensor([loss - whole[1]])
            )
            found[layer].append(float(drop))
    return found


@pytest.mark.parametrize("out", [{}, {"0": (1,), "2": (0, 6)}])
def test_correlations_are_those_of_scores_made_by_hand(
    case: tuple[nn.Sequential, Tensor, Tensor], out: dict[str, tuple[int, ...]]
) -> None:
    model, images, labels = case
    layers = trace(model, images[:2]).renewable()
    records = compare_rankings(
        model, layers, images=images, labels=labels, epoch=4, seed=0, out=out
    )
    oracle, weights = [], []
    by_layer = oracle_by_hand(model, images, labels)
    for layer, drops in by_layer.items():
        inside = [index for index in range(len(drops)) if index not in out.get(layer, ())]
        oracle += [drops[index] for index in inside]
        rows = model[int(layer)].weight.detach().double().flatten(1)[inside]
        weights += rows.square().mean(1).sqrt().tolist()
    assert [record.ranking for record in records] == list(COMPARED)
    assert {record.filters for record in records} == {12 - sum(map(len, out.values()))}
    assert {record.epoch for record in records} == {4}
    found = next(record for record in records if record.ranking == "weights")
    assert found.rank == pytest.approx(stats.spearmanr(weights, oracle).statistic, abs=1e-6)
    assert found.value == pytest.approx(stats.pearsonr(weights, oracle).statistic, abs=1e-5)


def test_weights_are_compared_among_the_filters_in_the_network(
    case: tuple[nn.Sequential, Tensor, Tensor],
) -> None:
    model, images, labels = case
    layers = trace(model, images[:2]).renewable()
    with torch.no_grad():  # a filter that is out: at zero, and not to be counted as a full overlap
        model[2].weight[3] = 0.0
        model[2].bias[3] = 0.0
    records = compare_rankings(
        model, layers, images=images, labels=labels, epoch=1, seed=0, out={"2": (3,)}
    )
    oracle = oracle_by_hand(model, images, labels)
    inside = [0, 1, 2, 4, 5, 6]
    scores: list[float] = []
    for layer, kept in (("0", range(5)), ("2", inside)):
        weight = model[int(layer)].weight.detach().double()
        rows = F.normalize(weight[list(kept)].flatten(1), dim=1)
        cosines = (rows @ rows.T).abs()
        scores += (-(cosines.sum(1) - 1) / len(rows)).tolist()
    expected = oracle["0"] + [oracle["2"][index] for index in inside]
    found = next(record for record in records if record.ranking == "overlap")
    assert found.rank == pytest.approx(stats.spearmanr(scores, expected).statistic, abs=1e-6)


def test_the_random_ranking_depends_on_seed_and_epoch_alone(
    case: tuple[nn.Sequential, Tensor, Tensor],
) -> None:
    model, images, labels = case
    layers = trace(model, images[:2]).renewable()

    def rank(**changes: int) -> float | None:
        asked = {"epoch": 1, "seed": 0} | changes
        records = compare_rankings(model, layers, images=images, labels=labels, out={}, **asked)
        return next(record.rank for record in records if record.ranking == "random")

    assert rank() == rank()
    assert rank() != rank(epoch=2)
    assert rank() != rank(seed=1)


def test_a_correlation_that_is_not_defined_is_none(
    case: tuple[nn.Sequential, Tensor, Tensor],
) -> None:
    model, images, labels = case
    model[1], model[3] = nn.Sigmoid(), nn.Sigmoid()  # nothing is ever zero: one APoZ for all
    layers = trace(model, images[:2]).renewable()
    records = compare_rankings(model, layers, images=images, labels=labels, epoch=1, seed=0, out={})
    apoz = next(record for record in records if record.ranking == "apoz")
    assert (apoz.value, apoz.rank) == (None, None)
    others = [record.rank for record in records if record.ranking != "apoz"]
    assert all(rank is not None and math.isfinite(rank) for rank in others)


def test_no_filter_left_is_no_record(case: tuple[nn.Sequential, Tensor, Tensor]) -> None:
    model, images, labels = case
    layers = trace(model, images[:2]).renewable()
    out = {"0": tuple(range(5)), "2": tuple(range(7))}
    asked = {"images": images, "labels": labels, "epoch": 1, "seed": 0}
    assert compare_rankings(model, layers, out=out, **asked) == []
