"""What each layer, or each score of an ensemble, contributes to the score of a sample."""

from __future__ import annotations

import numpy as np

from .._samples import count_samples, take_samples
from .._validation import read_samples
from ._layer_groups import explain, group
from ._style import BLUE, new_axes

BAR_HEIGHT = 0.3  # inches


class ContributionDisplay:
    """What each layer of a detector contributes to the anomaly score of one sample, as bars.

    It is made by :meth:`from_estimator`. Parameters are kept as attributes.

    Parameters
    ----------
    names : list of str
        The layers or members.
    contributions : float array of shape (n_names,)
        Their contributions, which sum to minus the score.

    Attributes
    ----------
    bars_ : matplotlib.container.BarContainer
        The bars, from top to bottom.
    ax_ : matplotlib.axes.Axes
        Axes with the bars.
    figure_ : matplotlib.figure.Figure
        Figure of the axes.

    See Also
    --------
    LayerCurveDisplay : How well each layer tells the anomalies.

    Examples
    --------
    >>> import numpy as np
    >>> from skanomaly import FeatureEnsemble
    >>> from skanomaly.plotting import ContributionDisplay
    >>> X = np.random.default_rng(0).normal(size=(100, 4)) + [8, 6, 4, 2]
    >>> ensemble = FeatureEnsemble(groups={"left": [0, 1], "right": [2, 3]}).fit(X)
    >>> display = ContributionDisplay.from_estimator(ensemble, [[8, -6, 4, 2]])
    >>> bool(display.contributions[0] > display.contributions[1])
    True
    """

    def __init__(self, *, names, contributions):
        self.names = names
        self.contributions = contributions

    @classmethod
    def from_estimator(cls, estimator, X, *, index=0, by="layer", ax=None):
        """Explain the score of one sample, and draw the contributions.

        Parameters
        ----------
        estimator : NSADetector or FeatureEnsemble
            A fitted detector.
        X : images, array-like of shape (n_samples, n_features), or dict of str to such arrays
            Samples as the detector scores them.
        index : int, default=0
            Position in X of the sample.
        by : {"layer", "member"}, default="layer"
            Whether the scores of a layer are summed, or drawn one by one.
        ax : matplotlib.axes.Axes, optional
            Axes to draw in. None makes a new figure.

        Returns
        -------
        display : ContributionDisplay

        Raises
        ------
        ValueError
            If X is not what was fitted, or has no such sample.
        TypeError
            If the detector is of another class.
        ImportError
            If matplotlib is not installed.
        """
        X = read_samples(estimator, X, reset=False)
        if not 0 <= index < count_samples(X):
            raise ValueError(
                f"index={index}, but X has {count_samples(X)} samples; pass the position of one"
            )
        contributions, members = explain(estimator, take_samples(X, np.array([index])))
        groups = group(contributions, members, by)
        display = cls(names=list(groups), contributions=np.concatenate(list(groups.values())))
        return display.plot(ax)

    def plot(self, ax=None):
        """Draw the bars.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Axes to draw in. None makes a new figure.

        Returns
        -------
        self
        """
        self.ax_ = new_axes(ax, figsize=(6.4, 1 + BAR_HEIGHT * len(self.names)))
        self.figure_ = self.ax_.figure
        places = np.arange(len(self.names))
        self.bars_ = self.ax_.barh(places, self.contributions, color=BLUE)
        self.ax_.bar_label(self.bars_, fmt="%.2f", padding=3, fontsize="small")
        self.ax_.set_yticks(places, self.names)
        self.ax_.invert_yaxis()
        self.ax_.axvline(0, color="black", linewidth=0.8)
        self.ax_.margins(x=0.12, y=0.02)  # the numbers are beside the bars
        self.ax_.set_xlabel(f"contribution to the anomaly score of {self.contributions.sum():.2f}")
        return self
