"""How well each layer, or each score of an ensemble, tells anomalies."""

from __future__ import annotations

from typing import Any

from sklearn.metrics import (
    average_precision_score,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)

from .._samples import as_numpy, check_labels
from ._layer_groups import explain, group
from ._style import check_option, line_style, new_axes

KINDS = ("roc", "precision_recall")
MOST_INSIDE = 8  # entries of a legend that fits into the axes


class LayerCurveDisplay:
    """ROC or precision-recall curves of each layer of a detector, and of all together.

    It is made by :meth:`from_estimator` or :meth:`from_predictions`. Anomalies are what is to be
    found. Parameters are kept as attributes.

    Parameters
    ----------
    kind : {"roc", "precision_recall"}
        Which curves.
    curves : dict of str to (x, y)
        False-positive and true-positive rates, or recall and precision, of each layer and of
        "total".
    areas : dict of str to float
        AUROC or average precision of each.
    chance_level : float
        Precision of a detector that knows nothing: the share of anomalies. Not used for "roc".

    Attributes
    ----------
    lines_ : dict of str to matplotlib.lines.Line2D
        The curves.
    chance_line_ : matplotlib.lines.Line2D
        The curve of a detector that knows nothing.
    ax_ : matplotlib.axes.Axes
        Axes with the curves.
    figure_ : matplotlib.figure.Figure
        Figure of the axes.

    See Also
    --------
    ContributionDisplay : What the layers contribute to the score of one sample.
    sklearn.metrics.RocCurveDisplay : The curve of one score.

    Examples
    --------
    >>> import numpy as np
    >>> from skanomaly import FeatureEnsemble
    >>> from skanomaly.plotting import LayerCurveDisplay
    >>> X, X_new = np.random.default_rng(0).normal(size=(2, 100, 4)) + [8, 6, 4, 2]
    >>> X_new[50:, :2] *= 2
    >>> ensemble = FeatureEnsemble(groups={"left": [0, 1], "right": [2, 3]}).fit(X)
    >>> y = np.repeat([1, -1], 50)
    >>> display = LayerCurveDisplay.from_estimator(ensemble, X_new, y)
    >>> list(display.areas)
    ['left', 'right', 'total']
    """

    def __init__(self, *, kind, curves, areas, chance_level):
        self.kind = kind
        self.curves = curves
        self.areas = areas
        self.chance_level = chance_level

    @classmethod
    def from_estimator(cls, estimator, X, y, *, kind="roc", by="layer", ax=None):
        """Explain the scores of samples, and draw how well each layer tells the anomalies.

        Parameters
        ----------
        estimator : NSADetector or FeatureEnsemble
            A fitted detector.
        X : images, array-like of shape (n_samples, n_features), or dict of str to such arrays
            Samples as the detector scores them.
        y : array-like of shape (n_samples,)
            Labels, +1 for normal samples and -1 for anomalies.
        kind : {"roc", "precision_recall"}, default="roc"
            Which curves.
        by : {"layer", "member"}, default="layer"
            Whether the scores of a layer are summed, or drawn one by one.
        ax : matplotlib.axes.Axes, optional
            Axes to draw in. None makes a new figure.

        Returns
        -------
        display : LayerCurveDisplay

        Raises
        ------
        ValueError
            If X is not what was fitted, or y are no such labels, or all the same.
        TypeError
            If the detector is of another class.
        ImportError
            If matplotlib is not installed.
        """
        contributions, members = explain(estimator, X)
        return cls.from_predictions(y, contributions, members, kind=kind, by=by, ax=ax)

    @classmethod
    def from_predictions(cls, y, contributions, members, *, kind="roc", by="layer", ax=None):
        """Draw how well the contributions of an explanation tell the anomalies.

        Parameters
        ----------
        y : array-like of shape (n_samples,)
            Labels, +1 for normal samples and -1 for anomalies.
        contributions : array-like of shape (n_samples, n_members)
            The ``contributions`` of ``explain``; higher is more anomalous.
        members : list of str
            The ``members`` of ``explain``.
        kind : {"roc", "precision_recall"}, default="roc"
            Which curves.
        by : {"layer", "member"}, default="layer"
            Whether the scores of a layer are summed, or drawn one by one.
        ax : matplotlib.axes.Axes, optional
            Axes to draw in. None makes a new figure.

        Returns
        -------
        display : LayerCurveDisplay

        Raises
        ------
        ValueError
            If y are no such labels, or all the same.
        ImportError
            If matplotlib is not installed.
        """
        check_option("kind", kind, KINDS)
        contributions = as_numpy(contributions)
        is_anomaly = check_labels(y, len(contributions)) == -1
        if is_anomaly.all() or not is_anomaly.any():
            found = "anomalies, -1" if is_anomaly.any() else "normal samples, +1"
            raise ValueError(f"all labels in y are {found}; pass samples of both kinds")
        scores = group(contributions, members, by)
        scores["total"] = contributions.sum(axis=1)
        curves, areas = {}, {}
        for name, values in scores.items():
            if kind == "roc":
                curves[name] = roc_curve(is_anomaly, values)[:2]
                areas[name] = float(roc_auc_score(is_anomaly, values))
            else:
                precision, recall, _ = precision_recall_curve(is_anomaly, values)
                curves[name] = recall, precision
                areas[name] = float(average_precision_score(is_anomaly, values))
        display = cls(kind=kind, curves=curves, areas=areas, chance_level=float(is_anomaly.mean()))
        return display.plot(ax)

    def plot(self, ax=None):
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Axes to draw in. None makes a new figure.

        Returns
        -------
        self
        """
        is_roc = self.kind == "roc"
        area = "AUC" if is_roc else "AP"
        is_long = len(self.curves) + 1 > MOST_INSIDE
        self.ax_ = new_axes(ax, figsize=(8.5, 5) if is_long else None)
        self.figure_ = self.ax_.figure
        chance = (0, 1) if is_roc else (self.chance_level, self.chance_level)
        (self.chance_line_,) = self.ax_.plot(
            (0, 1), chance, color="0.6", linestyle=":", linewidth=1, label="chance"
        )
        self.lines_ = {}
        for i, (name, (x, y)) in enumerate(self.curves.items()):
            style: dict[str, Any] = {**line_style(i), "linewidth": 1.5}
            if name == "total":
                style = {"color": "black", "linestyle": "-", "linewidth": 2.5, "zorder": 3}
            # precision between two points is no straight line
            style["drawstyle"] = "default" if is_roc else "steps-post"
            (self.lines_[name],) = self.ax_.plot(
                x,
                y,
                label=f"{name} ({area} = {self.areas[name]:.2f})",
                **style,
            )
        self.ax_.set(
            xlabel="false-positive rate" if is_roc else "recall",
            ylabel="true-positive rate" if is_roc else "precision",
            xlim=(-0.01, 1.01),
            ylim=(-0.01, 1.01),
            aspect="equal",
        )
        place: dict[str, Any] = {"loc": "lower right" if is_roc else "best"}
        if is_long:
            place = {"loc": "upper left", "bbox_to_anchor": (1.02, 1), "borderaxespad": 0}
        self.ax_.legend(fontsize="small", **place)
        return self
