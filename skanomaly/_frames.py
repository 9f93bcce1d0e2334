"""What the columns of data frames hold, for messages that name the column."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from numbers import Number
from typing import Any

import numpy as np

PIPELINE = "skanomaly.make_table_pipeline(detector)"
KINDS = {
    str: "strings",
    bytes: "bytes",
    datetime.date: "dates",  # and datetimes
    datetime.time: "times",
    datetime.timedelta: "durations",
}


def refuse_other_than_numbers(X: Any) -> None:
    """Raise ValueError if a column of a pandas or polars frame holds anything but numbers.

    Booleans count as numbers, and gaps are not looked at. What is no frame passes.
    """
    for name, column in _columns(X):
        if getattr(column.dtype, "kind", "O") in "biufc":
            continue
        for row, value in enumerate(column.to_list()):
            if not _is_number_or_gap(value):
                raise ValueError(
                    f"column {name!r} of X holds {_kind(value)}, such as {str(value)[:40]!r} in "
                    f"row {row}; pass numbers, or encode such columns by {PIPELINE}"
                )


def _columns(X: Any) -> Iterable[tuple[Any, Any]]:
    if hasattr(X, "iloc") and hasattr(X, "columns"):
        return X.items()  # pandas; names may occur twice
    if hasattr(X, "iter_columns"):  # polars
        return ((c.name, c) for c in X.iter_columns() if not c.dtype.is_numeric())
    return ()


def _is_number_or_gap(value: Any) -> bool:
    return (
        value is None
        or isinstance(value, Number | np.bool_)
        or type(value).__name__ == "NAType"  # of pandas, which need not be installed
    )


def _kind(value: Any) -> str:
    for known, name in KINDS.items():
        if isinstance(value, known):
            return name
    return f"values of type {type(value).__name__}"
