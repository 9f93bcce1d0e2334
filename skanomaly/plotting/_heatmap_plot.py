"""Images with their heatmaps."""

from __future__ import annotations

from sklearn.utils.validation import check_is_fitted

from .._validation import read_samples
from ..images import read_images
from ..nsa import NSADetector
from ..report import heatmap_colors, overlay, thumbnail
from ._picture_grid import draw_grid, score_titles


class HeatmapDisplay:
    """Images, and beneath them their heatmaps: where they differ from normal ones.

    It is made by :meth:`from_estimator`. Parameters are kept as attributes.

    Parameters
    ----------
    images : array of shape (n_images, height, width) or (n_images, height, width, 3)
        uint8, or floats in [0, 1].
    heatmaps : float array of shape (n_images, height, width)
        Higher is more anomalous.
    scores : float array of shape (n_images,), optional
        Written above the images.

    Attributes
    ----------
    images_ : object array of shape (2, n_images)
        The AxesImage of each image and of each heatmap.
    colorbar_ : matplotlib.colorbar.Colorbar or None
        The scale, which is the same for all images.
    ax_ : matplotlib.axes.Axes
        Axes with all images.
    figure_ : matplotlib.figure.Figure
        Figure of the axes.

    See Also
    --------
    ExtremeImagesDisplay : The most and the least normal images.
    skanomaly.NSADetector.explain : Computes the heatmaps.

    Examples
    --------
    >>> import numpy as np
    >>> from skanomaly import NSADetector, SelfSupervisedEncoder
    >>> from skanomaly.plotting import HeatmapDisplay
    >>> images = np.random.default_rng(0).integers(0, 40, (40, 8, 8), dtype=np.uint8)
    >>> detector = NSADetector(SelfSupervisedEncoder(max_epochs=0), random_state=0).fit(images)
    >>> HeatmapDisplay.from_estimator(detector, 255 - images[:3]).heatmaps.shape
    (3, 8, 8)
    """

    def __init__(self, *, images, heatmaps, scores=None):
        self.images = images
        self.heatmaps = heatmaps
        self.scores = scores

    @classmethod
    def from_estimator(cls, estimator, X, *, layer="auto", colorbar=True, ax=None):
        """Explain the scores of images, and draw the heatmaps.

        Parameters
        ----------
        estimator : NSADetector
            A detector that was fitted on images.
        X : images
            Those to draw, in this order.
        layer : str, default="auto"
            Block of the encoder, as in :meth:`skanomaly.NSADetector.explain`.
        colorbar : bool, default=True
            Whether to draw the scale.
        ax : matplotlib.axes.Axes, optional
            Axes to draw in. None makes a new figure.

        Returns
        -------
        display : HeatmapDisplay

        Raises
        ------
        ValueError
            If X is not what was fitted, or the detector has no heatmaps.
        TypeError
            If the detector is of another class.
        ImportError
            If matplotlib is not installed.
        """
        if not isinstance(estimator, NSADetector):
            raise TypeError(
                f"estimator is {type(estimator).__name__}; pass an NSADetector fitted on images"
            )
        check_is_fitted(estimator)
        X = read_samples(estimator, X, reset=False)
        explanation = estimator.explain(X, layer=layer)
        if explanation.heatmaps is None:
            raise ValueError(
                "the detector has no heatmaps; fit an NSADetector with a convolutional encoder on "
                "images, and pass a layer"
            )
        scores = -explanation.contributions.sum(axis=1)
        display = cls(images=read_images(X).pixels, heatmaps=explanation.heatmaps, scores=scores)
        return display.plot(ax, colorbar=colorbar)

    def plot(self, ax=None, *, colorbar=True):
        """Draw images and heatmaps.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Axes to draw in. None makes a new figure.
        colorbar : bool, default=True
            Whether to draw the scale.

        Returns
        -------
        self
        """
        low, high = float(self.heatmaps.min()), float(self.heatmaps.max())
        pictures = [thumbnail(image) for image in self.images]
        overlays = [
            overlay(picture, heatmap, low, high)
            for picture, heatmap in zip(pictures, self.heatmaps, strict=True)
        ]
        titles = {} if self.scores is None else score_titles(0, self.scores)
        self.ax_, self.images_ = draw_grid(
            ax, [pictures, overlays], titles=titles, labels=["image", "heatmap"]
        )
        self.figure_ = self.ax_.figure
        self.colorbar_ = None
        if colorbar:
            from matplotlib.cm import ScalarMappable
            from matplotlib.colors import LinearSegmentedColormap, Normalize

            colors = LinearSegmentedColormap.from_list("heatmap", heatmap_colors() / 255)
            self.colorbar_ = self.figure_.colorbar(
                ScalarMappable(Normalize(low, high), colors),
                ax=self.ax_,
                label="angle (radians)",
                shrink=0.8,
            )
        return self
