"""Rows of pictures in one axes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..report import thumbnail
from ._style import new_axes

GAP = 0.08  # between pictures, whose width is 1
LINE = 0.2  # height of a title
INCHES = 1.3  # width of a picture


def draw_grid(
    ax: Any,
    rows: list[list],
    *,
    titles: dict[tuple[int, int], str],
    labels: list[str] | None = None,
) -> tuple[Any, np.ndarray]:
    """Draw pictures of one size row by row.

    Parameters
    ----------
    ax : matplotlib.axes.Axes or None
        Axes to draw in. None makes a new figure.
    rows : list of lists of pictures
        PIL images, or arrays (height, width) or (height, width, 3) of uint8 or floats in [0, 1].
    titles : dict of (row, column) to str
        Texts above pictures.
    labels : list of str, optional
        Texts to the left of the rows.

    Returns
    -------
    ax : matplotlib.axes.Axes
    artists : object array of shape (n_rows, n_columns)
        The AxesImage of each picture.
    """
    pictures = [[thumbnail(p) if isinstance(p, np.ndarray) else p for p in row] for row in rows]
    n_columns = max(map(len, pictures))
    width, height = pictures[0][0].size
    shape = height / width
    has_titles = [any(place[0] == row for place in titles) for row in range(len(rows))]
    tops = np.cumsum([0.0] + [shape + GAP + LINE * title for title in has_titles])
    size = n_columns * (1 + GAP), tops[-1]
    ax = new_axes(ax, figsize=(INCHES * size[0] + 0.6, INCHES * size[1] + 0.3))
    artists = np.full((len(rows), n_columns), None, dtype=object)
    for row, line in enumerate(pictures):
        top = tops[row] + LINE * has_titles[row]
        for column, picture in enumerate(line):
            left = column * (1 + GAP)
            artists[row, column] = ax.imshow(
                np.asarray(picture), extent=(left, left + 1, top + shape, top)
            )
            text = titles.get((row, column), "")
            ax.text(left + 0.5, top - 0.04, text, ha="center", va="bottom", fontsize="small")
        if labels is not None:
            ax.text(-GAP, top + shape / 2, labels[row], ha="right", va="center", fontsize="small")
    ax.set(xlim=(0, size[0] - GAP), ylim=(size[1] - GAP, 0), aspect="equal")
    ax.set_axis_off()
    return ax, artists


def score_titles(row: int, scores: np.ndarray, first: int = 0) -> dict[tuple[int, int], str]:
    """Titles of a row that are scores, from the column `first` on."""
    return {(row, column): f"{score:.3g}" for column, score in enumerate(scores, first)}
