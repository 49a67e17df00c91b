"""Terms that recipes add to a training loss.

* `overlap_penalty`: keeps filters of a layer apart (RePr).
* `distillation`: follows the softened answers of other networks (RePr, Filter Grafting+).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from regrow._checks import check_choice, check_not_negative, check_positive
from regrow._shapes import FilterRows
from regrow.errors import ConfigError, ShapeError
from regrow.graph import Filters
from regrow.graph.slices import rows


def overlap_penalty(model: nn.Module, layers: Iterable[Filters], *, weight: float = 0.01) -> Tensor:
    """A loss that is 0 where the filters of every layer are orthogonal to each other.

        penalty = weight * sum over layers l, filters f and j of |W'_l W'_l^T - I|[f, j]

    with W' the layer's filters as rows of length 1.

    Args:
        model: Its weights are read by name; gradients reach them.
        layers: Which layers: ``regrow.trace(model, x).renewable()``, say.
        weight: The paper's lambda.

    Returns:
        A number that a training loss can be added to.

    Raises:
        ConfigError: No layer, or a weight that is negative.

    Edge cases:
        A filter of zeros has no direction and adds nothing.

    Source:
        Prakash et al., "RePr", CVPR 2019, Section 5.1 ("orthogonality loss"), lambda 0.01. The paper prints no
        normalisation of the sum; none is made.

    Examples:
        >>> import regrow
        >>> net = nn.Sequential(nn.Conv2d(1, 2, 2), nn.Flatten(), nn.Linear(2, 2))
        >>> _ = net[0].weight.data.copy_(torch.ones(2, 1, 2, 2))
        >>> layers = regrow.trace(net, torch.zeros(1, 1, 2, 2)).renewable()
        >>> overlap_penalty(net, layers, weight=0.5)
        tensor(1., grad_fn=<MulBackward0>)
    """
    check_not_negative(weight, name="weight", where="overlap penalty")
    parameters = dict(model.named_parameters(remove_duplicate=False))
    terms = [_overlaps(rows(parameters[layer.weight], layer), layer.groups) for layer in layers]
    if not terms:
        raise ConfigError("the overlap penalty needs at least one layer")
    return weight * torch.stack([term.to(terms[0].device) for term in terms]).sum()


def _overlaps(filters: FilterRows, groups: int) -> Tensor:
    """Filters of different groups read different inputs, and do not overlap."""
    norms = torch.linalg.vector_norm(filters, dim=-1, keepdim=True)
    unit = (filters / norms.where(norms > 0, 1.0)).unflatten(-2, (groups, -1))
    other = ~torch.eye(unit.shape[-2], dtype=torch.bool, device=filters.device)
    return (unit @ unit.mT).abs().where(other, 0.0).sum()


def distillation(
    logits: Tensor,
    teachers: Sequence[Tensor],
    *,
    temperature: float = 2.0,
    combine: Literal["mean", "sum"] = "mean",
) -> Tensor:
    """How far a network's softened answers are from those of its teachers.

        p_T = softmax(teacher / T),  q = softmax(logits / T)
        loss = T^2 * mean over examples of KL(mean over teachers of p_T || q)

    The factor T^2 keeps the gradient's size as T changes (Hinton, Vinyals, Dean 2015).

    Args:
        logits: (N, K), the network's.
        teachers: One (N, K) a teacher; no gradient reaches them.
        temperature: T, above 0.
        combine: ``mean`` of the teachers' probabilities, or ``sum`` of one loss a teacher, as released code does.

    Returns:
        A number.

    Raises:
        ConfigError: No teacher, a temperature of 0 or less, or another way to combine.
        ShapeError: A teacher's logits of another shape.

    Examples:
        >>> same = torch.tensor([[1.0, -1.0]])
        >>> distillation(same, [same]).item()
        0.0
    """
    check_positive(temperature, name="temperature", where="distillation")
    check_choice(combine, ("mean", "sum"), name="combine", where="distillation")
    if not teachers:
        raise ConfigError("distillation needs at least one teacher")
    for teacher in teachers:
        if teacher.shape != logits.shape:
            raise ShapeError(
                f"teachers' logits of shape {tuple(logits.shape)} are needed, got {tuple(teacher.shape)} (distillation)"
            )
    answers = nn.functional.log_softmax(logits / temperature, dim=-1)
    targets = [
        nn.functional.softmax(teacher.detach() / temperature, dim=-1) for teacher in teachers
    ]
    if combine == "mean":
        targets = [torch.stack(targets).mean(0)]
    losses = [nn.functional.kl_div(answers, target, reduction="batchmean") for target in targets]
    return temperature**2 * torch.stack(losses).sum()
