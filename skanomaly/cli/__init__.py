"""The command line: ``skanomaly`` and ``python -m skanomaly``. A file for each command."""

from ._main import main

__all__ = ["main"]
