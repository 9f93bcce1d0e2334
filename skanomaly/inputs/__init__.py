"""Validation of samples: tables and images."""

from ._samples import check_samples, check_table, refuse_overflow

__all__ = ["check_samples", "check_table", "refuse_overflow"]
