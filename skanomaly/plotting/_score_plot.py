"""Distributions of scores."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from .._samples import as_numpy, check_labels
from ..report import bin_scores
from ._style import BLUE, GREEN, VERMILION, new_axes

N_BINS = 40
STYLES: dict[str, dict[str, Any]] = {
    "training samples": {"fill": True, "facecolor": "0.85", "edgecolor": "0.5"},
    "samples": {"edgecolor": BLUE, "hatch": "//"},
    "normal samples": {"edgecolor": GREEN, "linestyle": "--"},
    "anomalies": {"edgecolor": VERMILION, "hatch": "\\\\"},
}


class ScoreDisplay:
    """Distributions of the scores of training samples and of others, with the threshold.

    It is made by :meth:`from_estimator` or :meth:`from_predictions`. Parameters are kept as
    attributes.

    Parameters
    ----------
    scores : array of shape (n_samples,), optional
        Higher is more normal.
    y : array of shape (n_samples,), optional
        Labels, +1 for normal samples and -1 for anomalies, which are then drawn one by one.
    training_scores : array of shape (n_training,), optional
        Scores of the training samples.
    threshold : float, optional
        Samples that score lower are flagged.

    Attributes
    ----------
    distributions_ : dict of str to matplotlib.patches.StepPatch
        The share of the samples in each bin, for each set of samples.
    threshold_line_ : matplotlib.lines.Line2D or None
        The threshold.
    ax_ : matplotlib.axes.Axes
        Axes with the distributions.
    figure_ : matplotlib.figure.Figure
        Figure of the axes.

    See Also
    --------
    skanomaly.write_report : A page with this and more.

    Examples
    --------
    >>> import numpy as np
    >>> from skanomaly import NeighborDistance
    >>> from skanomaly.plotting import ScoreDisplay
    >>> X, X_new = np.random.default_rng(0).normal(size=(2, 200, 3))
    >>> display = ScoreDisplay.from_estimator(NeighborDistance().fit(X), X_new)
    >>> list(display.distributions_)
    ['training samples', 'samples']
    """

    def __init__(self, *, scores=None, y=None, training_scores=None, threshold=None):
        self.scores = scores
        self.y = y
        self.training_scores = training_scores
        self.threshold = threshold

    @classmethod
    def from_estimator(cls, estimator, X=None, y=None, *, n_bins=N_BINS, ax=None):
        """Score samples, and draw the distributions.

        Parameters
        ----------
        estimator : outlier detector
            A fitted detector, or a pipeline that ends with one. The training samples are drawn if
            it keeps their scores, as all of this package do.
        X : images, array-like of shape (n_samples, n_features), or dict of str to such arrays
            Samples to score. None draws the training samples alone.
        y : array-like of shape (n_samples,), optional
            Labels, +1 for normal samples and -1 for anomalies.
        n_bins : int, default=40
            Number of bins.
        ax : matplotlib.axes.Axes, optional
            Axes to draw in. None makes a new figure.

        Returns
        -------
        display : ScoreDisplay

        Raises
        ------
        ValueError
            If X is not what was fitted, or y are no such labels.
        ImportError
            If matplotlib is not installed.
        """
        if not hasattr(estimator, "score_samples"):
            raise TypeError(
                f"estimator is {type(estimator).__name__}, which has no score_samples; pass a "
                "fitted outlier detector"
            )
        check_is_fitted(estimator)
        detector = estimator[-1] if isinstance(estimator, Pipeline) else estimator
        return cls.from_predictions(
            None if X is None else estimator.score_samples(X),
            y,
            training_scores=getattr(detector, "training_scores_", None),
            threshold=getattr(detector, "offset_", None),
            n_bins=n_bins,
            ax=ax,
        )

    @classmethod
    def from_predictions(
        cls, scores, y=None, *, training_scores=None, threshold=None, n_bins=N_BINS, ax=None
    ):
        """Draw the distributions of scores.

        Parameters
        ----------
        scores : array-like of shape (n_samples,) or None
            Higher is more normal.
        y : array-like of shape (n_samples,), optional
            Labels, +1 for normal samples and -1 for anomalies.
        training_scores : array-like of shape (n_training,), optional
            Scores of the training samples.
        threshold : float, optional
            Samples that score lower are flagged.
        n_bins : int, default=40
            Number of bins.
        ax : matplotlib.axes.Axes, optional
            Axes to draw in. None makes a new figure.

        Returns
        -------
        display : ScoreDisplay

        Raises
        ------
        ValueError
            If there are no scores at all, or y are no such labels.
        ImportError
            If matplotlib is not installed.
        """
        scores, training_scores = (
            None if values is None else as_numpy(values).astype(np.float64)
            for values in (scores, training_scores)
        )
        if scores is None and y is not None:
            raise ValueError("y are labels of samples, but there are none; pass X as well")
        if scores is not None and y is not None:
            y = check_labels(y, len(scores))
        display = cls(scores=scores, y=y, training_scores=training_scores, threshold=threshold)
        return display.plot(ax, n_bins=n_bins)

    def plot(self, ax=None, *, n_bins=N_BINS):
        """Draw the distributions.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Axes to draw in. None makes a new figure.
        n_bins : int, default=40
            Number of bins. The outermost ones also count scores that are much farther from the
            threshold than those of the training samples, which the label of the axis then says.

        Returns
        -------
        self
        """
        samples = self._samples()
        if not any(len(scores) for scores in samples.values()):
            raise ValueError("there are no scores to draw; pass X with at least one sample")
        shares, edges, is_clipped = bin_scores(
            samples, self.threshold, self.training_scores, n_bins
        )
        self.ax_ = new_axes(ax)
        self.figure_ = self.ax_.figure
        self.distributions_ = {
            name: self.ax_.stairs(
                heights, edges, linewidth=1.5, label=name, **{"fill": False, **STYLES[name]}
            )
            for name, heights in shares.items()
        }
        self.threshold_line_ = None
        if self.threshold is not None:
            self.threshold_line_ = self.ax_.axvline(
                self.threshold, color="black", linestyle=":", label="threshold"
            )
        note = "\n(scores beyond the axis are counted at its ends)" if is_clipped else ""
        self.ax_.set(
            xlabel=f"score, higher is more normal{note}",
            ylabel="share of the samples",
            ylim=(0, None),
        )
        self.ax_.legend(loc="best")
        return self

    def _samples(self) -> dict[str, np.ndarray]:
        samples = {}
        if self.training_scores is not None:
            samples["training samples"] = self.training_scores
        if self.scores is not None and self.y is None:
            samples["samples"] = self.scores
        elif self.scores is not None:
            samples["normal samples"] = self.scores[self.y == 1]
            samples["anomalies"] = self.scores[self.y == -1]
        return samples
