"""Redraw: fresh weights for a marked filter, and what belongs to it as told.

Called by `loop/renewer`; fresh values come from `draw/keys` or a draw of `renewal/draws`, what is cut off from
`renewal/preserve`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, cast

import torch
from torch import Tensor

from regrow._checks import check_choice
from regrow._shapes import Mask
from regrow.draw import Key, draw_filters, draw_rows
from regrow.errors import ConfigError
from regrow.graph.filters import Filters, Reader
from regrow.graph.slices import (
    bias_mask,
    fresh_entry,
    norm_mask,
    reader_mask,
    rows,
    unrows,
    weight_mask,
)
from regrow.renewal.base import NOTHING, Activity, Edit, Layer, Need, Renewal
from regrow.renewal.draws import Draw, Drawn, draw_of
from regrow.renewal.preserve import cut_off


@dataclass(frozen=True, kw_only=True)
class Redraw(Renewal):
    """Draw a filter's weights anew, and treat what belongs to it as told.

    Args:
        bias: ``zero`` or ``keep`` the filter's bias.
        norm: ``reset`` (scale 1, shift 0, running mean 0 and variance 1) or ``keep`` the norm
            entries that see this filter alone.
        readers: ``keep`` the weights that multiply the filter's output, set them to ``zero`` (the
            network's output does not
            jump: the new filter comes in silently and its readers learn it), or ``redraw`` them too.
        preserve: Keep the network's output: `readers` becomes ``zero``, and what the old filter gave on the average is
            moved into its readers' biases (or out of the running mean behind them), as measured on the calibration
            inputs of `regrow.attach`. A filter that is constant on the data is cut off without a change but rounding;
            for a living one the change of the output is measured and reported (`Renewed.change`). After a drop nothing
            is moved: the network without the filter never had its mean.
        transfer: Move what the old filter gave on the average into its readers' biases, as the criterion has seen it in
            training (`regrow.criteria.AveragingCriterion`); `readers` becomes ``zero``. The mean input of the next
            layer stays what it was, and nothing is run for it.
        draw: What a filter's weights become, and of some draws the bias and the readers too: one of
            `regrow.renewal.draws`, by name or as an object. None: what the layer's initialiser draws.

    Raises:
        ConfigError: A setting that is not one of those, ``preserve`` with readers that are to be redrawn, or a draw
            that contradicts ``bias``, ``readers`` or ``preserve``.

    Edge cases:
        A reader's slice that depends on another filter too (after a skip connection) is kept,
        whatever `readers` says; `left_alone` lists those. With `preserve`: a convolution that pads with zeros sees
        a constant channel end at the border, and no single bias can make up for that there.
    """

    bias: Literal["zero", "keep"] = "zero"
    norm: Literal["reset", "keep"] = "reset"
    readers: Literal["keep", "zero", "redraw"] = "keep"
    preserve: bool = False
    transfer: bool = False
    draw: Draw | str | None = None

    def __post_init__(self) -> None:
        for name, known in (
            ("bias", ("zero", "keep")),
            ("norm", ("reset", "keep")),
            ("readers", ("keep", "zero", "redraw")),
        ):
            check_choice(getattr(self, name), known, name=name, where="redraw")
        if self.preserve and self.readers == "redraw":
            raise ConfigError(
                "preserve=True sets the readers' slices to zero, so that readers='redraw' contradicts it (redraw)"
            )
        if self.transfer and (self.preserve or self.readers == "redraw"):
            raise ConfigError(
                "transfer=True moves means by itself and sets the readers' slices to zero: leave preserve and readers "
                "as they are (redraw)"
            )
        found = draw_of(self.draw, where="redraw")
        object.__setattr__(self, "draw", found)  # equal renewals are equal, however they were given
        if found is not None:
            self._check_draw(found)

    def _check_draw(self, draw: Draw) -> None:
        if draw.gives_bias and self.bias == "keep":
            raise ConfigError(f"draw={draw} draws the bias, which bias='keep' keeps (redraw)")
        if draw.writes_readers and (self.preserve or self.transfer or self.readers != "keep"):
            raise ConfigError(
                f"draw={draw} says what the readers become: leave readers and preserve as they are (redraw)"
            )

    @property
    def _drawn_by(self) -> Draw | None:
        """The draw: it is no name any more."""
        return None if isinstance(self.draw, str) else self.draw

    @property
    def writes_readers(self) -> bool:
        """Whether it is the draw that says what the readers become."""
        return self._drawn_by is not None and self._drawn_by.writes_readers

    @property
    def touches_readers(self) -> bool:
        """Unless they are kept."""
        return self.preserve or self.transfer or self.readers != "keep" or self.writes_readers

    @property
    def needs(self) -> frozenset[Need]:
        """What the draw needs."""
        return NOTHING if self._drawn_by is None else self._drawn_by.needs

    def check(self, layer: Layer) -> None:
        """Refuse a layer that cannot be drawn for."""
        if self._drawn_by is not None:
            self._drawn_by.check(layer)

    @property
    def draws_readers(self) -> bool:
        """Only for ``readers='redraw'``."""
        return self.readers == "redraw"

    @property
    def keeps_output(self) -> bool:
        """With `preserve`."""
        return self.preserve

    @property
    def moves_means(self) -> bool:
        """With `transfer`."""
        return self.transfer

    def left_alone(self, filters: Filters) -> list[str]:
        """The readers whose slices belong to other filters too: one note a layer, or none."""
        if not self.touches_readers:
            return []
        shared = [
            reader.path
            for reader in filters.readers
            if not all(flag for channel in reader.alone for flag in channel)
        ]
        if filters.refused:
            return [
                f"{filters.path}: its readers are not all known ({filters.refused}); those are kept"
            ]
        return (
            [f"{filters.path}: kept in {', '.join(shared)}, which read something else with it"]
            if shared
            else []
        )

    def edits(
        self,
        layer: Layer,
        mask: Mask,
        *,
        params: Mapping[str, Tensor],
        seed: int,
        step: int,
        activity: Activity | None = None,
    ) -> list[Edit]:
        """One edit a tensor: weight, bias, norms, readers. A ConfigError with `preserve` where nothing was measured."""
        filters = layer.filters
        key = Key(seed=seed, step=step, layer=filters.path)
        drawn = (
            Drawn(
                rows=draw_rows(
                    layer.initialiser,
                    key=key,
                    weight=params[filters.weight].detach(),
                    mask=mask,
                    to_rows=partial(rows, filters=filters),
                )
            )
            if self.draw is None
            else cast("Draw", self.draw).draw(layer, mask, params=params, key=key)
        )
        found = [
            Edit(
                name=filters.weight,
                mask=weight_mask(filters, mask),
                value=unrows(drawn.rows, filters),
            )
        ]
        if filters.bias is not None and self.bias == "zero":
            bias = 0.0 if drawn.bias is None else drawn.bias
            found.append(Edit(name=filters.bias, mask=bias_mask(filters, mask), value=bias))
        if self.norm == "reset":
            found.extend(_norm_resets(filters, mask, params))
        if self.preserve and activity is None:
            raise ConfigError(
                f"preserve=True needs what the readers receive, and nothing was measured ({filters.path})"
            )
        if activity is not None and (self.preserve or self.transfer):
            found.extend(cut_off(filters, mask, params=params, activity=activity))
        elif self.transfer or self.readers != "keep":
            found.extend(
                self._reader_edit(layer, reader, mask, params=params, key=key)
                for reader in filters.readers
            )
        return [*found, *drawn.around]

    def _reader_edit(
        self, layer: Layer, reader: Reader, mask: Mask, *, params: Mapping[str, Tensor], key: Key
    ) -> Edit:
        weight = params[reader.weight].detach()
        where = reader_mask(reader, mask, tuple(weight.shape), only_alone=True)
        if self.transfer or self.readers == "zero":
            return Edit(name=reader.weight, mask=where, value=0.0)
        drawn = draw_filters(
            layer.reader_initialisers[reader.path],
            key=replace(key, layer=reader.path, purpose=f"reader of {key.layer}"),
            weight=weight,
            filters=torch.arange(weight.shape[1 if reader.columns else 0], device="cpu"),
            to_rows=torch.t if reader.columns else partial(torch.flatten, start_dim=1),
        )
        value = drawn.t() if reader.columns else drawn.reshape(weight.shape)
        return Edit(name=reader.weight, mask=where, value=value)


def _norm_resets(filters: Filters, mask: Mask, params: Mapping[str, Tensor]) -> list[Edit]:
    found: list[Edit] = []
    for norm in filters.norms:
        masks: dict[int, Mask] = {}  # nearly always one for all of its tensors
        for each in norm.tensors:
            size = params[each.name].shape[0]
            if size not in masks:
                masks[size] = norm_mask(norm, mask, size)
            value = fresh_entry(each, params)
            found.append(
                Edit(
                    name=each.name,
                    mask=masks[size],
                    value=value,
                    is_parameter=each.is_parameter,
                )
            )
    return found
