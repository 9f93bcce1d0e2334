"""Whether a stream of samples shifts."""

from __future__ import annotations

import numpy as np

from ._style import BLUE, VERMILION, check_option, new_axes

LEVELS = {"effect_size": 0.5, "p_value": 0.01}  # of Cohen a medium effect; a usual level
TINY = np.finfo(np.float64).tiny  # in place of p-values that are too small for floats


class ShiftDisplay:
    """Tests of a stream, window by window: has the distribution changed? (DUM section 4.1)

    It is made by :meth:`from_estimator`. Parameters are kept as attributes.

    Parameters
    ----------
    window : int
        Number of samples in a window.
    effect_size : float array of shape (n_windows,)
        Cohen's d; positive if a window is less certain than the training samples.
    p_value : float array of shape (n_windows,)
        Of Welch's t-test.

    Attributes
    ----------
    line_ : matplotlib.lines.Line2D
        The effect sizes, or -log10 of the p-values, over the number of samples seen.
    shifted_ : matplotlib.lines.Line2D
        Those beyond the level.
    level_lines_ : list of matplotlib.lines.Line2D
        The level; of effect sizes on both sides.
    ax_ : matplotlib.axes.Axes
        Axes with the lines.
    figure_ : matplotlib.figure.Figure
        Figure of the axes.

    See Also
    --------
    skanomaly.DUMDetector.shift_test : The tests.

    References
    ----------
    .. [1] M. Wu and N. Goodman, "A Simple Framework for Uncertainty in Contrastive Learning",
       2020. https://arxiv.org/abs/2010.02038

    Examples
    --------
    >>> import numpy as np
    >>> from skanomaly import DUMDetector
    >>> from skanomaly.plotting import ShiftDisplay
    >>> X, stream = np.random.default_rng(0).normal(size=(2, 400, 4))
    >>> stream[200:] += 3
    >>> detector = DUMDetector(max_epochs=20, random_state=0).fit(X)
    >>> display = ShiftDisplay.from_estimator(detector, stream, window=100)
    >>> (display.effect_size > 0.5).tolist()
    [False, False, True, True]
    """

    def __init__(self, *, window, effect_size, p_value):
        self.window = window
        self.effect_size = effect_size
        self.p_value = p_value

    @classmethod
    def from_estimator(
        cls, estimator, X, *, window, reference=None, kind="effect_size", level=None, ax=None
    ):
        """Test a stream, and draw the results.

        Parameters
        ----------
        estimator : DUMDetector
            A fitted detector.
        X : images or table
            Samples of a stream, in their order.
        window : int
            Number of samples that are tested together, as in
            :meth:`skanomaly.DUMDetector.shift_test`.
        reference : images or table, optional
            Samples of the training distribution that were not trained on, as there.
        kind : {"effect_size", "p_value"}, default="effect_size"
            Draw effect sizes, or -log10 of p-values.
        level : float, optional
            Effect size or p-value beyond which a window counts as shifted. None is 0.5, or 0.01
            for p-values.
        ax : matplotlib.axes.Axes, optional
            Axes to draw in. None makes a new figure.

        Returns
        -------
        display : ShiftDisplay

        Raises
        ------
        ValueError
            If X is not what was fitted, or has fewer samples than a window.
        TypeError
            If the detector has no ``shift_test``.
        ImportError
            If matplotlib is not installed.
        """
        if not hasattr(estimator, "shift_test"):
            raise TypeError(
                f"estimator is {type(estimator).__name__}, which has no shift_test; pass a "
                "DUMDetector"
            )
        result = estimator.shift_test(X, window=window, reference=reference)
        display = cls(window=window, effect_size=result.effect_size, p_value=result.p_value)
        return display.plot(ax, kind=kind, level=level)

    def plot(self, ax=None, *, kind="effect_size", level=None):
        """Draw effect sizes or p-values.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Axes to draw in. None makes a new figure.
        kind : {"effect_size", "p_value"}, default="effect_size"
            Draw effect sizes, or -log10 of p-values.
        level : float, optional
            Effect size or p-value beyond which a window counts as shifted. None is 0.5, or 0.01
            for p-values.

        Returns
        -------
        self
        """
        check_option("kind", kind, tuple(LEVELS))
        level = LEVELS[kind] if level is None else level
        if level <= 0:
            raise ValueError(f"level={level}; pass a number above 0")
        if kind == "effect_size":
            values, marks = self.effect_size, [level, -level]
            beyond, label = np.abs(values) > level, "effect size (Cohen's d)"
        else:
            values, marks = -np.log10(np.maximum(self.p_value, TINY)), [-np.log10(level)]
            beyond, label = self.p_value < level, "-log10 of the p-value"
        self.ax_ = new_axes(ax)
        self.figure_ = self.ax_.figure
        seen = self.window * np.arange(1, len(values) + 1)
        (self.line_,) = self.ax_.plot(seen, values, color=BLUE, marker="o", label="window")
        (self.shifted_,) = self.ax_.plot(
            seen[beyond],
            values[beyond],
            color=VERMILION,
            marker="^",
            markersize=9,
            linestyle="",
            label="shifted",
        )
        self.level_lines_ = [
            self.ax_.axhline(mark, color="black", linestyle="--", linewidth=1) for mark in marks
        ]
        self.level_lines_[0].set_label(f"level {level:g}")
        self.ax_.set(xlabel=f"samples seen, in windows of {self.window}", ylabel=label)
        self.ax_.legend(loc="best")
        return self
