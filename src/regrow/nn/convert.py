"""One kind of norm layer for another in a whole model, and back: `convert` and `convert_`.

A user calls these; `nn/replacing.py` does the work.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from torch import nn
from torch.nn.parameter import is_lazy

from regrow.errors import ConfigError
from regrow.graph.calling import ExampleInputs
from regrow.graph.trace import unwrap
from regrow.nn.conversion import Conversion, ConversionReport
from regrow.nn.norm_act import NormAct
from regrow.nn.norm_kinds import NormKind, recognise
from regrow.nn.replacing import Replacing


def convert(
    model: nn.Module,
    from_: NormKind = "batchnorm",
    to: NormKind = "gain_control",
    *,
    include: Sequence[str] = ("*",),
    exclude: Sequence[str] = (),
    example_inputs: ExampleInputs | None = None,
    fuse_relu: bool = True,
    keep_affine: bool = False,
    **options: Any,
) -> Conversion:
    """Replace the norm layers of a copy of a model by layers of another kind.

    The new layers have the old ones' module paths, channels, device, dtype, mode and `requires_grad`; a layer that
    occurs under two paths still does. Everything is fresh (gain 1, bias 0) unless `keep_affine` says otherwise. Make
    the optimizer afterwards: the parameters are new ones.

    Three things are done only where they are exact, and the report says where not:

    * A ReLU becomes part of the gain control in front of it where that layer's output goes to this ReLU, and to nothing
      else, and the ReLU takes nothing else. Its place keeps an identity.
    * A convolution's bias is dropped in front of a gain control with k = 1 that is not learnt: it shifts maps and means
      alike.
    * A norm whose maps have a single position is left alone, as gain control would leave its bias of it.

    What goes where is found by running the model on the example inputs, in evaluation and in training mode. Without
    them only neighbours inside an ``nn.Sequential`` are known.

    Args:
        model: Read, never written.
        from_: What is replaced: ``batchnorm`` (also of timm, with the activation in it), ``groupnorm``,
            ``instancenorm`` or ``gain_control``.
        to: What comes instead: one of those, or ``none`` for an identity.
        include: Patterns of module paths, as in a shell; a norm must match one.
        exclude: Patterns of module paths; a norm must match none.
        example_inputs: As in `regrow.trace`, with two or more examples. The model is left as it was.
        fuse_relu: Make ReLUs part of gain control where that is exact.
        keep_affine: Gain and bias start as the old layer's scale and shift. What the old layer divided by is gone, so
            that the maps' size is another one all the same.
        **options: Of the new layers' constructor, such as ``learn_mean_scale=False``, or ``eps``; ``num_groups`` for
            ``groupnorm``.

    Returns:
        The new model, and the report.

    Edge cases:
        A ConfigError for a kind that does not exist, a pattern that matches no norm, options that the layer does not
        take, a wrapped model (`DataParallel`, compiled). A model that does not run on the example inputs is a
        `TraceError`. Norms of unknown classes are left, and listed. So are batch norms over features, norms that an
        attribute also holds in a plain list, tuple or dict, and, without example inputs, those whose class does not say
        how many axes are positions (``BatchNorm1d``, ``GroupNorm``). Nothing replaced at all: a `NoEffectWarning`. On
        the way back ReLUs that were fused are modules again; a bias that was dropped stays away. Neighbours in an
        ``nn.Sequential`` are taken to run only as its members. A model that reads a norm's own tensors
        (``self.norm.weight``) finds others there.

    Source:
        Ours; the paper (Ruff 2017) puts the layer into every convolutional neuron, before the ReLU.

    Examples:
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3))
        >>> made = convert(net, learn_mean_scale=False)
        >>> print(made.report)
        batchnorm -> gain_control: 1 replaced, 1 ReLUs fused, 1 biases dropped
        >>> [type(module).__name__ for module in made.model]
        ['Conv2d', 'GainControl2d', 'FusedReLU', 'Conv2d']
    """
    _check(model)
    work = Replacing(copy.deepcopy(model), from_, to, keep_affine, options)
    report = work.run(include, exclude, example_inputs, fuse_relu=fuse_relu)
    return Conversion(model=work.model, report=report)


def convert_(
    model: nn.Module,
    from_: NormKind = "batchnorm",
    to: NormKind = "gain_control",
    *,
    include: Sequence[str] = ("*",),
    exclude: Sequence[str] = (),
    example_inputs: ExampleInputs | None = None,
    fuse_relu: bool = True,
    keep_affine: bool = False,
    **options: Any,
) -> ConversionReport:
    """Replace the norm layers of a model, in place; everything else as in `convert`.

    Args:
        model: Written to, once everything is known to fit.
        from_: See `convert`.
        to: See `convert`.
        include: See `convert`.
        exclude: See `convert`.
        example_inputs: See `convert`.
        fuse_relu: See `convert`.
        keep_affine: See `convert`.
        **options: See `convert`.

    Returns:
        The report.

    Raises:
        ConfigError: As in `convert`; or the model is itself a norm layer, which has no place to be replaced in.
    """
    _check(model)
    found = recognise(model)
    if isinstance(model, NormAct) or (found is not None and found.kind is not None):
        raise ConfigError(
            f"the model must hold its norm layers, and is one itself ({type(model).__name__}): use convert, which "
            "returns the new one (convert_)"
        )
    work = Replacing(model, from_, to, keep_affine, options)
    return work.run(include, exclude, example_inputs, fuse_relu=fuse_relu)


def _check(model: nn.Module) -> None:
    """Refuse a model that cannot be converted as it is, with the way out."""
    if unwrap(model) is not model:
        raise ConfigError(
            f"the model must not be wrapped yet, got {type(model).__name__}: convert the network itself, then wrap "
            "it (convert)"
        )
    for name, each in (*model.named_parameters(), *model.named_buffers()):
        if is_lazy(each):
            raise ConfigError(
                f"every parameter must have its shape, and {name} has none yet: run the model once on an example "
                "before it is converted (convert)"
            )
