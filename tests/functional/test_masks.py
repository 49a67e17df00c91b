"""From scores to masks."""

import torch

from regrow.functional import below, lowest, spare_best

NAN, INF = float("nan"), float("inf")


def test_below_is_strict_and_ignores_what_is_no_number() -> None:
    scores = torch.tensor([0.0, 0.5, 1.0, NAN, INF, -INF])
    assert below(scores, threshold=0.5).tolist() == [True, False, False, False, False, False]
    assert below(scores, threshold=0.0).tolist() == [False] * 6


def test_spare_best_only_where_a_whole_layer_is_marked() -> None:
    mask = torch.tensor([[True, True, True], [True, False, True]])
    scores = torch.tensor([[0.1, 0.3, 0.2], [0.1, 0.3, 0.2]])
    assert spare_best(mask, scores).tolist() == [[True, False, True], [True, False, True]]


def test_spare_best_with_ties_and_without_numbers() -> None:
    everything = torch.tensor([True, True])
    assert spare_best(everything, torch.tensor([0.0, 0.0])).tolist() == [False, True]
    assert spare_best(everything, torch.tensor([NAN, 0.0])).tolist() == [True, False]
    assert spare_best(torch.tensor([True]), torch.tensor([0.0])).tolist() == [False]


def test_lowest_takes_a_fixed_number_by_index_among_equals() -> None:
    scores = torch.tensor([[0.2, 0.1, 0.1], [0.0, 3.0, 2.0]])
    assert lowest(scores, count=1).tolist() == [[False, True, False], [True, False, False]]
    assert lowest(scores, count=torch.tensor([2, 0])).tolist() == [[False, True, True], [False] * 3]
    assert lowest(scores, count=9).all()


def test_vmap_gives_the_same() -> None:
    scores = torch.rand(4, 6, generator=torch.Generator().manual_seed(0))
    mapped = torch.vmap(lambda one: spare_best(below(one, threshold=0.9), one))(scores)
    assert torch.equal(mapped, spare_best(below(scores, threshold=0.9), scores))
    assert torch.equal(
        torch.vmap(lambda one: lowest(one, count=2))(scores), lowest(scores, count=2)
    )
