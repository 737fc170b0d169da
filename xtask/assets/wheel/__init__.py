"""Sonotune is a program; `python -m sonotune` and the command `sonotune` start it. There is nothing to import."""

__version__ = "@VERSION@"
