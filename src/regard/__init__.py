"""Build, train, run, serve and see every Transformer."""

__version__ = "0.1.0"
