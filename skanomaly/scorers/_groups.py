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
    if not isinstance(groups, Mapping):
        if names is None or not all("__" in name for name in names):
            return {"all": slice(None)}
        prefixes = np.array([name.rpartition("__")[0] for name in names])
        return {str(g): np.flatnonzero(prefixes == g) for g in dict.fromkeys(prefixes)}
    if not groups:
        raise ValueError("groups is empty; pass 'auto' or a dict of names to columns")
    positions = {g: _positions(g, columns, names, n_features) for g, columns in groups.items()}
    _refuse_overlap(positions)
    # a slice is a view, which takes no memory
    is_slice = {g: isinstance(c, slice) and c.step in (None, 1) for g, c in groups.items()}
    return {g: slice(p[0], p[-1] + 1) if is_slice[g] else np.array(p) for g, p in positions.items()}


def _positions(group: Any, columns: Any, names: np.ndarray | None, n_features: int) -> list[int]:
    if not isinstance(group, str):
        raise ValueError(f"groups has the key {group!r}; pass names that are str")
    everything = range(n_features)
    by_name = {} if names is None else {str(name): i for i, name in enumerate(names)}
    try:
        if isinstance(columns, slice):
            found = list(everything[columns])
        else:
            found = [by_name[c] if isinstance(c, str) else everything[c] for c in columns]
            if any(not isinstance(c, str) and c < 0 for c in columns):
                raise IndexError
    except KeyError as error:
        raise ValueError(
            f"group {group!r} names the column {error.args[0]!r}, but X "
            + ("has no column names" if names is None else f"has {list(names)}")
        ) from error
    except (TypeError, IndexError) as error:
        raise ValueError(
            f"group {group!r} is {columns!r}; pass a slice, positions below {n_features} or names "
            "of columns"
        ) from error
    if not found:
        raise ValueError(f"group {group!r} has no columns")
    return found


def _refuse_overlap(positions: dict[str, list[int]]) -> None:
    owner: dict[int, str] = {}
    for group, columns in positions.items():
        for column in columns:
            if column in owner:
                raise ValueError(
                    f"groups {owner[column]!r} and {group!r} share column {column}; pass "
                    "groups that have no column in common"
                )
            owner[column] = group
