"""A report of scored samples: one HTML page that needs no other file."""

from ._pictures import overlay
from ._write_report import write_report

__all__ = ["overlay", "write_report"]
