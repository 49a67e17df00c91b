"""The work of a conversion: what replaces what is collected first, then put in place.

Called by `nn/convert.py`. Who stands before and behind a norm it asks `nn/neighbours.py`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, cast, get_args

from torch import nn
from torch.nn.modules.conv import _ConvNd  # pyright: ignore[reportPrivateUsage]

from regrow._checks import check_choice
from regrow.errors import ConfigError, NoEffectWarning
from regrow.graph.calling import ExampleInputs
from regrow.nn.conversion import ConversionReport
from regrow.nn.neighbours import Neighbours, has_hooks, held_outside, put_in_place
from regrow.nn.norm_act import FusedReLU, NormAct
from regrow.nn.norm_kinds import (
    GainControl,
    NormKind,
    build,
    dims_of,
    has_activation,
    put_back,
    recognise,
    with_activation,
)


class Replacing:
    """One conversion of a model, in place; afterwards `model` is another module where the root was replaced.

    A ConfigError where both kinds are the same, or `from_` is none.
    """

    def __init__(
        self,
        model: nn.Module,
        from_: NormKind,
        to: NormKind,
        keep_affine: bool,
        options: Mapping[str, Any],
    ) -> None:
        self.model = model
        for name, kind in (("from_", from_), ("to", to)):
            check_choice(kind, get_args(NormKind), name=name, where="convert")
        self._from: NormKind = from_
        self._to: NormKind = to
        if self._from in ("none", self._to):
            raise ConfigError(
                "from_ must be another kind than to, and not none (where a norm is missing is not known), got "
                f"from_={from_!r}, to={to!r} (convert)"
            )
        self._keep_affine, self._options = keep_affine, options
        self._paths: dict[nn.Module, list[str]] = {}
        for path, module in model.named_modules(remove_duplicate=False):
            self._paths.setdefault(module, []).append(path)
        for module in list(self._paths):
            if isinstance(module, NormAct):
                # Its norm is told of by the path that the norm once had.
                self._paths[module.norm] = self._paths[module]
        self._like = next((each for each in model.parameters() if each.is_floating_point()), None)
        self._new: dict[nn.Module, nn.Module] = {}
        self._norms: dict[nn.Module, nn.Module] = {}
        self._left: dict[str, str] = {}

    def run(
        self,
        include: Sequence[str],
        exclude: Sequence[str],
        example_inputs: ExampleInputs | None,
        *,
        fuse_relu: bool,
    ) -> ConversionReport:
        """Replace, and report. The example inputs show what goes where; None: as far as that is known without."""
        # Everything is built and checked first, and put in place at the end: an error halfway leaves the model as it
        # was.
        chosen = self._chosen(include, exclude)
        near = Neighbours(self.model, example_inputs)
        for module in chosen:
            self._replace(module, near)
        to_gain_control = self._to == "gain_control"
        fused, not_fused = self._fuse(near) if to_gain_control and fuse_relu else ({}, {})
        split = self._split()
        dropped, kept = self._biases(near) if to_gain_control else ([], {})
        self._put_in_place()
        if not self._norms:
            warnings.warn(
                f"no {self._from} was replaced{_listed(self._left)} (convert)",
                NoEffectWarning,
                stacklevel=3,
            )
        return ConversionReport(
            from_=self._from,
            to=self._to,
            replaced=tuple(self._path(module) for module in self._norms),
            left=self._left,
            fused=fused,
            not_fused=not_fused,
            split=split,
            dropped_biases=tuple(dropped),
            kept_biases=kept,
        )

    def _chosen(self, include: Sequence[str], exclude: Sequence[str]) -> list[nn.Module]:
        """The norms of the kind that the patterns choose; the others are noted with the reason."""
        known: list[str] = []
        chosen: list[nn.Module] = []
        outside = held_outside(self.model)
        for module, paths in self._paths.items():
            found = recognise(module)
            if found is None:
                continue
            known += paths
            if found.why:
                self._left[paths[0]] = found.why
            elif found.kind != self._from:
                self._left[paths[0]] = f"it is of another kind, {found.kind}"
            elif not _match(paths, include) or _match(paths, exclude):
                self._left[paths[0]] = "not among those chosen by include and exclude"
            elif has_hooks(module):
                self._left[paths[0]] = "it has hooks, which would be lost"
            elif module in outside:
                self._left[paths[0]] = f"it is also in {outside[module]}, where it would stay"
            else:
                chosen.append(module)
        for argument, patterns in (("include", include), ("exclude", exclude)):
            for pattern in patterns:
                if known and not any(fnmatchcase(path, pattern) for path in known):
                    raise ConfigError(
                        f"{argument} pattern '{pattern}' must match a norm layer, and matches none of: "
                        f"{', '.join(known)} (convert)"
                    )
        return chosen

    def _replace(self, module: nn.Module, near: Neighbours) -> None:
        """Build what comes in a norm's place, or note why nothing does."""
        shapes, dims = near.shapes(module), dims_of(module)
        path = self._path(module)
        if dims is None:
            if self._to in ("groupnorm", "none"):
                dims = 0  # not asked for
            elif shapes is None:
                self._left[path] = "how many axes are positions is not known: give example_inputs"
                return
            elif len({len(shape) for shape in shapes}) > 1 or not 3 <= len(shapes[0]) <= 5:
                self._left[path] = "its input has no axes of positions, or not always as many"
                return
            else:
                dims = len(shapes[0]) - 2
        single = self._options.get("single_position", "error")
        refused = self._to == "gain_control" and single == "error"
        if refused and any(math.prod(shape[-dims:]) == 1 for shape in shapes or ()):
            self._left[path] = "its maps have a single position (see single_position)"
            return
        self._norms[module] = build(
            module,
            to=self._to,
            dims=dims,
            keep_affine=self._keep_affine,
            like=self._like,
            options=self._options,
        )

    def _fuse(self, near: Neighbours) -> tuple[dict[str, str], dict[str, str]]:
        """Let new gain controls take over the ReLUs behind them."""
        fused: dict[str, str] = {}
        not_fused: dict[str, str] = {}
        for old, layer in self._norms.items():
            relu, why = self._relu_behind(old, near)
            if relu is None:
                not_fused[self._path(old)] = why
                continue
            cast("GainControl", layer).relu = True
            self._new[relu] = FusedReLU(layer, inplace=relu.inplace).train(relu.training)
            fused[self._path(old)] = self._path(relu)
        return fused, not_fused

    def _relu_behind(self, old: nn.Module, near: Neighbours) -> tuple[nn.ReLU | None, str]:
        """The ReLU behind a norm, where it may become part of what comes instead; or why there is none."""
        if has_activation(old):
            relu = old.get_submodule("act")
            if type(old.get_submodule("drop")) is not nn.Identity:
                return None, "something is dropped between the norm and its activation"
        else:
            relu, why = near.follower(old)
            if relu is None:
                return None, why
        if not isinstance(relu, nn.ReLU) or type(relu) is not nn.ReLU or "forward" in vars(relu):
            return None, f"behind it is no ReLU but {type(relu).__name__}"
        if has_hooks(relu) or relu in self._new:
            return None, "the ReLU has hooks, or is another norm's"
        return relu, ""

    def _split(self) -> dict[str, str]:
        """Bring back the ReLUs that were part of a gain control that goes."""
        split: dict[str, str] = {}
        for module in self._paths:
            if isinstance(module, FusedReLU) and module.norm in self._norms:
                self._new[module] = nn.ReLU(inplace=module.inplace).train(module.training)
                split[self._path(module.norm)] = self._path(module)
        for old, new in self._norms.items():
            if getattr(old, "relu", False) is True and self._path(old) not in split:
                self._norms[old] = nn.Sequential(new, nn.ReLU()).train(old.training)
                split[self._path(old)] = f"{self._path(old)}.1"
        return split

    def _biases(self, near: Neighbours) -> tuple[list[str], dict[str, str]]:
        """Take away convolutions' biases that a gain control takes away anyway."""
        dropped: list[str] = []
        kept: dict[str, str] = {}
        for module in self._paths:
            if not isinstance(module, _ConvNd) or module._parameters.get("bias") is None:  # pyright: ignore[reportPrivateUsage]
                continue
            behind, _ = near.follower(module)
            if behind not in self._norms:
                continue
            why = self._why_bias_stays(module)
            if why:
                kept[self._path(module)] = why
            else:
                module.register_parameter("bias", None)
                dropped.append(self._path(module))
        return dropped, kept

    def _why_bias_stays(self, module: nn.Module) -> str:
        options = self._options
        if options.get("learn_mean_scale", True) or options.get("mean_scale", 1.0) != 1.0:
            return "it cancels only where k is 1 and stays 1 (learn_mean_scale=False)"
        if options.get("single_position", "error") == "pass_through":
            return "on a single position it does not cancel (single_position='pass_through')"
        own = "forward" in vars(module) or not type(module).__module__.startswith("torch.nn.")
        if own or has_hooks(module):
            return "the layer has hooks or is a class of its own"
        return ""

    def _put_in_place(self) -> None:
        """Every place that had the old module has the new one."""
        for old, new in self._norms.items():
            self._new[old] = with_activation(old, new) if has_activation(old) else new
        for old in self._paths:
            if isinstance(old, NormAct) and old.norm in self._norms:
                old.act = self._new.get(old.act, old.act)
                self._new[old] = put_back(old, self._norms[old.norm])
        put_in_place([*self.model.modules(), *self._new.values()], self._new)
        self.model = self._new.get(self.model, self.model)

    def _path(self, module: nn.Module) -> str:
        return self._paths[module][0]


def _match(paths: Iterable[str], patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(path, pattern) for path in paths for pattern in patterns)


def _listed(left: Mapping[str, str]) -> str:
    if not left:
        return ": the model has no norm layer"
    some = "; ".join(f"{path or 'the model'}: {why}" for path, why in list(left.items())[:3])
    return f": {some}{' ...' if len(left) > 3 else ''}"
