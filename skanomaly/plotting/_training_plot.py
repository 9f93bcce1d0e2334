"""The course of a training."""

from __future__ import annotations

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ._style import BLUE, VERMILION, import_pyplot

# of all that is recorded, what tells how a training goes
METRICS = ("loss", "embedding_std", "kappa", "log_variance")
PANEL_HEIGHT = 1.8  # inches


class TrainingDisplay:
    """What was recorded of each epoch of a training: a panel for each metric.

    It is made by :meth:`from_estimator`. Parameters are kept as attributes.

    Parameters
    ----------
    history : list of dict
        A record for each epoch, as the ``history_`` of an estimator.
    metrics : list of str
        Names of the values to draw.

    Attributes
    ----------
    lines_ : dict of str to matplotlib.lines.Line2D
        The values over the epochs.
    collapse_line_ : matplotlib.lines.Line2D or None
        Below this level of ``embedding_std`` an encoder has collapsed.
    axes_ : object array of shape (n_metrics,)
        Axes of the panels.
    ax_ : matplotlib.axes.Axes
        The first of them.
    figure_ : matplotlib.figure.Figure
        Figure of the axes.

    See Also
    --------
    skanomaly.diagnostics.EmbeddingDiagnostics : Records further metrics.

    Examples
    --------
    >>> import numpy as np
    >>> from skanomaly import SelfSupervisedEncoder
    >>> from skanomaly.plotting import TrainingDisplay
    >>> X = np.random.default_rng(0).normal(size=(60, 4))
    >>> encoder = SelfSupervisedEncoder(max_epochs=2, random_state=0).fit(X)
    >>> TrainingDisplay.from_estimator(encoder).metrics
    ['loss', 'embedding_std', 'kappa']
    """

    def __init__(self, *, history, metrics):
        self.history = history
        self.metrics = metrics

    @classmethod
    def from_estimator(cls, estimator, *, metrics=None, ax=None):
        """Draw the ``history_`` of an estimator or of its ``encoder_``.

        Parameters
        ----------
        estimator : SelfSupervisedEncoder, DUMDetector or NSADetector
            A fitted estimator. Pass the ``encoder_`` of a ``DUMDetector`` to see its encoder.
        metrics : str or list of str, optional
            Names of the values to draw, which may be any in ``history_``. None draws those of
            "loss", "embedding_std", "kappa" and "log_variance" that are there.
        ax : matplotlib.axes.Axes or array of them, optional
            Axes to draw in, as many as there are metrics. None makes a new figure.

        Returns
        -------
        display : TrainingDisplay

        Raises
        ------
        ValueError
            If nothing was trained, a metric is not in ``history_``, or there are not as many axes
            as metrics.
        TypeError
            If the estimator keeps no history.
        ImportError
            If matplotlib is not installed.
        """
        check_is_fitted(estimator)
        history = getattr(estimator, "history_", None)
        if history is None:
            history = getattr(getattr(estimator, "encoder_", None), "history_", None)
        if history is None:
            raise TypeError(
                f"{type(estimator).__name__} has no history_; pass a fitted "
                "SelfSupervisedEncoder or DUMDetector, or an NSADetector that trained its encoder"
            )
        if not history:
            raise ValueError("history_ is empty; fit with max_epochs of at least 1")
        names = list(history[0])
        if metrics is None:
            metrics = [name for name in METRICS if name in names]
        metrics = [metrics] if isinstance(metrics, str) else list(metrics)
        unknown = [name for name in metrics if name not in names]
        if unknown or not metrics:
            raise ValueError(f"metrics={metrics}; pass some of {names}")
        return cls(history=history, metrics=metrics).plot(ax)

    def plot(self, ax=None):
        """Draw the panels.

        Parameters
        ----------
        ax : matplotlib.axes.Axes or array of them, optional
            Axes to draw in, as many as there are metrics. None makes a new figure.

        Returns
        -------
        self
        """
        from ..encoders import COLLAPSED  # needs torch

        n_panels = len(self.metrics)
        if ax is None:
            _, ax = import_pyplot().subplots(
                n_panels,
                sharex=True,
                figsize=(6.4, 0.6 + PANEL_HEIGHT * n_panels),
                layout="constrained",
            )
        self.axes_ = np.ravel(np.asarray(ax, dtype=object))
        if len(self.axes_) != n_panels:
            raise ValueError(
                f"ax has {len(self.axes_)} axes, but there are {n_panels} metrics, {self.metrics};"
                " pass as many axes as metrics"
            )
        self.ax_ = self.axes_[0]
        self.figure_ = self.ax_.figure
        self.lines_, self.collapse_line_ = {}, None
        epochs = np.arange(1, len(self.history) + 1)
        for panel, name in zip(self.axes_, self.metrics, strict=True):
            # a callback need not record each epoch
            values = [record.get(name, np.nan) for record in self.history]
            (self.lines_[name],) = panel.plot(
                epochs, values, color=BLUE, marker="." if len(epochs) < 30 else None
            )
            panel.set_ylabel(name)
            if name == "embedding_std":
                self.collapse_line_ = panel.axhline(
                    COLLAPSED, color=VERMILION, linestyle="--", label="collapsed below"
                )
                panel.set_ylim(bottom=0)
                panel.legend(loc="center right", fontsize="small")
        self.axes_[-1].set_xlabel("epoch")
        self.axes_[-1].xaxis.get_major_locator().set_params(integer=True)
        return self
