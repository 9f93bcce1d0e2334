"""Curves in the unit square, which the template of the report draws as SVG."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

N_BINS = 40
N_TICKS = 5
MAX_POINTS = 400  # of a curve, which is no wider than that many pixels
FAR = 10  # times the spread of the training scores, beyond which the axis of a histogram ends


class Curve(NamedTuple):
    """A line, whose points are shares of the width and of the height."""

    name: str
    points: list[tuple[float, float]]


class Figure(NamedTuple):
    """Curves and what is written at their axes: ticks are pairs of a share and a text."""

    label: str
    x_label: str
    curves: list[Curve]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    mark: tuple[float, float | None]  # the threshold: a point, or a vertical line
    is_clipped: bool = False


def histogram(samples: dict[str, np.ndarray], threshold: float) -> Figure:
    """Distributions of scores: for each set the share of its samples in each bin.

    Parameters
    ----------
    samples : dict of str to float array
        The first one is of the training samples. Scores that are much farther from the threshold
        than theirs are counted in the outermost bins.
    threshold : float
        Marked by a vertical line.
    """
    shares, edges, is_clipped = bin_scores(samples, threshold, next(iter(samples.values())))
    top = max(heights.max() for heights in shares.values())
    low, high = edges[0], edges[-1]
    places = np.linspace(0, 1, len(edges))
    curves = [
        Curve(name, _points(np.repeat(places, 2), np.pad(np.repeat(heights / top, 2), 1)))
        for name, heights in shares.items()
    ]
    return Figure(
        "Distribution of the scores: share of the samples in each bin",
        "score, higher is more normal",
        curves,
        _ticks(low, high),
        _ticks(0, top),
        ((threshold - low) / (high - low), None),
        is_clipped,
    )


def bin_scores(
    samples: dict[str, np.ndarray],
    threshold: float | None = None,
    training: np.ndarray | None = None,
    n_bins: int = N_BINS,
) -> tuple[dict[str, np.ndarray], np.ndarray, bool]:
    """For each set the share of its samples in each bin; the bins' edges; whether they end early.

    Given a threshold and training scores, scores that are much farther from the threshold than
    those of the training are counted in the outermost bins. Sets without samples are left out.
    """
    values = np.concatenate([*samples.values(), *([] if threshold is None else [[threshold]])])
    low, high = values.min(), values.max()
    if threshold is not None and training is not None:
        reach = FAR * max(np.ptp(np.append(training, threshold)), 1e-9 * abs(threshold))
        low, high = max(low, threshold - reach), min(high, threshold + reach)
    is_clipped = bool(values.min() < low or values.max() > high)
    if not high > low:  # all scores are equal
        low, high = low - 1, high + 1
    shares = {
        name: np.histogram(scores.clip(low, high), n_bins, (low, high))[0] / len(scores)
        for name, scores in samples.items()
        if len(scores)
    }
    return shares, np.linspace(low, high, n_bins + 1), is_clipped


def curve(
    label: str,
    x_label: str,
    points: tuple[np.ndarray, np.ndarray],
    *,
    chance: tuple[float, float],
    mark: tuple[float, float | None],
) -> Figure:
    """A curve from 0 to 1 on both axes.

    `chance` is where that of a detector that knows nothing begins and ends; `mark` the place of
    the threshold, without a height if there is none.
    """
    x, y = points
    kept = np.unique(np.linspace(0, len(x) - 1, MAX_POINTS).round().astype(int))
    curves = [
        Curve("detector", _points(x[kept], y[kept])),
        Curve("chance", _points(np.array([0, 1]), np.array(chance))),
    ]
    return Figure(label, x_label, curves, _ticks(0, 1), _ticks(0, 1), mark)


def _points(x: np.ndarray, y: np.ndarray) -> list[tuple[float, float]]:
    return [(round(float(a), 4), round(float(b), 4)) for a, b in zip(x, y, strict=True)]


def _ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Round numbers from low to high, and their places between them."""
    unit = 10 ** np.floor(np.log10((high - low) / N_TICKS))
    step = next(step for step in unit * np.array([1, 2, 5, 10]) if step * N_TICKS >= high - low)
    numbers = np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step
    digits = max(0, -int(np.floor(np.log10(step))))
    return [((n - low) / (high - low), f"{round(n, digits) + 0.0:.6g}") for n in numbers.tolist()]
