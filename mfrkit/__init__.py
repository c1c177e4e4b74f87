"""mfrkit: a command-line toolkit for masked face recognition."""

__version__ = "0.1.0"
