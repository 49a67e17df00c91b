"""Find the convolutional filters that training has abandoned, and put them back to work."""

__version__ = "0.1.0.dev0"
