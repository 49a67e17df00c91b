"""Gains and biases of gain control, moved into the neighbouring weights once training is over.

A user calls it. Who stands before and behind a layer it asks `nn/neighbours.py`, what may be moved `nn/fold_rules.py`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from textwrap import wrap
from typing import Final, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd  # pyright: ignore[reportPrivateUsage] # the base of all convolutions

from regrow._plural import count
from regrow.errors import TraceError
from regrow.graph.calling import ExampleInputs, call_arguments, map_tensors, tensors_in
from regrow.graph.trace import unwrap
from regrow.graph.undisturbed import undisturbed
from regrow.nn import fold_rules as rules
from regrow.nn.neighbours import Neighbours, has_hooks, held_outside, put_in_place
from regrow.nn.norm_kinds import GainControl, gain_control_modules, kept_gain, write_gains

_EXACT: Final = 1e-8
"""Of the largest output, in float64: what sixteen digits leave of an exact rule behind many layers."""


@dataclass(frozen=True, kw_only=True)
class FoldReport:
    """What `fold` moved where.

    Attributes:
        folded: By gain control layer, what was moved, in words.
        left: By gain control layer, what was not moved, and why.
        removed: Layers of which nothing was left (k = 0): an identity or a ReLU is in their place.
        largest_difference: Between the outputs before and after, both computed in float64, as a share of the largest
            output.
        rounding: The same in the model's own dtype.
    """

    folded: Mapping[str, tuple[str, ...]]
    left: Mapping[str, tuple[str, ...]]
    removed: tuple[str, ...]
    largest_difference: float
    rounding: float

    def __str__(self) -> str:
        """One line for each thing moved or left."""
        lines = [
            f"{count(len(self.folded), 'layer')} folded, {len(self.removed)} of them removed; "
            f"outputs differ by {self.largest_difference:.1e} in float64, {self.rounding:.1e} in the model's dtype"
        ]
        for title, notes in (("folded", self.folded), ("left", self.left)):
            for path, texts in notes.items():
                lines += wrap(
                    f"  {title} {path}: {'; '.join(texts)}", 120, subsequent_indent="    "
                )
        return "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class FoldedModel:
    """A folded model, and what was done.

    Attributes:
        model: For inference: the same function, with less to compute.
        report: What was moved.
    """

    model: nn.Module
    report: FoldReport


def fold(model: nn.Module, example_inputs: ExampleInputs) -> FoldedModel:
    """Move the gains and biases of a copy's gain control layers into the weights around them, where that is exact.

    With y = g (x - k mean of x) + b:

    * g into the convolution in front, whose weights and bias are multiplied by it: exact where nothing else sees the
      convolution's output, as the layer is linear in x. k = 0 everywhere: b too, and the layer goes.
    * g, where it could not go there, into the convolution or linear layer behind: through pooling, and through ReLU and
      max pooling for g > 0, where relu(g d + b) = g relu(d + b / g).
    * b into the bias of the convolution or linear layer behind, where no ReLU comes between and no border of zeros is
      padded to its input.

    A layer whose output goes to a skip connection, another norm or an activation other than ReLU keeps its b, and a g
    that no convolution in front could take. k cannot go: the mean is the sample's own. What goes where is found by
    running the model in evaluation mode; the result is for inference.

    Args:
        model: Read, never written.
        example_inputs: As in `regrow.trace`; outputs before and after are compared on them.

    Returns:
        The folded copy, and the report.

    Raises:
        TraceError: The model is wrapped, has no gain control layer, does not run on the example inputs (as it is, and
            in float64), or its outputs differ by more than rounding.

    Edge cases:
        Channels whose gain is not above 0 keep it where a ReLU or a max pooling is behind; the others go. What two
        layers share (weights, gains, biases) is left. A layer with k = 0 that an attribute also holds in a plain list,
        tuple or dict stays, as an identity. Moved gains are 1 afterwards, moved biases 0: tensors and state-dict keys
        stay, but for a bias that a reader may get.

    Source:
        Ours; the paper (Ruff 2017) says nothing of it.

    Examples:
        >>> from regrow.nn import GainControl2d
        >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), GainControl2d(2, gain=3.0, relu=True), nn.Conv2d(2, 1, 3))
        >>> folded = fold(net, torch.randn(1, 1, 9, 9))
        >>> folded.report.folded, folded.model[1].gains().tolist()
        ({'1': ('g into 0',)}, [1.0, 1.0])
    """
    if unwrap(model) is not model:
        raise TraceError(
            f"the model must not be wrapped, got {type(model).__name__}: fold the network itself (fold)"
        )
    if not gain_control_modules(model):
        raise TraceError("the model must have a gain control layer, and has none (fold)")
    # Twice: in float64 first, where rounding cannot hide a rule that is not exact; then in the model's own numbers.
    exact, exact_inputs = copy.deepcopy(model).double(), _in_double(example_inputs)
    before = _outputs(exact, exact_inputs)
    _Folding(exact, exact_inputs).run()
    difference = _difference(before, _outputs(exact, exact_inputs))
    # Written so that nan is refused as well.
    if not difference <= _EXACT:
        raise TraceError(
            f"the folded model must give what the model gave, and differs by {difference:.1e} of the largest output "
            "in float64: part of it depends on values that the example inputs do not show (fold)"
        )
    made = copy.deepcopy(model)
    folding = _Folding(made, example_inputs)
    folding.run()
    report = FoldReport(
        folded=folding.folded,
        left=folding.left,
        removed=tuple(folding.removed),
        largest_difference=difference,
        rounding=_difference(_outputs(model, example_inputs), _outputs(made, example_inputs)),
    )
    return FoldedModel(model=made, report=report)


class _Folding:
    """One model that is folded in place."""

    def __init__(self, model: nn.Module, example_inputs: ExampleInputs) -> None:
        self._model = model
        self._paths = {module: path for path, module in model.named_modules()}
        self._near = Neighbours(model, example_inputs, training=False)
        self._owners: dict[Tensor, set[nn.Module]] = {}
        for module in model.modules():
            for each in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
                self._owners.setdefault(each, set()).add(module)
        self._outside = held_outside(model)
        self.folded: dict[str, tuple[str, ...]] = {}
        self.left: dict[str, tuple[str, ...]] = {}
        self.removed: list[str] = []

    @torch.no_grad()
    def run(self) -> None:
        """Fold every layer."""
        # No linear layer: what it gives in one row are no channels, but the positions of a map.
        in_front = {
            self._near.follower(module)[0]: module
            for module in self._paths
            if isinstance(module, _ConvNd) and self._own_weights(module)
        }
        for layer, path in gain_control_modules(self._model).items():
            if has_hooks(layer):
                self._leave(path, "the layer has hooks")
                continue
            if not (self._is_one_layers(kept_gain(layer)) and self._is_one_layers(layer.bias)):
                self._leave(path, "its gains or biases are another layer's too, or computed")
                continue
            front = in_front.get(layer)
            if front is not None:
                self._into_front(path, layer, front)
            if path not in self.removed:
                self._into_next(path, layer, scaled=front is not None)

    def _into_front(self, path: str, layer: GainControl, front: _ConvNd) -> None:
        gains = layer.gains()
        name = self._paths[front]
        if not bool((layer.mean_scale == 0).all()):
            if bool((gains != 1).any()):
                rules.scale_outputs_(front, gains)
                write_gains(layer, torch.ones_like(gains))
                self._note(path, f"g into {name}")
            return
        rules.scale_outputs_(front, gains)
        rules.shift_outputs_(front, layer.bias)
        if layer in self._outside:
            write_gains(layer, torch.ones_like(gains))
            layer.bias.zero_()
            self._note(path, f"g and b into {name}")
            self._leave(path, f"the layer itself: it is also in {self._outside[layer]}")
            return
        instead = nn.ReLU() if layer.relu else nn.Identity()
        put_in_place(self._paths, {layer: instead.train(layer.training)})
        self._note(path, f"g and b into {name}, and the layer is gone (k = 0)")
        self.removed.append(path)

    def _into_next(self, path: str, layer: GainControl, *, scaled: bool) -> None:
        """Move on what is left: g that found no layer in front, and b."""
        gains, bias = layer.gains(), layer.bias
        has_gain, has_bias = bool((gains != 1).any()) and not scaled, bool((bias != 0).any())
        if not (has_gain or has_bias):
            return
        between, behind, why = self._chain(layer)
        what = " and ".join(["g"] * has_gain + ["b"] * has_bias)
        if behind is None:
            self._leave(path, f"{what}: {why}")
            return
        name = self._paths[behind]
        if has_gain:
            cut = layer.relu or any(rules.needs_positive(each) for each in between)
            moved = gains > 0 if cut else gains != 0
            # relu(g d + b) = g relu(d + b / g) holds for g > 0 alone: the other channels keep their gain, next to those
            # that lose it.
            factor = torch.where(moved, gains, 1.0)
            rules.scale_inputs_(behind, factor)
            layer.bias.copy_(bias.double() / factor.double())
            write_gains(layer, torch.where(moved, 1.0, gains))
            self._note(path, f"g into {name}")
            if not bool(moved.all()):
                few = count(int((~moved).sum()), "channel")
                self._leave(path, f"g of {few}, which is not above 0")
        if not has_bias:
            return
        if layer.relu or not all(rules.lets_shift_pass(each) for each in between):
            self._leave(path, f"b: a ReLU or a padded mean lies between it and {name}")
        elif not rules.takes_shift(behind):
            self._leave(path, f"b: {name} pads its input with zeros, or is transposed")
        else:
            rules.shift_inputs_(behind, layer.bias)
            layer.bias.zero_()
            self._note(path, f"b into {name}")

    def _chain(self, layer: GainControl) -> tuple[list[nn.Module], rules.Weighted | None, str]:
        """What lies between a layer and the weights behind it, and those; or why there are none to be used."""
        between: list[nn.Module] = []
        here: nn.Module = layer
        # Flattened maps of a lone sample, (C, positions), look like a row of features for each of several.
        batched = all(len(each) == layer.dims + 2 for each in self._near.shapes(layer) or ())
        while True:
            behind, why = self._near.follower(here, flattened=True)
            if behind is None:
                return between, None, why
            if rules.lets_scale_pass(behind) and not has_hooks(behind):
                between.append(behind)
                here = behind
            elif not self._own_weights(behind):
                why = f"it goes to '{self._paths[behind]}', a {type(behind).__name__}"
                return between, None, why
            elif (batched and self._near.flat(here, behind)) is not (type(behind) is nn.Linear):
                return between, None, f"'{self._paths[behind]}' takes its maps in another order"
            else:
                return between, cast("rules.Weighted", behind), ""

    def _own_weights(self, module: nn.Module) -> bool:
        return (
            rules.is_weighted(module)
            and not has_hooks(module)
            and all(map(self._is_one_layers, module.parameters()))
        )

    def _is_one_layers(self, tensor: Tensor) -> bool:
        return len(self._owners.get(tensor, ())) == 1

    def _note(self, path: str, text: str) -> None:
        self.folded[path] = (*self.folded.get(path, ()), text)

    def _leave(self, path: str, text: str) -> None:
        self.left[path] = (*self.left.get(path, ()), text)


def _outputs(model: nn.Module, inputs: ExampleInputs) -> list[Tensor]:
    with undisturbed(model):
        args, kwargs = call_arguments(inputs)
        try:
            given = model(*args, **kwargs)
        except Exception as error:
            raise TraceError(
                "the model must run on the example inputs, in float64 too; its forward raised "
                f"{type(error).__name__}: {error} (fold)"
            ) from error
        return [each for each in tensors_in(given) if each.is_floating_point() or each.is_complex()]


def _difference(before: list[Tensor], after: list[Tensor]) -> float:
    """The largest difference, as a share of the largest finite entry; NaN where entries are NaN."""
    if [each.shape for each in before] != [each.shape for each in after]:
        return math.inf
    size = _largest([each[each.isfinite()] for each in before])
    # Entries that are infinite in both, as masked ones are, do not differ.
    largest = _largest([(_wide(a) - _wide(b))[a != b] for a, b in zip(before, after, strict=True)])
    return largest / size if size > 0 else largest


def _largest(tensors: list[Tensor]) -> float:
    sizes = [float(each.abs().max()) for each in tensors if each.numel()]
    return math.nan if any(map(math.isnan, sizes)) else max(sizes, default=0.0)


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float64))


def _in_double(inputs: ExampleInputs) -> ExampleInputs:
    """The same with real numbers in float64."""
    made = map_tensors(inputs, lambda x: x.double() if x.is_floating_point() else x)
    return cast("ExampleInputs", made)
