"""NSADetector: No Shifted Augmentations (NSA), self-supervised anomaly detection.

NSA is here the method of the paper "No Shifted Augmentations (NSA): compact distributions for
robust self-supervised anomaly detection", not Natural Synthetic Anomalies and not the Negative
Selection Algorithm, which elsewhere share the abbreviation.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from numbers import Integral
from typing import Any

import joblib
import numpy as np
from filelock import FileLock
from sklearn import config_context
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import Bunch, check_random_state, gen_batches
from sklearn.utils.validation import check_is_fitted, check_memory

from ._array_api import sample_rows
from ._base import OutlierDetector, atomic_fit, seed_parts, training_scores
from ._sklearn_compat import (
    CallbackSupportMixin,
    HasMethods,
    Interval,
    StrOptions,
    pass_callbacks_on,
    with_callbacks,
)
from ._training_rows import TrainingRows, replace_known
from ._validation import check_samples, read_samples
from .images import RESIZES
from .scorers import FeatureEnsemble, NeighborDistance, PatchCosine

SCORING_BATCH = 2048  # samples whose features are held at once
MAP_BATCH = 128  # images whose maps are held at once
MAP_PIXELS = MAP_BATCH * 256 * 256  # of theirs, at most
MAX_REFERENCE_IMAGES = 200  # for heatmaps of scorers that compare whole images
MAX_REFERENCE_BYTES = 16 * 2**20
TABLE_NEIGHBORS = 5
FEW_PHOTOGRAPHS = 500
LOCKED_SAMPLES = 100  # that tell one training from another


class NSADetector(CallbackSupportMixin, OutlierDetector):
    """Anomaly detector for images, whose features it learns from X, and for tables.

    ``fit`` trains the encoder on X without labels, then fits the scorer on the features of X. X is
    images, (n, height, width), (n, height, width, channels) or (n, channels, height, width) of
    uint8 or of floats in [0, 1], a folder, a list of files or whatever else :func:`read_images`
    reads, or a table (n, n_features), for which nothing is trained unless an encoder is passed.

    Training samples are scored by the nearest *other* training samples, also when they are passed
    again, as uint8 or divided by 255.

    Parameters
    ----------
    encoder : transformer, optional
        Anything with ``fit`` and ``transform``. By default images are encoded by
        ``SelfSupervisedEncoder()``, all of whose blocks are used, and tables are scored as they
        are. An encoder with ``transform_blocks`` passes its blocks to the scorer one by one. A
        fitted encoder is passed as ``sklearn.frozen.FrozenEstimator(encoder)``. Parameters of an
        encoder that is passed are searched as ``encoder__objective``.
    scorer : outlier detector, optional
        Anything with ``fit`` and ``score_samples``, higher for normal samples. By default tables
        are scored by the :class:`NeighborDistance` to the 5 nearest samples, block by block if the
        encoder has several, and images by a :class:`FeatureEnsemble` of the encoder's blocks:
        "all" if there are several, "ens" otherwise. If there are outliers among the training
        images, pass ``FeatureEnsemble("robust")``. To look for defects, which change a part of an
        image, pass a :class:`PatchCosine`. Parameters of a scorer that is passed are searched as
        ``scorer__n_neighbors``. Copies of third-party detectors that are fitted on four fifths of
        the training samples score the other fifth.
    image_size : int or (height, width), optional
        Size to which all images are resized, in ``fit`` as in all other methods; an int is a
        square. None takes images as they are, all of one size.
    resize : {"pad", "crop", "stretch"}, default="pad"
        How they are resized, as :func:`read_images` describes it.
    contamination : "auto" or float in (0, 0.5], default="auto"
        Share of the training samples beyond the threshold: on clean training data the
        false-positive rate. "auto" is 0.05. No anomalies are needed to set it.
    memory : str or joblib.Memory, optional
        Caches trained encoders, so that a grid search over the scorer's parameters trains the
        encoder once for each fold. Set a `random_state` with it. Encoders that have a torch module
        among their parameters are not recognised, and trained anew.
    random_state : int, RandomState instance or None, default=None
        Seeds the parts whose own ``random_state`` is None. With an int, refits on the same device
        are identical.
    verbose : int, default=0
        1 shows the progress of the training, if `encoder` is None.

    Attributes
    ----------
    encoder_ : transformer
        The trained encoder; returns tables as they are by default.
    scorer_ : outlier detector
        The scorer, fitted on the features of the training samples.
    training_scores_ : float64 array of shape (n_samples,)
        Leave-one-out ``score_samples`` of the training samples.
    offset_ : float
        Threshold of ``predict`` on ``score_samples``.
    sample_shape_ : tuple
        (channels, height, width) of the images or (n_features,).
    training_paths_ : list of str or None
        Files of the training images, if X came from files.
    n_features_in_ : int
        Number of values per sample.
    feature_names_in_ : array of str
        Column names, if the training samples had any.

    See Also
    --------
    SelfSupervisedEncoder : The encoder of images.
    PretrainedEncoder : Features of a network that was trained elsewhere.
    FeatureEnsemble : The scorer of several blocks.
    DUMDetector : Scores by the uncertainty of an embedding.

    References
    ----------
    .. [1] M. Yousef, M. Ackermann, U. Kurup and T. Bishop, "No Shifted Augmentations (NSA): compact
       distributions for robust self-supervised anomaly detection", arXiv:2203.10344, 2022.

    Examples
    --------
    >>> import numpy as np
    >>> from skanomaly import NSADetector, SelfSupervisedEncoder
    >>> images = np.random.default_rng(0).integers(0, 40, (40, 8, 8), dtype=np.uint8)
    >>> encoder = SelfSupervisedEncoder(max_epochs=2)
    >>> detector = NSADetector(encoder, random_state=0).fit(images)
    >>> detector.predict([images[0], 255 - images[0]])
    array([ 1, -1])
    """

    _parameter_constraints: dict = {
        **OutlierDetector._parameter_constraints,
        "encoder": [HasMethods(["fit", "transform"]), None],
        "scorer": [HasMethods(["fit", "score_samples"]), None],
        "image_size": [Interval(Integral, 1, None, closed="left"), tuple, None],
        "resize": [StrOptions(set(RESIZES))],
        "memory": [str, HasMethods(["cache"]), None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        encoder=None,
        scorer=None,
        *,
        image_size=None,
        resize="pad",
        contamination="auto",
        memory=None,
        random_state=None,
        verbose=0,
    ):
        self.encoder = encoder
        self.scorer = scorer
        self.image_size = image_size
        self.resize = resize
        self.contamination = contamination
        self.memory = memory
        self.random_state = random_state
        self.verbose = verbose

    def explain(self, X, *, layer="auto"):
        """Why samples have the scores that they have.

        Parameters
        ----------
        X : images or table
            Samples of the shape that was fitted.
        layer : str or None, default="auto"
            Block of the encoder, such as "conv_block_2", whose positions the heatmaps compare.
            "auto" is the last one with at least 8 x 8 positions. None computes no heatmaps. The
            name is not used for tables and for a :class:`PatchCosine`, which has a layer of its
            own.

        Returns
        -------
        explanation : Bunch
            ``members``, the m labels ``"layer/score"``, or the name of the scorer;
            ``contributions``, a float64 array (n_samples, m), whose rows sum to
            ``-score_samples(X)``; ``neighbors``, for each member that looks for nearest samples a
            pair (distances, indices) of arrays (n_samples, n_neighbors): angles in radians, or
            distances in standard deviations, and positions in the X of ``fit``; and for
            images ``heatmaps``, a float64 array (n_samples, height, width): the angle in radians
            of the features at each position to the nearest ones in normal images, interpolated to
            the images' resolution. They are those of a :class:`PatchCosine`: of the scorer, if
            it is one, or of one that is fitted to at most 200 training images, whitened. None
            without a convolutional encoder, or with ``layer=None``.

        Raises
        ------
        ValueError
            If X is not what was fitted, or the encoder has no such layer.
        """
        X = self._check_input(X, "explain")
        known = self._find_known(X)
        features = self._transform(X)
        if hasattr(self.scorer_, "takes_blocks"):
            # a frozen scorer knows the samples that it was fitted on itself
            is_frozen = isinstance(self.scorer_, FrozenEstimator)
            index = None if is_frozen else known
            explanation = self.scorer_.explain(features, training_index=index)
        else:
            name = type(self.scorer_).__name__
            scores = replace_known(
                known, self.scorer_.score_samples(features), self.training_scores_
            )
            neighbors = {}
            if hasattr(self.scorer_, "explain_block"):
                neighbors[name] = self.scorer_.neighbors_of(features, known)
            explanation = Bunch(members=[name], contributions=-scores[:, None], neighbors=neighbors)
        explanation.heatmaps = None
        if layer is not None:
            explanation.heatmaps = self._heatmaps(X, features, known, layer)
        return explanation

    def export_onnx(self, path, *, scores=True):
        """Write the detector as an ONNX file, which needs neither skanomaly nor torch.

        The input is ``images``, (n, channels, height, width) of float32 in [0, 1], gray or colour
        and of the size that was fitted: `image_size`, if there is one. Of tables it is
        ``samples``, (n, n_features) of float64. Outputs are ``score``, (n,) of float64, the
        ``score_samples`` of new samples, and the features of each layer by its name. The file's
        metadata has the threshold as ``offset_``: outliers score less.

        Images that are identical to training images are scored like new ones, which their
        leave-one-out scores in ``score_samples`` are not.

        Parameters
        ----------
        path : path-like
            The file, which is replaced if there is one.
        scores : bool, default=True
            False leaves the score out. True needs a :class:`MahalanobisCosine` or a
            :class:`CenterCosine`, or a :class:`FeatureEnsemble` of them.

        Raises
        ------
        ImportError
            If onnx or onnxruntime is not installed.
        ValueError
            If the encoder or the scorer cannot be exported, or the file would exceed ONNX's 2 GiB.
        OSError
            If the file cannot be written.
        """
        check_is_fitted(self)
        from .encoders import BaseEncoder, export_features

        encoder = _thawed(self.encoder_)
        if not isinstance(encoder, BaseEncoder):
            raise ValueError(
                f"the encoder {type(encoder).__name__} cannot be exported to ONNX; pass a "
                "SelfSupervisedEncoder or a PretrainedEncoder as encoder, and fit again"
            )
        if not scores:
            export_features(encoder, path)
            return
        from ._onnx_scores import AngularScores

        export_features(
            encoder,
            path,
            AngularScores(_thawed(self.scorer_)),
            self._score_samples,
            {"offset_": repr(self.offset_)},
        )

    def set_params(self, **params):
        """Set parameters of this detector or, as ``encoder__max_epochs``, of its parts."""
        for part, example in (("encoder", "SelfSupervisedEncoder"), ("scorer", "FeatureEnsemble")):
            nested = [name for name in params if name.startswith(f"{part}__")]
            if nested and params.get(part, getattr(self, part)) is None:
                raise ValueError(
                    f"{nested[0]} cannot be set while {part} is None, which is chosen in fit; "
                    f"pass {part}={example}() to set and search its parameters"
                )
        return super().set_params(**params)

    @atomic_fit
    @with_callbacks
    def fit(self, X, y=None):
        """Train the encoder and fit the scorer.

        Parameters
        ----------
        X : images or table
            Mostly normal samples, at least 2.
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            If X is neither a table nor images, or does not suit the encoder or the scorer.

        Warns
        -----
        UserWarning
            If an encoder is trained on fewer than 500 colour images by default.
        """
        X = read_samples(self, X, reset=True)
        self.training_paths_ = getattr(X, "paths", None)
        X = check_samples(self, X, reset=True)
        random_state = check_random_state(self.random_state)
        encoder = self._make_encoder(X)
        if self.random_state is not None:
            seed_parts(encoder, random_state)
        memory = check_memory(self.memory)
        train = memory.cache(_fit_encoder, ignore=["detector"])
        with _one_training(memory, encoder, X):
            self.encoder_ = train(encoder, X, detector=self)
        scorer = self._make_scorer(X)
        self._check_maps(scorer)
        if self.random_state is not None:
            seed_parts(scorer, random_state)
        self.scorer_ = scorer
        scores = self._fit_scorer(X)
        if isinstance(scorer, OutlierDetector):
            scorer._known = None  # training samples are recognised by X
        self._reference = self._choose_reference(X)
        self._local_scorers: dict[str, PatchCosine] = {}
        self._finish_fit(scores, TrainingRows.of(X))
        return self

    @property
    def _is_trimmed(self) -> bool:
        return bool(getattr(self.scorer_, "trim", 0))

    def _check_maps(self, scorer) -> None:
        if hasattr(scorer, "takes_maps") and not hasattr(self.encoder_, "transform_map"):
            raise ValueError(
                f"scorer={scorer} scores maps, but the encoder {type(self.encoder_).__name__} has "
                "no transform_map; pass images, and a SelfSupervisedEncoder or a PretrainedEncoder"
            )

    def _fit_scorer(self, X) -> np.ndarray:
        """Fit the scorer, and return scores of the training samples as if they were new."""
        if self._scores_patches:
            return -self.scorer_.fit_batches(lambda: self._map_batches(X), len(X))
        features = self._transform(X)
        if isinstance(features, dict) and not isinstance(self.scorer_, FrozenEstimator):
            # a block is freed as soon as it is scored
            return self.scorer_.fit(_pop_items(features)).training_scores_
        self.scorer_.fit(features, None)
        return training_scores(self.scorer_, features)

    @property
    def _scores_patches(self) -> bool:
        return isinstance(self.scorer_, PatchCosine)

    def _map_batches(self, X) -> Iterator[np.ndarray]:
        return (self._transform(X[rows]) for rows in gen_batches(len(X), _map_batch(X)))

    def _score_samples(self, X):
        return np.concatenate(
            [self.scorer_.score_samples(self._transform(X[rows])) for rows in self._batches(X)]
        )

    def _scores_and_nearest(self, X, known):
        scores, nearest = [], []
        for rows in self._batches(X):
            features = self._transform(X[rows])
            scores.append(self.scorer_.score_samples(features))
            if hasattr(self.scorer_, "nearest_samples"):
                nearest.append(self.scorer_.nearest_samples(features, known[rows]))
        found = bool(nearest) and nearest[0] is not None
        return np.concatenate(scores), np.concatenate(nearest) if found else None

    def _batches(self, X) -> Iterator[slice]:
        size = _map_batch(X) if hasattr(self.scorer_, "takes_maps") else SCORING_BATCH
        return gen_batches(len(X), size)

    def _transform(self, X) -> Any:
        """Features of validated samples: maps or blocks for a scorer that takes them."""
        takes_blocks = getattr(self.scorer_, "takes_blocks", False)
        has_blocks = hasattr(self.encoder_, "transform_blocks")
        with config_context(assume_finite=True):  # they were checked
            if hasattr(self.scorer_, "takes_maps"):
                return self.encoder_.transform_map(X, self.scorer_.layer)
            if takes_blocks and has_blocks:
                return self.encoder_.transform_blocks(X)
            return self.encoder_.transform(X)

    def _choose_reference(self, X) -> Any:
        """Some training images, to compare with in heatmaps, and which these are."""
        if X.ndim == 2 or not hasattr(self.encoder_, "transform_map") or self._scores_patches:
            return None
        n_fitting = max(2, MAX_REFERENCE_BYTES // max(1, X[:1].nbytes))
        count = min(len(X), MAX_REFERENCE_IMAGES, n_fitting)
        index = np.unique(np.linspace(0, len(X) - 1, count).astype(np.int64))
        return index, X[index]

    def _heatmaps(self, X, features, known, layer: str) -> np.ndarray | None:
        if self._scores_patches:
            angles = self.scorer_.angles(features, known)
        elif self._reference is not None:
            index, _ = self._reference
            own = np.where(np.isin(known, index), np.searchsorted(index, known), -1)
            angles = self._local_scorer(layer).angles(self.encoder_.transform_map(X, layer), own)
        else:
            return None
        from torch import from_numpy
        from torch.nn.functional import interpolate

        return interpolate(from_numpy(angles)[:, None], X.shape[2:], mode="bilinear")[:, 0].numpy()

    def _local_scorer(self, layer: str) -> PatchCosine:
        """A scorer of a layer's positions, fitted to the reference images when it is first used."""
        if layer not in self._local_scorers:
            normal = self.encoder_.transform_map(self._reference[1], layer)
            scorer = PatchCosine(whiten=True)
            scorer.fit_batches(lambda: iter([normal]), len(normal))
            self._local_scorers[layer] = scorer
        return self._local_scorers[layer]

    def __getstate__(self):
        state = dict(super().__getstate__())
        if "_local_scorers" in state:
            state["_local_scorers"] = {}
        return state

    def _validate_input(self, X, *, reset):
        return check_samples(self, X, reset=reset)

    def _make_encoder(self, X):
        if self.encoder is not None:
            return clone(self.encoder)
        if X.ndim == 2:
            return FunctionTransformer()
        if X.shape[1] == 3 and len(X) < FEW_PHOTOGRAPHS:
            warnings.warn(
                f"{len(X)} colour images are few to train an encoder on: if they are photographs, "
                "NSADetector(PretrainedEncoder()) detects better, as the table on top of the user "
                "guide shows",
                stacklevel=5,
            )
        from .encoders import SelfSupervisedEncoder

        return SelfSupervisedEncoder(verbose=self.verbose)

    def _make_scorer(self, X):
        if self.scorer is not None:
            return clone(self.scorer)
        has_blocks = len(getattr(self.encoder_, "layer_slices_", ())) > 1
        if len(getattr(self.encoder_, "sample_shape_", X.shape[1:])) > 1:  # images
            # the center, of several blocks, tolerates more anomalies than nearest samples do
            return FeatureEnsemble("all" if has_blocks else "ens")
        scorer = NeighborDistance(min(TABLE_NEIGHBORS, len(X) - 1))
        return FeatureEnsemble([("distance", scorer)]) if has_blocks else scorer

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags


def _fit_encoder(encoder, X: np.ndarray, *, detector: NSADetector):
    with pass_callbacks_on(detector, encoder), config_context(assume_finite=True):
        return encoder.fit(X, None)


def _thawed(estimator: Any) -> Any:
    """What is frozen, or the estimator itself."""
    return estimator.estimator if isinstance(estimator, FrozenEstimator) else estimator


def _one_training(memory: Any, encoder: Any, X: np.ndarray) -> AbstractContextManager:
    """A lock on the training, so that fits in other processes wait for its result in the cache."""
    folder = getattr(memory, "location", None)
    if not (isinstance(folder, str | os.PathLike) and os.path.isdir(folder)):
        return nullcontext()
    # some samples suffice: if they are those of another training as well, one waits in vain
    key = joblib.hash((encoder, X.shape, sample_rows(X, LOCKED_SAMPLES)))
    return FileLock(os.path.join(folder, f"{key}.lock"))


def _map_batch(X: np.ndarray) -> int:
    """Number of images whose maps are held at once."""
    height, width = X.shape[2:]
    return max(1, min(MAP_BATCH, MAP_PIXELS // (height * width)))


def _pop_items(blocks: dict) -> Iterator[tuple[str, Any]]:
    """Items of the dict, which is emptied."""
    while blocks:
        name = next(iter(blocks))
        yield name, blocks.pop(name)
