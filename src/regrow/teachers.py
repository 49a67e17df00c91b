"""Networks that are trained already and teach another one: the distillation half of Filter Grafting+.

Users add its loss to theirs; the laboratory's `teaching` does, with the teachers' arms of a study.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from regrow._checks import check_choice, check_not_negative, check_positive
from regrow.errors import ConfigError, ShapeError
from regrow.losses import distillation


class Teachers:
    """Teachers for your own training loop: one more term of the loss.

        loss = cross_entropy(logits, labels) + teachers.loss(logits, images)

    The teachers are held in evaluation mode: set so here, and again at each call should anything have changed it. They
    get no gradient, and nothing of them is written; `requires_grad` stays as it is. With `cache`, the logits of fixed
    data are computed once an example: the first time that its index is seen, or all at once by `fill`. The teachers do
    not see the images of an example whose logits are kept, so **augmented images must not use the cache**.

    Args:
        models: The teachers, at least one. Not copied.
        temperature: Softens both sides, above 0.
        combine: ``mean`` of the teachers' probabilities, or ``sum`` of one loss a teacher.
        weight: Factor of the loss, at least 0.
        cache: Number of examples whose logits are kept, by index; None keeps none.

    Attributes:
        models: The teachers.
        temperature: As given.
        combine: As given.
        weight: As given.

    Edge cases:
        Half precision: teachers follow autocast like any other network; the loss is computed in float32 at least.
        There is nothing to save: the cache is computed again. What a network gives for an image may depend on the
        rest of the batch in its last bits, and with it what the cache keeps; after `fill`, which goes through the
        images in fixed pieces, a resumed training has the same bits. Errors are ConfigError and ShapeError.

    Source:
        "Filter Grafting for Deep Neural Networks: Reason, Method, and Cultivation", arXiv 2004.12311v2: cross entropy
        and distillation with weight 1 each, temperature 2, mean of the teachers' probabilities, teachers fixed. The
        released code sums one loss a teacher (``combine="sum"``).

    Examples:
        >>> student, teacher = nn.Linear(3, 2), nn.Linear(3, 2)
        >>> teachers = Teachers([teacher])
        >>> x = torch.rand(5, 3)
        >>> loss = nn.functional.cross_entropy(student(x), torch.tensor([0, 1, 1, 0, 1])) + teachers.loss(student(x), x)
        >>> loss.backward()
        >>> student.weight.grad is not None, teacher.weight.grad is None
        (True, True)
    """

    def __init__(
        self,
        models: Iterable[nn.Module],
        *,
        temperature: float = 2.0,
        combine: Literal["mean", "sum"] = "mean",
        weight: float = 1.0,
        cache: int | None = None,
    ) -> None:
        self.models = tuple(models)
        _check_models(self.models)
        _check_settings(temperature, combine, weight, cache)
        self.temperature = temperature
        self.combine: Literal["mean", "sum"] = combine
        self.weight = weight
        self._kept = None if cache is None else _StoredLogits(cache)
        self._hold_in_eval()

    def to(self, device: torch.device | str) -> Teachers:
        """Move the teachers, in place, to where the images are."""
        for model in self.models:
            model.to(device)
        return self

    def loss(
        self, logits: Tensor, images: Tensor, indices: Tensor | Sequence[int] | None = None
    ) -> Tensor:
        """How far a network's softened answers are from the teachers'.

        Args:
            logits: (N, K), the student's; the gradient goes here and nowhere else.
            images: (N, ...), what the student saw.
            indices: (N,), which examples these are: needed with a cache, of no use without.

        Returns:
            A number: `weight` times `regrow.losses.distillation`.

        Raises:
            ShapeError: Logits that are not (N, K), or a teacher's of another shape.

        Edge cases:
            A ConfigError for a cache and no `indices`, an index outside the cache, a teacher on another device.
        """
        if logits.ndim != 2:
            raise ShapeError(
                f"logits must be of shape (N, K), got {tuple(logits.shape)} (teachers)"
            )
        exact = _at_least_single(logits)
        kept = self._kept
        taught = self._answers(images) if kept is None else self._looked_up(kept, images, indices)
        for index, teacher in enumerate(taught):
            if teacher.shape != logits.shape:
                raise ShapeError(
                    f"teacher {index} must give logits of shape {tuple(logits.shape)}, as the student does, got "
                    f"{tuple(teacher.shape)} (teachers)"
                )
        told = [teacher.to(device=exact.device, dtype=exact.dtype) for teacher in taught]
        return self.weight * distillation(
            exact, told, temperature=self.temperature, combine=self.combine
        )

    def fill(self, images: Tensor, *, batch_size: int = 256) -> None:
        """Compute and keep the logits of all examples now, in pieces that depend on nothing else.

        Args:
            images: (cache, ...): image i has the index i.
            batch_size: Images at a time, at least 1.

        Raises:
            ConfigError: There is no cache, or another number of images than it keeps.
        """
        if self._kept is None:
            raise ConfigError("fill needs Teachers(..., cache=N), got cache=None (teachers)")
        if len(images) != self._kept.size:
            raise ConfigError(
                f"fill needs as many images as the cache keeps, {self._kept.size}, got {len(images)} (teachers)"
            )
        every = torch.arange(len(images), device="cpu")
        for piece in every.split(batch_size):
            self._kept.put(piece, self._answers(images[piece.to(images.device)]))

    def _looked_up(
        self, kept: _StoredLogits, images: Tensor, indices: Tensor | Sequence[int] | None
    ) -> list[Tensor]:
        """The kept logits of a batch, after those of new examples were computed."""
        if indices is None:
            raise ConfigError(
                "with a cache, loss needs indices: which examples these are (teachers)"
            )
        chosen = torch.as_tensor(indices, device="cpu")
        if chosen.dtype not in _WHOLE or tuple(chosen.shape) != (len(images),):
            raise ShapeError(
                f"indices must be {len(images)} whole numbers, one an image, got {chosen.dtype} of shape "
                f"{tuple(chosen.shape)} (teachers)"
            )
        chosen = chosen.long()
        outside = chosen[(chosen < 0) | (chosen >= kept.size)]
        if len(outside):
            raise ConfigError(
                f"indices must be from 0 to {kept.size - 1}, as cache={kept.size}, got {int(outside[0])} (teachers)"
            )
        new = ~kept.seen[chosen]
        if new.any():
            kept.put(chosen[new], self._answers(images[new.to(images.device)]))
        return kept.get(chosen)

    def _answers(self, images: Tensor) -> list[Tensor]:
        """One (N, K) a teacher, without a graph."""
        self._hold_in_eval()
        found: list[Tensor] = []
        for index, model in enumerate(self.models):
            devices = {tensor.device for tensor in [*model.parameters(), *model.buffers()]}
            if devices and images.device not in devices:
                raise ConfigError(
                    f"teacher {index} must be on the images' device {images.device}, it is on "
                    f"{', '.join(sorted(map(str, devices)))}; move it with Teachers.to (teachers)"
                )
            with torch.no_grad():
                answer: object = model(images)
            if not isinstance(answer, Tensor):
                raise ConfigError(
                    f"teacher {index} must return a tensor of logits, got {type(answer).__name__} (teachers)"
                )
            found.append(_at_least_single(answer))
        return found

    def _hold_in_eval(self) -> None:
        for model in self.models:
            if any(module.training for module in model.modules()):
                model.eval()


class _StoredLogits:
    """Logits of examples by index; where they lie is where they were computed."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.seen = torch.zeros(size, dtype=torch.bool, device="cpu")
        self._logits: list[Tensor] = []

    def put(self, indices: Tensor, answers: Sequence[Tensor]) -> None:
        """Keep the answers of all teachers to some examples."""
        for answer in answers:
            if answer.ndim != 2 or len(answer) != len(indices):
                raise ShapeError(
                    f"a teacher must give logits of shape ({len(indices)}, K), got {tuple(answer.shape)} (teachers)"
                )
        if not self._logits:
            self._logits = [answer.new_empty(self.size, answer.shape[1]) for answer in answers]
        for kept, answer in zip(self._logits, answers, strict=True):
            kept[indices.to(kept.device)] = answer.to(kept)
        self.seen[indices] = True

    def get(self, indices: Tensor) -> list[Tensor]:
        """What is kept for some examples."""
        return [kept[indices.to(kept.device)] for kept in self._logits]


_WHOLE = {torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64}


def _at_least_single(logits: Tensor) -> Tensor:
    """Softened probabilities of half precision have too few digits for the logarithm."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def _check_models(models: Sequence[object]) -> None:
    if not models:
        raise ConfigError("at least one teacher is needed, got none (teachers)")
    for index, model in enumerate(models):
        if not isinstance(model, nn.Module):
            raise ConfigError(
                f"teacher {index} must be a torch.nn.Module, got {type(model).__name__} (teachers)"
            )


def _check_settings(temperature: float, combine: str, weight: float, cache: int | None) -> None:
    check_positive(temperature, name="temperature", where="teachers")
    check_not_negative(weight, name="weight", where="teachers")
    check_choice(combine, ("mean", "sum"), name="combine", where="teachers")
    if cache is not None and (isinstance(cache, bool) or cache < 1):
        raise ConfigError(
            f"cache must be a number of examples, at least 1, or None, got {cache!r} (teachers)"
        )
