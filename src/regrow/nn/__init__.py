"""Layers: automatic gain control in the place of a norm layer (Deep Control); and a check of every layer's gain."""

from regrow.nn.conversion import Conversion, ConversionReport
from regrow.nn.convert import convert, convert_
from regrow.nn.fold import Folded, FoldReport, fold
from regrow.nn.gain_check import GainCheck, check_gain_
from regrow.nn.gain_control import GainControl1d, GainControl2d, GainControl3d
from regrow.nn.gain_report import Gain, GainReport
from regrow.nn.start_gain import StartGain, StartGainReport, set_start_gain_

__all__ = [
    "Conversion",
    "ConversionReport",
    "FoldReport",
    "Folded",
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
