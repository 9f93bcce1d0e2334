"""Angle of each position's features to the nearest in normal images: local scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from numbers import Integral

import numpy as np
from scipy.ndimage import uniform_filter
from scipy.stats import mode
from sklearn.utils import check_random_state

from .._angles import angle_of_chord, directions
from .._array_api import BLOCK_BYTES, row_slices
from .._base import OutlierDetector, atomic_fit
from .._dask import refuse_dask
from .._nearest_rows import NearestRows
from .._sklearn_compat import Interval, RealNotInt, StrOptions
from .._training_rows import TrainingRows
from .._validation import check_table, refuse_not_finite
from .._whitening import Whitening
from ._coreset import farthest_points

CORESET_CANDIDATES = 10  # for each patch that is kept

Batches = Callable[[], Iterator[np.ndarray]]


class PatchCosine(OutlierDetector):
    r"""Angle of the features at each position of an image to the nearest in normal images.

    For defects, which change a part of an image and leave its whole as it was; kinds of images are
    told apart better by :class:`FeatureEnsemble`. X is maps, (n, channels, height, width), such as
    the ``transform_map`` of an encoder returns. As the scorer of an :class:`NSADetector` it gets
    them from the encoder.

    As in PatchCore [1]_, features are averaged over neighbouring positions, and a bank keeps some
    of them, called patches, of all training images. With :math:`f_p(y)` the features of image y at
    position p, and M the bank, the angle at p is

    .. math:: a_p(y) = \min_{f \in M} \angle (f_p(y), f)

    where PatchCore takes the Euclidean distance. The anomaly score of an image is the mean, or the
    largest, of its angles, and ``score_samples`` its negative, in [-pi, 0] radians. Training images
    are scored leave-one-out: by the patches of other images.

    The bank takes ``4 * max_patches * channels`` bytes; a search compares each position with all
    its patches.

    Parameters
    ----------
    layer : str, default="auto"
        Block of the encoder, such as "conv_block_3", when this is the scorer of an
        :class:`NSADetector`. "auto" is the last one with at least 8 x 8 positions.
    whiten : bool, default=False
        Whiten with the shrunk covariance of the bank, as NSA [3]_ does for whole images.
    neighborhood : int, default=3
        Features are averaged over squares of so many positions, an odd number. 1 averages nothing.
    max_patches : int or None, default=10_000
        Size of the bank, at least 2. None keeps all patches.
    sampling : {"random", "coreset"}, default="random"
        Which patches are kept: random ones, or of ten times as many random ones those that are
        farthest from one another [1]_, for less memory at the cost of a slower fit.
    pooling : "mean", "max" or float in (0, 1), default="mean"
        How the angles of an image are combined. A float averages the largest share of them: 0.01
        is the score of AnomalyDINO [2]_.
    max_shift : int or None, default=None
        Only patches at most so many positions away, in both directions, are compared, for images
        of aligned objects. None compares all.
    contamination : "auto" or float in (0, 0.5], default="auto"
        Share of the training samples beyond the threshold: on clean training data the
        false-positive rate. "auto" is 0.05.
    random_state : int, RandomState instance or None, default=0
        Seed of the choice of patches.

    Attributes
    ----------
    training_scores_ : float64 array of shape (n_samples,)
        Leave-one-out ``score_samples`` of the training images.
    offset_ : float
        Threshold of ``predict`` on ``score_samples``.
    map_shape_ : tuple
        (channels, height, width) of the maps.
    n_patches_ : int
        Number of patches in the bank.
    whitening_ : Whitening or None
        The fitted whitening map; None if `whiten` is False.
    n_features_in_ : int
        Number of values per sample.
    feature_names_in_ : array of str
        Column names, if the training samples had any.

    See Also
    --------
    NSADetector : Takes this as its `scorer`, and draws heatmaps of the angles.
    MahalanobisCosine : The angle between whole images.

    References
    ----------
    .. [1] K. Roth, L. Pemula, J. Zepeda, B. Schölkopf, T. Brox and P. Gehler, "Towards Total Recall
       in Industrial Anomaly Detection", 2022. `arXiv:2106.08265
       <https://arxiv.org/abs/2106.08265>`_
    .. [2] S. Damm, M. Laszkiewicz, J. Lederer and A. Fischer, "AnomalyDINO: Boosting Patch-based
       Few-shot Anomaly Detection with DINOv2", 2024. `arXiv:2405.14529
       <https://arxiv.org/abs/2405.14529>`_
    .. [3] M. Yousef, M. Ackermann, U. Kurup and T. Bishop, "No Shifted Augmentations (NSA): compact
       distributions for robust self-supervised Anomaly Detection", 2022, section 2.5.
       `arXiv:2203.10344 <https://arxiv.org/abs/2203.10344>`_

    Examples
    --------
    >>> import numpy as np
    >>> from skanomaly import PatchCosine
    >>> maps = np.random.default_rng(0).normal(size=(30, 4, 6, 6)) + 3
    >>> detector = PatchCosine(pooling="max").fit(maps)
    >>> defective = maps[:1] + 0.1
    >>> defective[0, :, 2, 4] = [9, -9, 9, -9]
    >>> np.unravel_index(detector.heatmaps(defective)[0].argmax(), (6, 6))[1] > 2
    np.True_
    """

    _parameter_constraints: dict = {
        **OutlierDetector._parameter_constraints,
        "layer": [str],
        "whiten": ["boolean"],
        "neighborhood": [Interval(Integral, 1, None, closed="left")],
        "max_patches": [Interval(Integral, 2, None, closed="left"), None],
        "sampling": [StrOptions({"random", "coreset"})],
        "pooling": [StrOptions({"mean", "max"}), Interval(RealNotInt, 0, 1, closed="neither")],
        "max_shift": [Interval(Integral, 0, None, closed="left"), None],
        "random_state": ["random_state"],
    }

    takes_maps = True

    def __init__(
        self,
        layer="auto",
        *,
        whiten=False,
        neighborhood=3,
        max_patches=10_000,
        sampling="random",
        pooling="mean",
        max_shift=None,
        contamination="auto",
        random_state=0,
    ):
        self.layer = layer
        self.whiten = whiten
        self.neighborhood = neighborhood
        self.max_patches = max_patches
        self.sampling = sampling
        self.pooling = pooling
        self.max_shift = max_shift
        self.contamination = contamination
        self.random_state = random_state

    @atomic_fit
    def fit(self, X, y=None):
        """Fill the bank, and score the training images by the patches of others.

        Parameters
        ----------
        X : array-like of shape (n_samples, channels, height, width) or (n_samples, n_features)
            Maps of mostly normal images, at least 2. Rows of a table are maps of one position.
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If X is not finite or too small, or if `max_shift` leaves a position without patches.
        MemoryError
            If the bank does not fit in memory.
        """
        maps = self._validate_input(X, reset=True)
        anomaly = self.fit_batches(lambda: _slices(maps), len(maps))
        self._finish_fit(-anomaly, TrainingRows.of(maps))
        return self

    def fit_batches(self, batches: Batches, n_samples: int) -> np.ndarray:
        """Fit to maps in batches, which are read twice, and return their anomaly scores."""
        self._validate_params()
        if self.neighborhood % 2 == 0:
            raise ValueError(f"neighborhood={self.neighborhood}; pass an odd number")
        self._fill_bank(batches(), n_samples)
        parts, start = [], 0
        for maps in batches():
            own = np.arange(start, start + len(maps))
            parts.append(self._pool(self.angles(maps, own)))
            start += len(maps)
        anomaly = np.concatenate(parts)
        self._set_threshold(-anomaly)
        return anomaly

    def heatmaps(self, X):
        """The angle at each position.

        Parameters
        ----------
        X : array-like of shape (n_samples, channels, height, width) or (n_samples, n_features)
            Samples like those of ``fit``. Training samples are compared with the others.

        Returns
        -------
        heatmaps : float64 array of shape (n_samples, height, width)
            In radians, from 0 to pi.
        """
        maps = self._check_input(X, "heatmaps")
        return self.angles(maps, self._find_known(maps))

    def angles(self, maps: np.ndarray, own: np.ndarray) -> np.ndarray:
        """Angles (n, height, width) of maps; `own` tells which training image each is, or -1."""
        chords = np.concatenate([chords for chords, _ in self._nearest_patches(maps, own)])
        return angle_of_chord(chords).reshape(-1, *self.map_shape_[1:])

    def nearest_samples(self, X: np.ndarray, own: np.ndarray) -> np.ndarray:
        """Position of the training image that has most of the nearest patches; `own` as above."""
        index = np.concatenate([index for _, index in self._nearest_patches(X, own)])
        return mode(self._image[index].reshape(len(X), -1), axis=1).mode

    def _nearest_patches(
        self, maps: np.ndarray, own: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for part in _parts(maps):
            queries = self._vectors(self._patches(maps[part]))
            yield self._bank.nearest_where(queries, 1, self._comparison(own[part]))

    def _comparison(self, own: np.ndarray) -> Callable | None:
        """Tells which patches are compared: those of other images, and of places nearby."""
        if self.max_shift is None and (own < 0).all():
            return None
        n_positions = self.map_shape_[1] * self.map_shape_[2]
        image = np.repeat(own, n_positions)[:, None]
        place = np.tile(np.arange(n_positions), len(own))[:, None]

        def may_compare(rows: slice, columns: slice) -> np.ndarray:
            allowed = image[rows] != self._image[columns]
            if self.max_shift is not None:
                allowed &= self._are_near(place[rows], self._place[columns])
            return allowed

        return may_compare

    def _are_near(self, place: np.ndarray, other: np.ndarray) -> np.ndarray:
        (row, column), (other_row, other_column) = (
            np.divmod(positions, self.map_shape_[2]) for positions in (place, other)
        )
        shift = np.maximum(np.abs(row - other_row), np.abs(column - other_column))
        return shift <= self.max_shift

    def _fill_bank(self, batches: Iterator[np.ndarray], n_samples: int) -> None:
        rng = check_random_state(self.random_state)
        rows, start = np.empty((0, 0)), 0
        for maps in batches:
            if start == 0:
                self.map_shape_ = maps.shape[1:]
                n_positions = maps.shape[2] * maps.shape[3]
                chosen = self._draw(rng, n_samples, n_positions)
                rows = self._allocate(len(chosen), maps.shape[1])
            first, last = np.searchsorted(
                chosen, np.array([start, start + len(maps)]) * n_positions
            )
            rows[first:last] = self._patches(maps)[chosen[first:last] - start * n_positions]
            start += len(maps)
        if self.sampling == "coreset" and self.max_patches is not None:
            kept = farthest_points(rows, self.max_patches, rng)
            rows, chosen = rows[kept], chosen[kept]
        self._image, self._place = np.divmod(chosen, n_positions)
        self._check_coverage(n_positions)
        self.whitening_ = Whitening().fit(rows) if self.whiten else None
        self._bank = NearestRows(rows, self._vectors, may_round=maps.dtype == np.float32)
        self.n_patches_ = len(rows)

    def _draw(self, rng, n_samples: int, n_positions: int) -> np.ndarray:
        """Positions in all images, one after the other, about as many of each image."""
        total = n_samples * n_positions
        if self.max_patches is None:
            return np.arange(total)
        wanted = self.max_patches * (CORESET_CANDIDATES if self.sampling == "coreset" else 1)
        of_each = min(n_positions, -(-wanted // n_samples))
        order = rng.uniform(size=(n_samples, n_positions)).argsort(axis=1)[:, :of_each]
        drawn = (order + n_positions * np.arange(n_samples)[:, None]).ravel()
        return np.sort(rng.permutation(drawn)[:wanted])

    def _allocate(self, n_rows: int, width: int) -> np.ndarray:
        try:
            return np.empty((n_rows, width), np.float32)
        except MemoryError as error:
            raise MemoryError(
                f"max_patches={self.max_patches} needs {4 * n_rows * width / 2**30:.3g} GiB for "
                f"{n_rows} patches of {width} channels; pass a smaller number"
            ) from error

    def _check_coverage(self, n_positions: int) -> None:
        """Each position needs patches of two images, one of which is left out."""
        if self.max_shift is None:
            return
        for place in range(n_positions):
            near = self._are_near(np.array(place), self._place)
            if len(np.unique(self._image[near])) < 2:
                row, column = divmod(place, self.map_shape_[2])
                raise ValueError(
                    f"max_shift={self.max_shift} leaves position ({row}, {column}) without patches "
                    f"of two images; pass a larger max_shift, or max_patches above "
                    f"{self.max_patches}"
                )

    def _patches(self, maps: np.ndarray) -> np.ndarray:
        """Averaged features of all positions as rows (n * height * width, channels)."""
        maps = maps.astype(np.float32, copy=False)
        if self.neighborhood > 1 and max(maps.shape[2:]) > 1:
            size = (1, 1, self.neighborhood, self.neighborhood)
            maps = uniform_filter(maps, size, mode="nearest")
        return np.ascontiguousarray(maps.transpose(0, 2, 3, 1)).reshape(-1, maps.shape[1])

    def _vectors(self, rows: np.ndarray) -> np.ndarray:
        return directions(rows if self.whitening_ is None else self.whitening_.transform(rows))

    def _pool(self, angles: np.ndarray) -> np.ndarray:
        flat = angles.reshape(len(angles), -1)
        if self.pooling == "mean":
            return flat.mean(axis=1)
        n_largest = 1 if self.pooling == "max" else max(1, round(self.pooling * flat.shape[1]))
        return np.sort(flat, axis=1)[:, flat.shape[1] - n_largest :].mean(axis=1)

    def score_maps(self, maps: np.ndarray) -> np.ndarray:
        """Anomaly scores of checked maps as if they were new."""
        return self._pool(self.angles(maps, np.full(len(maps), -1)))

    def _score_samples(self, X):
        return -self.score_maps(X)

    def _validate_input(self, X, *, reset):
        if len(getattr(X, "shape", ())) <= 2:
            return check_table(self, X, reset=reset)[:, :, None, None]
        refuse_dask(self, X, reset=reset)
        X = np.asarray(X)
        if X.ndim != 4 or 0 in X.shape or X.dtype.kind != "f":
            raise ValueError(
                f"X has shape {X.shape} and dtype {X.dtype}; pass maps of floats, "
                "(n_samples, channels, height, width), or a table"
            )
        if len(X) < 1 + reset:
            raise ValueError(f"Found {len(X)} sample(s), a minimum of {1 + reset} is required")
        refuse_not_finite(X.reshape(len(X), -1))
        if not reset and X.shape[1:] != self.map_shape_:
            raise ValueError(
                f"X has maps of shape {X.shape[1:]}, but PatchCosine was fitted on "
                f"{self.map_shape_}"
            )
        if reset:
            self.n_features_in_ = int(np.prod(X.shape[1:]))
            self.__dict__.pop("feature_names_in_", None)
        return X


def _parts(maps: np.ndarray) -> Iterator[slice]:
    return row_slices(len(maps), 8 * maps[0].size, BLOCK_BYTES)


def _slices(maps: np.ndarray) -> Iterator[np.ndarray]:
    return (maps[part] for part in _parts(maps))
