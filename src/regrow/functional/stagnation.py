"""How far units have moved, beside how large they are."""

from __future__ import annotations

import torch

from regrow._shapes import FilterRows, Scores


def relative_step(weight: FilterRows, *, before: FilterRows) -> Scores:
    """The length of each unit's way between two looks, by the length of its weights.

        score[o] = |w_o - w'_o| / max(|w_o|, |w'_o|),    w' = before,  |.| Euclidean

    A unit whose steps are next to nothing beside its weights has stopped to learn, whatever its gradient is beside
    those of others: under Adam a small gradient can make large steps, and large weights make large gradients small.

    Args:
        weight: The weights, one row a unit, (*S, O, F). Read, never written.
        before: The same weights at an earlier step.

    Returns:
        (*S, O), within [0, 2], in float32 or wider; 0 = it has not moved.

    Edge cases:
        A unit whose weights are 0 both times has not moved: 0. nan where a weight is.

    Source:
        Stagnant units, "gradient update negligible relative to weights": arXiv 2606.25335, abstract. The formula is
        ours.

    Examples:
        >>> relative_step(torch.tensor([[3.0, 4.0], [1.0, 0.0]]), before=torch.tensor([[3.0, 3.5], [1.0, 0.0]]))
        tensor([0.1000, 0.0000])
    """
    kind = torch.promote_types(weight.dtype, torch.float32)
    now, then = weight.to(kind), before.to(kind)
    way = torch.linalg.vector_norm(now - then, dim=-1)
    size = torch.maximum(
        torch.linalg.vector_norm(now, dim=-1), torch.linalg.vector_norm(then, dim=-1)
    )
    return way / torch.where(size == 0, 1.0, size)
