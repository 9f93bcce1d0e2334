"""Random views of images."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from .._validation import read_samples
from ..images import read_images
from ._picture_grid import draw_grid, score_titles
from ._style import check_count


class ViewDisplay:
    """Images, each with random views of it.

    It is made by :meth:`from_estimator`: of an encoder to see what it is trained on, of a detector
    to see which views of an image it finds more normal. Parameters are kept as attributes.

    Parameters
    ----------
    images : array of shape (n_images, height, width) or (n_images, height, width, 3)
        uint8, or floats in [0, 1].
    views : array of shape (n_images, n_views, height, width) or the same with a last axis of 3
        Their views, floats in [0, 1].
    scores : float array of shape (n_images, n_views), optional
        Scores of the views, which are written above them.

    Attributes
    ----------
    images_ : object array of shape (n_images, 1 + n_views)
        The AxesImage of each image and of its views.
    ax_ : matplotlib.axes.Axes
        Axes with all images.
    figure_ : matplotlib.figure.Figure
        Figure of the axes.

    See Also
    --------
    skanomaly.encoders.ImageAugmentation : Draws the views.
    skanomaly.DUMDetector.rank_certainty : Orders samples like the views.

    References
    ----------
    .. [1] M. Wu and N. Goodman, "A Simple Framework for Uncertainty in Contrastive Learning",
       2020. https://arxiv.org/abs/2010.02038

    Examples
    --------
    >>> import numpy as np
    >>> from skanomaly import SelfSupervisedEncoder
    >>> from skanomaly.plotting import ViewDisplay
    >>> images = np.random.default_rng(0).integers(0, 256, (3, 8, 8), dtype=np.uint8)
    >>> encoder = SelfSupervisedEncoder(augment="digits")
    >>> ViewDisplay.from_estimator(encoder, images, n_views=5, random_state=0).views.shape
    (3, 5, 8, 8)
    """

    def __init__(self, *, images, views, scores=None):
        self.images = images
        self.views = views
        self.scores = scores

    @classmethod
    def from_estimator(cls, estimator, X, *, n_views=8, augment=None, random_state=None, ax=None):
        """Draw random views of images; those of a detector from the most normal one on.

        Parameters
        ----------
        estimator : encoder or outlier detector
            An encoder, which need not be fitted; or a detector that was fitted on images. A
            ``DUMDetector`` orders the views by how certain it is of them (DUM section 4.1).
        X : images
            A few images.
        n_views : int, default=8
            Number of views of each image.
        augment : str, callable or torch.nn.Module, optional
            How views are made, as in :class:`~skanomaly.SelfSupervisedEncoder`. None takes the
            `augment` of the estimator or of its ``encoder_``.
        random_state : int, RandomState instance or None, default=None
            Seed of the views.
        ax : matplotlib.axes.Axes, optional
            Axes to draw in. None makes a new figure.

        Returns
        -------
        display : ViewDisplay

        Raises
        ------
        ValueError
            If X is no images, or not what the detector was fitted on.
        ImportError
            If matplotlib is not installed.
        """
        from ..encoders import draw_views  # needs torch

        check_count("n_views", n_views)
        X = read_samples(estimator, X, reset=False)
        if len(getattr(X, "shape", (0,))) == 2:
            raise ValueError(f"X is a table of shape {X.shape}; pass images")
        images = read_images(X).pixels
        if augment is None:
            augment = _find_augment(estimator)
        seed = check_random_state(random_state).randint(np.iinfo(np.int32).max)
        first = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
        batches = [np.stack(views, axis=1) for views in draw_views(first, augment, n_views, seed)]
        views, scores = np.concatenate(batches), None
        if hasattr(estimator, "score_samples"):
            scores = np.stack([estimator.score_samples(one) for one in views])
            order = np.argsort(-scores, axis=1, kind="stable")
            scores = np.take_along_axis(scores, order, axis=1)
            views = np.stack([one[rank] for one, rank in zip(views, order, strict=True)])
        views = views[:, :, 0] if images.ndim == 3 else views.transpose(0, 1, 3, 4, 2)
        return cls(images=images, views=views, scores=scores).plot(ax)

    def plot(self, ax=None):
        """Draw images and views.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Axes to draw in. None makes a new figure.

        Returns
        -------
        self
        """
        rows = [[image, *views] for image, views in zip(self.images, self.views, strict=True)]
        titles = {(0, 0): "image"}
        if self.scores is not None:
            for row, scores in enumerate(self.scores):
                titles |= score_titles(row, scores, first=1)
        self.ax_, self.images_ = draw_grid(ax, rows, titles=titles)
        self.figure_ = self.ax_.figure
        return self


def _find_augment(estimator: Any) -> Any:
    """How the estimator or its encoder makes views; None if neither says."""
    parts = estimator, getattr(estimator, "encoder_", None)
    settings = (getattr(part, "augment", None) for part in parts)
    return next((setting for setting in settings if setting is not None), None)
