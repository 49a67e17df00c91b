"""Several networks of one program in one memory: loss and gradients of all, and each still a module of its own.

Made by the laboratory (`lab/engines/stack.py`). It gives `engine/plan.py`, one a size of batch, the images and the
memory.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn

from regrow.engine.answers import Answers
from regrow.engine.layers import Setting
from regrow.engine.loss import LossName, Reduction
from regrow.engine.memory import Memory
from regrow.engine.places import Places, on_device
from regrow.engine.plan import Plan
from regrow.engine.program import Program, program_of
from regrow.engine.tiles import samples_of_tile
from regrow.errors import ConfigError, ShapeError


class Stack:
    """N networks that compute the same with weights of their own.

    The modules stay what they are, with the same parameters and buffers, which become views of the stack's memory:
    whoever reads or edits a network (`state_dict`, a recipe, an optimizer) reads and edits what the stack trains, and
    `grad` of each parameter is what the last call of `gradients` has found. What one network gets has the same bits
    alone and among any others.

    On the CPU one process should use one thread, and a stack few networks, so that their numbers stay in the cache:
    many networks are many stacks, one after the other.

    Args:
        models: The networks. Their tensors move into the stack's memory.
        program: What they compute, where that is known (`program_of` of one of them); None: each is traced.
        batched: One call for all networks, as it pays on a GPU; None: not on the CPU.
        loss: ``cross-entropy`` of classes, or the ``squared`` error of one number.

    Raises:
        ConfigError: Networks that differ, or none.

    Edge cases:
        A network that the engine cannot run: an UnsupportedError. Networks that differ in their tensors: a ShapeError.

    Attributes:
        program: What they compute.
        models: The networks.
        memory: Their parameters, gradients and buffers.

    Examples:
        >>> nets = [nn.Sequential(nn.Flatten(), nn.Linear(4, 2)) for _ in range(3)]
        >>> stack = Stack(nets)
        >>> losses, right = stack.gradients(torch.ones(5, 1, 2, 2), torch.zeros(5, dtype=torch.int64))
        >>> losses.shape, nets[0][1].weight.grad.shape
        (torch.Size([3]), torch.Size([2, 4]))
    """

    def __init__(
        self,
        models: Sequence[nn.Module],
        *,
        program: Program | None = None,
        batched: bool | None = None,
        loss: LossName = "cross-entropy",
    ) -> None:
        if not models:
            raise ConfigError("a stack must have at least one network (Stack)")
        if len({id(model) for model in models}) < len(models):
            raise ConfigError("a network may be in a stack once (Stack)")
        self.models = tuple(models)
        self.program = program_of(models[0]) if program is None else program
        for number, model in enumerate(self.models if program is None else ()):
            if program_of(model) != self.program:
                raise ConfigError(
                    f"network {number} computes something else than network 0 (Stack)"
                )
        self.memory = Memory(self.models)  # their parameters, gradients and buffers
        flat = self.memory.parameters.flat
        self._kind = (flat.dtype, flat.device)
        self.batched = flat.device.type != "cpu" if batched is None else batched
        self._loss: LossName = loss
        self._plans: dict[tuple[object, ...], Plan] = {}
        self._last: Plan | None = None

    def __len__(self) -> int:
        return len(self.models)

    def gradients(
        self,
        images: Tensor,
        labels: Tensor,
        *,
        reduction: Reduction = "mean",
        rates: Sequence[float] | None = None,
        folded: Collection[str] = (),
    ) -> tuple[Tensor, Tensor]:
        """The loss of each network, and its gradients in place of those that were there.

        Args:
            images: (N, B, C, H, W), or (B, C, H, W) for all networks; (F,) instead of (C, H, W) for a first dense
                layer.
            labels: Classes, or numbers for a squared loss, (N, B) or (B,).
            reduction: ``mean`` or ``sum`` over the samples.
            rates: A learning rate for each network; needed with `folded`.
            folded: Paths of dense layers that take their step of plain SGD with these rates inside the backward pass.
                They have no gradient then: their ``grad`` is None.

        Returns:
            Loss (N,), and how many predictions are right, (N,) int64, of numbers none. New tensors, on the networks'
            device.

        Raises:
            ShapeError: Images or labels do not fit.

        Edge cases:
            `folded` without a rate for each network, or with something that is no dense layer: a ConfigError.
        """
        with torch.no_grad():
            # The plan of one size of batch has memory of that size: the last, smaller batch of an epoch has one of its
            # own.
            plan = self._last = self._of(images, learns=True)
            told = self._rates(rates, folded) if folded else None
            hidden = {f"{path}.{name}" for path in folded for name in ("weight", "bias")}
            samples = images.shape[-4 if images.ndim > 3 else -2]
            if labels.shape not in ((samples,), (len(self.models), samples)):
                raise ShapeError(
                    f"labels must be ({len(self)}, {samples}) or ({samples},), got {tuple(labels.shape)} (Stack)"
                )
            self.memory.show_gradients(hidden)
            plan.forward(images)
            found = plan.loss(labels, reduction=reduction)
            plan.backward(rates=told, folded=folded)
            return found

    def columns(self, samples: int, shape: tuple[int, ...]) -> Tensor | None:
        """Where others lay a batch of each network's own for `learn`, (N, pixels, B); None where it does not lie so."""
        return None if self.batched else self._own(samples, shape).columns

    def learn(
        self,
        images: Tensor | None,
        labels: Tensor,
        *,
        answers: Answers,
        reduction: Reduction = "mean",
        shape: tuple[int, ...] = (),
        outputs: Tensor | None = None,
    ) -> None:
        """As `gradients`, and what the networks have answered is judged later.

        Args:
            images: As there; None: they lie in `columns`.
            labels: Classes, (N, B). Not copied: they must stay as they are until the answers are judged.
            answers: Where they are kept.
            reduction: Of the loss.
            shape: Of an image, where `images` is None.
            outputs: How many of each network's outputs take part, the first, int64 (N,): the others have no share in
                loss and answer, and get no gradient. None: all.
        """
        with torch.no_grad():
            samples = labels.shape[-1]
            plan = self._own(samples, shape) if images is None else self._of(images, learns=True)
            self._last = plan
            self.memory.show_gradients()
            plan.forward(images, outputs=outputs)
            plan.loss.note(labels, reduction=reduction, answers=answers)
            plan.backward()

    def heard(self, path: str, network: int) -> Tensor:
        """What a layer was called with in the last call of `gradients` or `learn`.

        Args:
            path: Of a layer with weights.
            network: Which network's.

        Returns:
            (B, C, H, W), or (B, F), as torch's layer would have been called. The stack's own memory, which the next
            call overwrites.

        Raises:
            ConfigError: `gradients` was not called yet.
        """
        if self._last is None:
            raise ConfigError("heard needs a pass before it: call gradients (Stack)")
        return self._last.heard(path, network)

    def logits(self, images: Tensor) -> Tensor:
        """Scores of the classes, (N, B, K), a new tensor, with each network in the mode that it is in.

        Networks in training move their norms' running statistics, as plain modules do: call ``eval()`` on them.
        """
        with torch.no_grad():
            return self._of(images, learns=False).forward(images).mT.clone()

    def release(self) -> None:
        """Give the networks memory of their own again, with the numbers as they are; the stack cannot be used after."""
        self.memory.release()
        self._plans.clear()
        self._last = None

    def _own(self, samples: int, shape: tuple[int, ...]) -> Plan:
        """The plan for batches of each network's own."""
        return self._plan((len(self), samples, *shape), *self._kind, learns=True)

    def _of(self, images: Tensor, *, learns: bool) -> Plan:
        return self._plan(images.shape, images.dtype, images.device, learns=learns)

    def _plan(
        self, images: tuple[int, ...], dtype: torch.dtype, device: torch.device, *, learns: bool
    ) -> Plan:
        key = (images, dtype, device, learns)
        plan = self._plans.get(key)
        if plan is not None:
            return plan
        if (dtype, device) != self._kind:
            wanted, there = self._kind
            raise ConfigError(
                f"images must be {wanted} on {there}, got {dtype} on {device} (Stack)"
            )
        shared = len(images) in (2, 4)
        if len(images) not in (2, 3, 4, 5) or (not shared and images[0] != len(self)):
            raise ShapeError(
                f"images must be ({len(self)}, B, ...) or (B, ...), got {tuple(images)} (Stack)"
            )
        samples, *shape = images if shared else images[1:]
        places = Places(
            networks=len(self),
            samples=samples,
            tile=samples_of_tile(self.program, tuple(shape), dtype=dtype),
            batched=self.batched,
            device=device,
            dtype=dtype,
        )
        setting = Setting(places=places, memory=self.memory, models=self.models, learns=learns)
        plan = self._plans[key] = Plan(
            self.program, setting, shape=tuple(shape), shared=shared, loss=self._loss
        )
        return plan

    def _rates(
        self, rates: Sequence[float] | None, folded: Collection[str]
    ) -> tuple[float, ...] | Tensor:
        unknown = sorted(set(folded) - set(self.program.dense))
        if unknown:
            raise ConfigError(f"only dense layers can be folded, '{unknown[0]}' is none (Stack)")
        if rates is None or len(rates) != len(self):
            raise ConfigError(f"folded layers need {len(self)} learning rates, got {rates} (Stack)")
        if not self.batched:
            return tuple(rates)
        dtype, device = self._kind
        return on_device(torch.tensor(rates, dtype=dtype, device="cpu"), device)[:, None, None]
