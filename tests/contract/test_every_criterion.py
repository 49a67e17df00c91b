"""What holds for every criterion, driven by the rows."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch

import regrow.criteria
from contract.rows import CRITERIA, gradients, seen
from regrow.criteria import Criterion, Observation

CASES = [(name, settings) for name, row in CRITERIA.items() for settings in row.settings]
KEYS = {"layer": "conv", "step": 3, "seed": 0}


def _score(criterion: Criterion, *grads: torch.Tensor) -> torch.Tensor:
    state: dict[str, torch.Tensor] = {}
    for grad in grads:
        state = criterion.observe(state, seen(grad))
    _, scores = criterion.score(state, count=grads[0].shape[-2], layer="conv", step=3, seed=0)
    assert scores is not None
    return scores


def test_every_criterion_has_its_row() -> None:
    kinds = {
        name
        for name in regrow.criteria.__all__
        if hasattr(getattr(regrow.criteria, name), "score")
        and name
        not in {
            "AveragingCriterion",
            "Criterion",
            "Momentary",
            "RememberingCriterion",
            "WatchingCriterion",
        }
    }
    assert kinds == set(CRITERIA)


@pytest.mark.parametrize(("name", "settings"), CASES)
class TestEveryCriterion:
    def test_shape_and_finiteness_at_the_edges(
        self, name: str, settings: Mapping[str, Any]
    ) -> None:
        criterion = CRITERIA[name].make(**settings)
        for grad in (
            gradients(1, 5),
            gradients(6, 1),
            torch.zeros(3, 4),
            gradients(4, 9).repeat(2, 1),
            gradients(5, 7).to(torch.bfloat16),
        ):
            scores = _score(criterion, grad)
            assert scores.shape == grad.shape[:-1]
            assert scores.isfinite().all()

    def test_oracle_in_float64(self, name: str, settings: Mapping[str, Any]) -> None:
        row = CRITERIA[name]
        if row.oracle is None:
            pytest.skip("random scores have a distribution, not an oracle: see tests/draw")
        grad = gradients(8, 27)
        grad[2, :4] = 0.0  # a ReLU gives exact zeros
        expected = row.oracle(grad.double().tolist(), grad.double().tolist(), settings)
        assert _score(row.make(**settings), grad).tolist() == pytest.approx(expected, rel=1e-5)
        precise = _score(row.make(**settings), grad.double())
        assert precise.tolist() == pytest.approx(expected, rel=1e-6, abs=5e-9)

    def test_stacked_is_one_by_one(self, name: str, settings: Mapping[str, Any]) -> None:
        row = CRITERIA[name]
        if row.oracle is None:
            pytest.skip("drawn for one network at a time, by its seed")
        stack = gradients(3, 5, 12)
        alone = torch.stack([_score(row.make(**settings), one) for one in stack])
        torch.testing.assert_close(_score(row.make(**settings), stack), alone)

    def test_permuting_filters_permutes_scores(
        self, name: str, settings: Mapping[str, Any]
    ) -> None:
        row = CRITERIA[name]
        if row.oracle is None:
            pytest.skip("drawn by the filter's index")
        grad, order = gradients(6, 10), torch.tensor([3, 0, 5, 1, 4, 2])
        criterion = row.make(**settings)
        torch.testing.assert_close(_score(criterion, grad[order]), _score(criterion, grad)[order])

    def test_scale_is_as_declared(self, name: str, settings: Mapping[str, Any]) -> None:
        row = CRITERIA[name]
        criterion, grad = row.make(**settings), gradients(6, 10)
        same = torch.allclose(_score(criterion, grad), _score(criterion, 3.0 * grad))
        assert same == (row.scale_free or settings.get("rescale", False))

    def test_inputs_states_and_the_global_generator_are_untouched(
        self, name: str, settings: Mapping[str, Any]
    ) -> None:
        criterion = CRITERIA[name].make(**settings)
        grad = gradients(4, 6)
        before, generator = grad.clone(), torch.get_rng_state()
        observation = seen(grad)
        first = criterion.observe({}, observation)
        kept = {key: value.clone() for key, value in first.items()}
        criterion.observe(first, observation)
        criterion.score(first, count=4, **KEYS)  # type: ignore[arg-type]
        assert torch.equal(before, grad)
        assert torch.equal(generator, torch.get_rng_state())
        assert all(torch.equal(first[key], value) for key, value in kept.items())

    def test_observed_in_parts_is_observed_whole(
        self, name: str, settings: Mapping[str, Any]
    ) -> None:
        """What is accumulated over two steps is their sum or average; what is not looks at the last step alone."""
        criterion = CRITERIA[name].make(**settings)
        first, second = gradients(4, 6), gradients(4, 6, seed=1)
        if CRITERIA[name].averages:
            # As a sum of weights: the second is as much as 1, the first has decayed once.
            decay = settings.get("decay", 0.99)
            ones = decay * _score(criterion, first), _score(criterion, second)
            both = _score(criterion, first, second)
            torch.testing.assert_close(both, sum(ones) / (1 + decay))
            return
        expected = first + second if criterion.every_step else second
        torch.testing.assert_close(_score(criterion, first, second), _score(criterion, expected))

    def test_nothing_observed_gives_no_score_or_needs_nothing(
        self, name: str, settings: Mapping[str, Any]
    ) -> None:
        criterion = CRITERIA[name].make(**settings)
        state = criterion.observe({}, Observation(count=4))
        _, scores = criterion.score(state, count=4, **KEYS)  # type: ignore[arg-type]
        assert (scores is None) == bool(criterion.needs)


@pytest.mark.parametrize("name", CRITERIA)
def test_wrong_settings_are_refused(name: str) -> None:
    for wrong in CRITERIA[name].wrong:
        with pytest.raises(wrong.error, match=wrong.match):
            CRITERIA[name].make(**wrong.settings)
