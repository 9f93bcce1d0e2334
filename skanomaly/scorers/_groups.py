"""Named groups of columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def resolve_groups(groups: Any, names: np.ndarray | None, n_features: int) -> dict:
    """Columns of each group, as a slice or an array of positions.

    Parameters
    ----------
    groups : "auto" or dict of str to slice, list of positions or list of names
        "auto" reads names such as ``group__17``; without such names all columns are one group.
    names : array of str or None
        Names of the columns.
    n_features : int
        Number of columns.

    Raises
    ------
    ValueError
        If a group is empty, names columns that there are not, or shares one with another group.
    """
    if isinstance(groups, Mapping):
        if not groups:
            raise ValueError("groups is empty; pass 'auto' or a dict of names to columns")
        resolved = {g: _resolve_columns(g, c, names, n_features) for g, c in groups.items()}
        _refuse_overlap(resolved, n_features)
        return resolved
    if names is None or not all("__" in name for name in names):
        return {"all": slice(None)}
    prefixes = np.array([name.rpartition("__")[0] for name in names])
    return {str(g): np.flatnonzero(prefixes == g) for g in dict.fromkeys(prefixes)}


def _resolve_columns(group: Any, columns: Any, names: np.ndarray | None, n_features: int):
    if not isinstance(group, str):
        raise ValueError(f"groups has the key {group!r}; pass names that are str")
    if isinstance(columns, slice):
        return _resolve_slice(group, columns, n_features)
    selected = np.asarray(columns)
    if selected.ndim != 1:
        raise ValueError(
            f"group {group!r} is {columns!r}; pass a slice, or a list of positions or names"
        )
    if selected.size == 0:
        raise ValueError(f"group {group!r} has no columns")
    if all(isinstance(column, str) for column in columns):
        selected = _positions_of_names(group, columns, names)
    if selected.dtype.kind not in "iu" or not ((selected >= 0) & (selected < n_features)).all():
        raise ValueError(
            f"group {group!r} is {columns!r}; pass a slice, positions below "
            f"{n_features} or names of columns"
        )
    return selected


def _resolve_slice(group: str, columns: slice, n_features: int) -> slice | np.ndarray:
    try:
        start, stop, step = columns.indices(n_features)
    except TypeError as error:
        raise ValueError(
            f"group {group!r} is {columns!r}; pass a slice of positions or a list of names"
        ) from error
    selected = np.arange(start, stop, step)
    if selected.size == 0:
        raise ValueError(f"group {group!r} has no columns")
    return slice(start, stop) if step == 1 else selected


def _positions_of_names(group: str, columns: Any, names: np.ndarray | None) -> np.ndarray:
    if names is None:
        raise ValueError(f"group {group!r} names columns, but X has no column names")
    missing = sorted(set(columns) - set(names))
    if missing:
        raise ValueError(f"group {group!r} names columns that X lacks: {missing}")
    positions = {name: i for i, name in enumerate(names)}
    return np.array([positions[name] for name in columns])


def _refuse_overlap(groups: dict, n_features: int) -> None:
    owner: dict[int, str] = {}
    for group, columns in groups.items():
        for column in np.arange(n_features)[columns].tolist():
            if column in owner:
                where = (
                    f"group {group!r} has column {column} twice"
                    if owner[column] == group
                    else f"groups {owner[column]!r} and {group!r} share column {column}"
                )
                raise ValueError(f"{where}, which would so count twice")
            owner[column] = group
