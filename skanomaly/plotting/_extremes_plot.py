"""The least and the most normal images."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .._array_api import to_numpy
from .._base import OutlierDetector
from .._samples import count_samples, take_samples
from .._validation import read_samples
from ..images import read_images
from ._picture_grid import draw_grid, score_titles
from ._style import check_count


class ExtremeImagesDisplay:
    """The least normal and the most normal images, with the nearest training images beneath.

    Figure 1 of DUM shows such images. It is made by :meth:`from_estimator`. Parameters are kept
    as attributes; their first row is of the least normal images, from the most extreme one on, the
    second row of the most normal ones.

    Parameters
    ----------
    images : array of shape (2, n_images, height, width) or (2, n_images, height, width, 3)
        uint8, or floats in [0, 1].
    scores : float array of shape (2, n_images)
        Their scores.
    index : int array of shape (2, n_images)
        Their positions in X.
    nearest_images : array like images, optional
        The training images that are nearest to them.
    nearest : int array of shape (2, n_images), optional
        Positions of these in the X of ``fit``.

    Attributes
    ----------
    images_ : object array of shape (n_rows, n_images)
        The AxesImage of each image; rows of nearest images are below those of images.
    ax_ : matplotlib.axes.Axes
        Axes with all images.
    figure_ : matplotlib.figure.Figure
        Figure of the axes.

    See Also
    --------
    HeatmapDisplay : Where images differ from normal ones.
    skanomaly.write_report : A page that lists more of them.

    References
    ----------
    .. [1] M. Wu and N. Goodman, "A Simple Framework for Uncertainty in Contrastive Learning",
       2020. https://arxiv.org/abs/2010.02038

    Examples
    --------
    >>> import numpy as np
    >>> from skanomaly import NSADetector, SelfSupervisedEncoder
    >>> from skanomaly.plotting import ExtremeImagesDisplay
    >>> images = np.random.default_rng(0).integers(0, 40, (40, 8, 8), dtype=np.uint8)
    >>> detector = NSADetector(SelfSupervisedEncoder(max_epochs=0), random_state=0).fit(images)
    >>> X = np.concatenate([images[:9], 255 - images[:1]])
    >>> display = ExtremeImagesDisplay.from_estimator(detector, X, n_images=4, X_train=images)
    >>> int(display.index[0, 0])
    9
    """

    def __init__(self, *, images, scores, index, nearest_images=None, nearest=None):
        self.images = images
        self.scores = scores
        self.index = index
        self.nearest_images = nearest_images
        self.nearest = nearest

    @classmethod
    def from_estimator(cls, estimator, X, *, n_images=6, X_train=None, ax=None):
        """Score images, and draw the extreme ones.

        Parameters
        ----------
        estimator : outlier detector
            A detector of this package that was fitted on images.
        X : images
            At least 2.
        n_images : int, default=6
            Number of the least normal images, and of the most normal ones: at most half of all.
        X_train : images, optional
            The images that were passed to ``fit``, all of them and in the same order. None takes
            the files in ``training_paths_``. If there are none, or if the detector does not look
            for nearest images, as a ``DUMDetector``, no training images are drawn.
        ax : matplotlib.axes.Axes, optional
            Axes to draw in. None makes a new figure.

        Returns
        -------
        display : ExtremeImagesDisplay

        Raises
        ------
        ValueError
            If X is not what was fitted, X_train are not as many images as were fitted, or the
            detector finds no nearest images but X_train is given.
        TypeError
            If this is no detector of this package.
        OSError
            If a training image can no longer be read.
        ImportError
            If matplotlib is not installed.
        """
        if not isinstance(estimator, OutlierDetector):
            raise TypeError(
                f"estimator is {type(estimator).__name__}; pass an NSADetector or a DUMDetector "
                "fitted on images"
            )
        check_is_fitted(estimator)
        check_count("n_images", n_images)
        if len(getattr(estimator, "sample_shape_", ())) != 3:
            raise ValueError("the detector was not fitted on images; pass one that was")
        X = read_samples(estimator, X, reset=False)
        scores = estimator.score_samples(X)
        if len(scores) < 2:
            raise ValueError(f"X has {len(scores)} image(s); pass at least 2")
        count = min(n_images, len(scores) // 2)
        order = np.argsort(scores, kind="stable")
        index = np.stack([order[:count], order[-count:][::-1]])
        shown = take_samples(X, index.ravel())
        nearest, nearest_images = _find_nearest(estimator, shown, X_train)
        images = read_images(shown).pixels
        shape = (2, count, *images.shape[1:])
        display = cls(
            images=images.reshape(shape),
            scores=scores[index],
            index=index,
            nearest=None if nearest is None else nearest.reshape(2, count),
            nearest_images=None if nearest_images is None else nearest_images.reshape(shape),
        )
        return display.plot(ax)

    def plot(self, ax=None):
        """Draw the images.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Axes to draw in. None makes a new figure.

        Returns
        -------
        self
        """
        rows: list[list] = []
        labels: list[str] = []
        titles: dict[tuple[int, int], str] = {}
        for i, label in enumerate(["least normal", "most normal"]):
            titles |= score_titles(len(rows), self.scores[i])
            rows.append(list(self.images[i]))
            labels.append(label)
            if self.nearest_images is not None:
                rows.append(list(self.nearest_images[i]))
                labels.append("nearest\ntraining image")
        self.ax_, self.images_ = draw_grid(ax, rows, titles=titles, labels=labels)
        self.figure_ = self.ax_.figure
        return self


def _find_nearest(
    detector: Any, X: Any, X_train: Any
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Positions of the nearest training images, and their pixels, as far as they are there."""
    checked = detector._check_input(X, "predict_frame")
    _, nearest = detector._scores_and_nearest(checked, detector._find_known(checked))
    if nearest is None:
        if X_train is not None:
            raise ValueError(
                f"{type(detector).__name__} finds no nearest training images here; leave X_train "
                "out"
            )
        return None, None
    nearest = to_numpy(nearest)
    paths = getattr(detector, "training_paths_", None)
    if X_train is not None:
        X_train = read_samples(detector, X_train, reset=False)
        n_training = len(detector.training_scores_)
        if count_samples(X_train) != n_training:
            raise ValueError(
                f"X_train has {count_samples(X_train)} images, but {n_training} were fitted; pass "
                "the X of fit"
            )
        chosen = take_samples(X_train, nearest)
    elif paths is not None:
        chosen = read_samples(detector, [paths[i] for i in nearest], reset=False)
    else:
        return nearest, None
    return nearest, read_images(chosen).pixels
