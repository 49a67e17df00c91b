"""Layers: automatic gain control in the place of a norm layer (Deep Control); and a check of every layer's gain."""

from typing import TYPE_CHECKING

from regrow._renamed import renamed_in
from regrow.nn.conversion import Conversion, ConversionReport
from regrow.nn.convert import convert, convert_
from regrow.nn.fold import FoldedModel, FoldReport, fold
from regrow.nn.gain_check import GainCheck, check_gain_
from regrow.nn.gain_control import GainControl1d, GainControl2d, GainControl3d
from regrow.nn.gain_report import Gain, GainReport
from regrow.nn.start_gain import StartGain, StartGainReport, set_start_gain_

__all__ = [
    "Conversion",
    "ConversionReport",
    "FoldReport",
    "FoldedModel",
    "Gain",
    "GainCheck",
    "GainControl1d",
    "GainControl2d",
    "GainControl3d",
    "GainReport",
    "StartGain",
    "StartGainReport",
    "check_gain_",
    "convert",
    "convert_",
    "fold",
    "set_start_gain_",
]

if not TYPE_CHECKING:  # to type checkers a module with a `__getattr__` has every name
    __getattr__ = renamed_in(
        __name__,
        {
            "Folded": "FoldedModel",
        },
    )
