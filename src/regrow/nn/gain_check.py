"""check_gain_: before the first step, layers that make far too little or too much of what they hear are scaled.

Called by users, and by `loop/protection` right before the first training pass; `nn/measured_run` listens to the
model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd  # pyright: ignore[reportPrivateUsage] # the base of all convolutions

from regrow._checks import check_positive
from regrow.errors import ConfigError, TraceError
from regrow.graph import ExampleInputs, Filters, Wiring, trace, unwrap
from regrow.graph.calling import call_arguments, copied
from regrow.graph.plain import is_layer
from regrow.graph.users import others
from regrow.nn.gain_report import Gain, GainReport
from regrow.nn.measured_run import measured_run


@final
@dataclass(frozen=True, kw_only=True)
class GainCheck:
    """Within which a layer's gain is left as it is, as a part of a recipe: `check_gain_` before the first pass.

    Args:
        low: The smallest rms(output without the bias) / rms(input) that is left as it is, above 0.
        high: The largest, above `low`.

    Raises:
        ConfigError: One of them outside its range.
    """

    low: float = 0.1
    high: float = 10.0

    def __post_init__(self) -> None:
        _check_range(self.low, self.high, where="gain check")


def _check_range(low: float, high: float, *, where: str) -> None:
    check_positive(low, name="low", where=where)
    check_positive(high, name="high", where=where)
    if high <= low:
        raise ConfigError(f"high must be above low={low:g}, got {high:g} ({where})")


@final
@dataclass(frozen=True, kw_only=True)
class Call:
    """What a model is called with, where both kinds of arguments are.

    Attributes:
        args: By place.
        named: By name.
    """

    args: tuple[Any, ...]
    named: Mapping[str, Any]


def check_gain_(
    model: nn.Module,
    inputs: ExampleInputs | Call,
    *,
    low: float = 0.1,
    high: float = 10.0,
    exclude: Sequence[str] = (),
    companions: Sequence[Mapping[str, Tensor]] = (),
    wiring: Wiring | None = None,
    reduce: Callable[[Tensor], Tensor] | None = None,
) -> GainReport:
    """Scale layers at whose output next to nothing is left of the input, or far too much, before training begins.

    Where a signal fades from layer to layer, so does the gradient, and training stays where it is for a long time;
    where it grows, the first steps blow the network up. One batch shows it. From the input on:

        ratio = rms(output without the bias) / rms(input)
        W  <-  W / ratio     where  not low <= ratio <= high

    and later layers hear what the scaled ones give. Only what is out by a factor of ten is touched: networks that were
    initialised as usual, and trained ones, keep their bits.

    Args:
        model: Its layers' weights are written to. All else is left as it was: flags, buffers, gradients, random state.
        inputs: One batch, as the model takes it (see `regrow.trace`), or a `Call` of it.
        low: The smallest ratio that is left as it is, above 0.
        high: The largest, above `low`.
        exclude: Patterns of module paths, as in a shell, of layers that are never scaled.
        companions: The tensors of copies of the model (an average, a teacher), by the model's names
            (``dict(ema.module.named_parameters())``): they are scaled by the same factors.
        wiring: What `regrow.trace` gave for this model; None: it is traced on `inputs`.
        reduce: Makes the mean over all ranks of a tensor, float64 on the CPU, so that all ranks, each with its batch,
            scale alike. Every rank must call this.

    Returns:
        What was found, layer by layer.

    Raises:
        ConfigError: `high` not above `low`, or a pattern that matches no layer.

    Edge cases:
        Never scaled: output layers, and what nobody was seen to read; layers behind which a norm follows, at once or
        behind further layers, or whose output is added to other layers' or multiplied (residual branches, attention):
        their size is somebody else's doing or a wish (a branch that begins near 0); frozen, shared and tied weights;
        layers whose readers are not known, and those that are called more than once. A layer that is silent, or hears
        nothing, is passed by: no factor helps it. The model runs in evaluation mode. A model that cannot be traced,
        does not run, or gives numbers that are not finite is a `TraceError`; a companion without the model's weights is
        a `ConfigError`. After an error no weight has changed.

    Source:
        Mishkin, Matas 2016, "All you need is a good init" (LSUV), https://arxiv.org/abs/1511.06422. Differs: what is
        measured is the gain of each layer, not its output's variance; only outliers are touched; biases are not.

    Examples:
        >>> _ = torch.manual_seed(0)
        >>> net = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 2))
        >>> check_gain_(net, torch.randn(50, 20)).scaled
        ()
        >>> with torch.no_grad():
        ...     _ = net[0].weight.mul_(0.01)
        >>> [(layer.path, round(layer.factor)) for layer in check_gain_(net, torch.randn(50, 20)).scaled]
        [('0', 171)]
    """
    _check_range(low, high, where="check_gain_")
    model = unwrap(model)
    if wiring is None:
        if isinstance(inputs, Call):
            raise ConfigError("a Call needs wiring=regrow.trace(...) (check_gain_)")
        wiring = trace(model, inputs)
    for pattern in exclude:
        if not any(fnmatchcase(path, pattern) for path in (*wiring, *wiring.untraced)):
            raise ConfigError(
                f"exclude pattern '{pattern}' must match a layer, and matches none of: {', '.join(wiring)} "
                "(check_gain_)"
            )
    named = dict(model.named_parameters(remove_duplicate=False))
    kept = _kept(named, wiring, exclude)
    measuring = _Measuring(model, named, wiring, low=low, high=high, reduce=reduce)
    found = measuring.run(inputs, may_scale=frozenset())
    several = {path for path, calls in measuring.calls.items() if calls > 1}
    kept.update(dict.fromkeys(several - kept.keys(), "it is called more than once"))
    may = frozenset(path for path in wiring if path not in kept)
    if any(measuring.is_out(found[path]) for path in may):
        _check_companions(companions, named, [wiring[path].weight for path in may])
        found = measuring.run(inputs, may_scale=may)
    factors = measuring.factors
    with torch.no_grad():
        for path, factor in factors.items():
            for companion in companions:
                if wiring[path].weight in companion:
                    companion[wiring[path].weight].mul_(factor)
    layers = tuple(
        Gain(path=path, ratio=found[path], factor=factors.get(path, 1.0), kept=kept.get(path, ""))
        for path in wiring
    )
    return GainReport(low=low, high=high, layers=layers)


def _kept(named: Mapping[str, Tensor], wiring: Wiring, exclude: Sequence[str]) -> dict[str, str]:
    """Why a layer is never scaled, by path; layers that may be are left out."""
    why: dict[str, str] = {}
    for layer in wiring.layers:
        weight = named.get(layer.weight)
        if any(fnmatchcase(layer.path, pattern) for pattern in exclude):
            why[layer.path] = "excluded"
        elif layer.is_head:
            why[layer.path] = "an output layer"
        elif layer.unread or layer.refused:
            why[layer.path] = "its readers are not known"
        elif weight is None or not weight.requires_grad:
            why[layer.path] = "frozen"
        elif layer.weight in wiring.shared:
            why[layer.path] = f"shared with {others(wiring.shared[layer.weight], layer.path)}"
        elif reason := settled(layer, wiring):
            why[layer.path] = reason
    return why


def settled(layer: Filters, wiring: Wiring, met: set[str] | None = None) -> str:
    """Why the size of what a layer gives is not its own affair, here or further on; "" where it is."""
    met = set() if met is None else met
    met.add(layer.path)
    norms = [*layer.norms, *layer.shared_norms]
    if norms:
        return f"followed by the norm {norms[0].path}"
    if layer.coupled or layer.multiplied or any(layer.foreign):
        return f"'{layer.path}' is added to something else, mixed or multiplied"
    for reader in layer.readers:
        if reader.standardised:
            return f"read by '{reader.path}', which standardises"
        if reader.path in wiring and reader.path not in met:
            behind = wiring[reader.path]
            reason = "" if behind.is_head else settled(behind, wiring, met)
            if reason:
                return reason
    return ""


def _check_companions(
    companions: Sequence[Mapping[str, Tensor]], named: Mapping[str, Tensor], names: Sequence[str]
) -> None:
    for companion in companions:
        if not any(name in companion for name in names):
            raise ConfigError(
                "a companion must be a mapping from the model's names to tensors and have one of the model's weights, "
                f"got the names {', '.join(list(companion)[:4])} (check_gain_)"
            )
        for name in names:
            if name in companion and companion[name].shape != named[name].shape:
                raise ConfigError(
                    f"a companion's {name} must have the shape {tuple(named[name].shape)}, got "
                    f"{tuple(companion[name].shape)} (check_gain_)"
                )


class _Measuring:
    """Measures each layer when the run comes to it, and scales it if it may."""

    def __init__(
        self,
        model: nn.Module,
        named: Mapping[str, Tensor],
        wiring: Wiring,
        *,
        low: float,
        high: float,
        reduce: Callable[[Tensor], Tensor] | None,
    ) -> None:
        self._model, self._low, self._high, self._reduce = model, low, high, reduce
        self._named, self._wiring = named, wiring
        self._paths: dict[nn.Module, str] = {}
        for layer in wiring.layers:
            owner, _, attribute = layer.weight.rpartition(".")
            module = model.get_submodule(owner)
            if attribute == "weight" and is_layer(module):
                self._paths[module] = layer.path
        self._found: dict[str, float | None] = {}
        self._may: frozenset[str] = frozenset()
        self.calls: Counter[str] = Counter()
        self.factors: dict[str, float] = {}

    def is_out(self, ratio: float | None) -> bool:
        """Whether a ratio is to be mended."""
        return ratio is not None and not self._low <= ratio <= self._high

    def run(
        self, inputs: ExampleInputs | Call, *, may_scale: frozenset[str]
    ) -> dict[str, float | None]:
        """Run the model once, writing the weights of the layers that may be scaled: ratios by path."""
        self._found, self._may = dict.fromkeys(self._wiring), may_scale
        self.calls, self.factors = Counter(), {}

        def arguments() -> tuple[tuple[Any, ...], dict[str, Any]]:
            if isinstance(inputs, Call):
                return copied(inputs.args, inputs.named)
            return call_arguments(inputs)

        measured_run(
            self._model,
            arguments,
            layers=self._paths,
            before=self._before,
            written=[self._weight(path) for path in self._paths.values() if path in may_scale],
            where="check_gain_",
        )
        return self._found

    @torch.no_grad()
    def _before(self, module: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        path = self._paths[module]
        self.calls[path] += 1
        if self.calls[path] > 1:
            return
        heard = next(each for each in (*args, *named.values()) if isinstance(each, Tensor))
        ratio = self._ratio(heard, _without_bias(module, args, named), path)
        self._found[path] = ratio
        if ratio is not None and path in self._may and self.is_out(ratio):
            self.factors[path] = 1.0 / ratio
            self._weight(path).mul_(1.0 / ratio)

    def _weight(self, path: str) -> Tensor:
        return self._named[self._wiring[path].weight]

    def _ratio(self, heard: Tensor, given: Tensor, path: str) -> float | None:
        sums = torch.tensor(
            [_square(heard), heard.numel(), _square(given), given.numel()],
            dtype=torch.float64,
            device="cpu",
        )
        if self._reduce is not None:
            sums = self._reduce(sums)
        heard_sum, heard_count, given_sum, given_count = sums.tolist()
        if not bool(sums.isfinite().all()):
            raise TraceError(
                f"numbers must be finite; what '{path}' takes or gives is not: look at the inputs and at the weights "
                f"before it (check_gain_)"
            )
        if not heard_sum > 0 or not given_sum > 0:
            return None
        return (given_sum / given_count / (heard_sum / heard_count)) ** 0.5


def _without_bias(module: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> Tensor:
    """What a layer gives, as if it had no bias: subtracting it afterwards would leave rounding."""
    own = module._parameters  # pyright: ignore[reportPrivateUsage]
    bias = own.get("bias")
    if bias is None:
        return module.forward(*args, **named)
    try:
        # Torch's layers take none; others may count on theirs.
        torchs = isinstance(module, (_ConvNd, nn.Linear))
        own["bias"] = None if torchs else nn.Parameter(torch.zeros_like(bias))
        return module.forward(*args, **named)
    finally:
        own["bias"] = bias


def _square(x: Tensor) -> float:
    exact = torch.float32 if x.device.type == "mps" else torch.float64
    return float(torch.linalg.vector_norm(x.detach(), dtype=exact)) ** 2
