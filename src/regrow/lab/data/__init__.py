"""Image data sets by name: `load`, and what can be asked before anything is read."""

from regrow.lab.data.dataset import Dataset
from regrow.lab.data.registry import check, defaults, load, names, summary

__all__ = ["Dataset", "check", "defaults", "load", "names", "summary"]
