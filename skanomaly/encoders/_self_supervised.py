"""Self-supervised training of an encoder, and its layers as features."""

from __future__ import annotations

import copy
import warnings
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state, gen_batches
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted

from ..base import atomic_fit
from ..inputs import check_samples
from ..training import resolve_device, scoring_device, seeded_initialisation, train
from ._features import HEAD, EncoderNetwork
from ._networks import IMAGE_BACKBONES, MIN_IMAGE_SIZE, TABLE_BACKBONES, make_backbone
from ._pretext import (
    PretextTask,
    ViewMaker,
    as_float,
    default_augmentation,
    standardisation,
    to_device,
)
from .objectives import OBJECTIVES

INFERENCE_BATCH = 256
MAX_DEVIATIONS = 1e6  # values of tables further from the mean than this are all alike
COLLAPSED = 0.01  # of the spread that embeddings without a common direction have


class SelfSupervisedEncoder(TransformerMixin, BaseEstimator):
    """Learn features of images or tables from augmented views, without labels (NSA section 2).

    ``fit`` trains a network so that two random views of a sample agree; ``transform`` returns the
    outputs of its layers, one group of columns per layer. Images are arrays (n, height, width),
    (n, height, width, channels) or (n, channels, height, width) of uint8, or of floats in [0, 1];
    a 2-D X is a table unless `image_shape` says that its rows are flattened images.

    Parameters
    ----------
    objective : {"simclr", "simsiam"}, default="simclr"
        What the views are trained for. SimCLR learns fastest in short budgets; SimSiam, which
        needs no negative samples, is the paper's choice for thousands of epochs.
    normalize : {"both", "embedding", "projection"} or None, default="both"
        Which of the paper's two normalisations to use: of the embedding, before the projector
        (section 2.3), and of the projection, before the predictor (section 2.4). For SimCLR the
        second has no effect. Table 3 compares the four settings.
    backbone : {"auto", "compact", "resnet18", "resnet34", "resnet50", "mlp"}, default="auto"
        The network. "auto" is "compact" for images, made for training on CPUs, and "mlp" for
        tables. ResNets keep the resolution in their first layers for images of up to 64 pixels,
        as in the paper.
    layers : {"blocks", "all", "last"} or list of str, default="blocks"
        Layers that ``transform`` returns. "blocks" are ``conv_block_n`` (flattened) and
        ``conv_block_n (1x1)`` (averaged over positions) of images, ``dense_block_n`` of tables.
        "all" adds ``head_layer_n``, the projector's layers, which the paper's ensemble has too but
        which detect little after SimCLR. "last" is the embedding.
    max_map_width : int or None, default=256
        Flattened maps with more values are projected to this many by a random projection that
        keeps angles on average, so that scoring them is cheap. None keeps all values.
    augment : callable, optional
        ``augment(batch, generator)`` returns a random view of a batch, on its device: floats of
        shape (n, channels, height, width) in [0, 1], or standardised columns (n, n_features).
        None is :class:`ImageAugmentation` or :class:`ColumnCorruption`.
    image_shape : tuple (height, width) or (height, width, channels), optional
        Shape of the images whose pixels are the rows of a 2-D X.
    temperature : float, default=0.2
        Divides the similarities in SimCLR's loss.
    max_epochs : int, default=50
        Passes over the training samples. With 0 the network keeps its random weights, which is a
        baseline worth comparing with.
    batch_size : int, default=64
        Samples per step.
    learning_rate : float, default=3e-3
        Initial step size of AdamW; it decays to 0 along a cosine.
    weight_decay : float, default=1e-4
        Decoupled weight decay of AdamW.
    device : str, default="auto"
        "auto" trains on the first CUDA device, if there is one, and else on the CPU. The fitted
        network is kept on the CPU and moved for each ``transform``; where the device is missing,
        as on another machine, ``transform`` runs on the CPU.
    random_state : int, RandomState instance or None, default=None
        Seed of weights, order and views. With an int, refits on the same device are identical.
    verbose : int, default=0
        1 shows one progress bar.

    Attributes
    ----------
    network_ : torch.nn.Module
        The trained network, on the CPU.
    scaler_ : StandardScaler
        Standardises the columns of tables; absent for images.
    layer_slices_ : dict of str to slice
        Columns of ``transform`` that belong to each layer.
    history_ : list of dict
        Per epoch the mean loss, ``embedding_std`` (spread of the normalised embedding; 0 is a
        collapse, 1 a uniform distribution) and the seconds it took.
    sample_shape_ : tuple
        (channels, height, width) of the images or (n_features,).
    n_features_in_ : int
        Number of values per sample.
    feature_names_in_ : array of str
        Column names, if the training samples had any.

    Examples
    --------
    >>> import numpy as np
    >>> from skanomaly import SelfSupervisedEncoder
    >>> images = np.random.default_rng(0).integers(0, 256, (20, 8, 8), dtype=np.uint8)
    >>> encoder = SelfSupervisedEncoder(layers="last", max_epochs=1, random_state=0).fit(images)
    >>> encoder.transform(images).shape
    (20, 128)
    """

    _parameter_constraints: dict = {
        "objective": [StrOptions(set(OBJECTIVES))],
        "normalize": [StrOptions({"both", "embedding", "projection"}), None],
        "backbone": [StrOptions({"auto", *IMAGE_BACKBONES, *TABLE_BACKBONES})],
        "layers": [StrOptions({"blocks", "all", "last"}), list],
        "max_map_width": [Interval(Integral, 1, None, closed="left"), None],
        "augment": [callable, None],
        "image_shape": [tuple, None],
        "temperature": [Interval(Real, 0, None, closed="neither")],
        "max_epochs": [Interval(Integral, 0, None, closed="left")],
        "batch_size": [Interval(Integral, 2, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "device": [str],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        objective="simclr",
        *,
        normalize="both",
        backbone="auto",
        layers="blocks",
        max_map_width=256,
        augment=None,
        image_shape=None,
        temperature=0.2,
        max_epochs=50,
        batch_size=64,
        learning_rate=3e-3,
        weight_decay=1e-4,
        device="auto",
        random_state=None,
        verbose=0,
    ):
        self.objective = objective
        self.normalize = normalize
        self.backbone = backbone
        self.layers = layers
        self.max_map_width = max_map_width
        self.augment = augment
        self.image_shape = image_shape
        self.temperature = temperature
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    @atomic_fit
    def fit(self, X, y=None):
        """Train the network.

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
            If X is not a table or images as described above, or if backbone, layers or device
            do not fit it.
        FloatingPointError
            If training diverges.

        Warns
        -----
        ConvergenceWarning
            If the embedding collapsed to one direction.
        """
        X = check_samples(self, X, reset=True, image_shape=self.image_shape)
        device = resolve_device(self.device)
        self.__dict__.pop("scaler_", None)  # of an earlier fit on a table
        if X.ndim == 2:
            self.scaler_ = StandardScaler().set_output(transform="default").fit(X)
            X = self._standardise(X).astype(np.float32)
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        with seeded_initialisation(seed):
            network = self._build_network(X)
            layers = self._resolve_layers(network)
            if self.max_map_width is not None:
                sample = as_float(to_device(X[:2], torch.device("cpu")))
                network.project_wide_maps(sample, layers, self.max_map_width)
        generator = torch.Generator(device).manual_seed(seed)
        task = PretextTask(network).to(device).to(memory_format=torch.channels_last)
        self.history_ = train(
            task,
            ViewMaker(X, self.augment or default_augmentation(X), generator),
            len(X),
            max_epochs=self.max_epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            generator=generator,
            verbose=self.verbose,
        )
        self._warn_if_collapsed()
        # tables are scored in float64, so that a row's features do not depend on its batch
        self.network_ = network.cpu().eval().to(torch.float64 if X.ndim == 2 else torch.float32)
        self.layer_slices_ = self._measure_layers(X[:2], layers)
        return self

    def transform(self, X):
        """Features of the chosen layers.

        Parameters
        ----------
        X : images or table
            Samples of the shape that was fitted.

        Returns
        -------
        features : array of shape (n_samples, n_features_out)
            float32 for images, float64 for tables.
        """
        X = self._check_input(X)
        features = np.empty((len(X), self._n_features_out), dtype=self._feature_dtype)
        self._extract(X, {name: features[:, s] for name, s in self.layer_slices_.items()})
        return features

    def transform_layers(self, X):
        """Features of the chosen layers, each in an array of its own.

        Parameters
        ----------
        X : images or table
            Samples of the shape that was fitted.

        Returns
        -------
        features : dict of str to array of shape (n_samples, width)
            float32 for images, float64 for tables.
        """
        X = self._check_input(X)
        features = {
            name: np.empty((len(X), s.stop - s.start), dtype=self._feature_dtype)
            for name, s in self.layer_slices_.items()
        }
        self._extract(X, features)
        return features

    def transform_map(self, X, layer="auto"):
        """Outputs of a convolutional block at each of its positions.

        Parameters
        ----------
        X : images
            Samples of the shape that was fitted.
        layer : str, default="auto"
            Name of the block, such as "conv_block_2". "auto" is the first one.

        Returns
        -------
        maps : float32 array of shape (n_samples, channels, height, width)

        Raises
        ------
        ValueError
            If the network has no such block.
        """
        X = self._check_input(X)
        known = [name for name in self.network_.backbone.blocks if name.startswith("conv")]
        layer = known[0] if layer == "auto" and known else layer
        if layer not in known:
            raise ValueError(f"layer={layer!r} is not a convolutional block; pass one of {known}")
        batches = self._feature_maps(X, [layer], flat=False)
        return np.concatenate([maps[layer].cpu().numpy() for _, maps in batches])

    def get_feature_names_out(self, input_features=None):
        """Names of the columns of ``transform``: ``<layer>__<number>``.

        Parameters
        ----------
        input_features : array-like of str, optional
            Checked against the names seen in ``fit`` and otherwise ignored.

        Returns
        -------
        names : array of str
        """
        check_is_fitted(self)
        if len(self.sample_shape_) == 1:
            _check_feature_names_in(self, input_features)
        widths = {name: s.stop - s.start for name, s in self.layer_slices_.items()}
        names = [f"{name}__{i}" for name, width in widths.items() for i in range(width)]
        return np.asarray(names, dtype=object)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = []
        return tags

    def _standardise(self, X: np.ndarray) -> np.ndarray:
        X = self.scaler_.transform(X.astype(np.float64, copy=False))
        return X.clip(-MAX_DEVIATIONS, MAX_DEVIATIONS)

    def _build_network(self, X: np.ndarray) -> EncoderNetwork:
        is_table = X.ndim == 2
        known = TABLE_BACKBONES if is_table else IMAGE_BACKBONES
        name = known[0] if self.backbone == "auto" else self.backbone
        if name not in known:
            raise ValueError(
                f"backbone={name!r} does not take {'tables' if is_table else 'images'}; "
                f"pass one of {known}, or 'auto'"
            )
        if not is_table and min(X.shape[2:]) < MIN_IMAGE_SIZE:
            raise ValueError(
                f"images of {X.shape[2]} x {X.shape[3]} pixels are too small for a convolutional "
                f"network; enlarge them to {MIN_IMAGE_SIZE} pixels or pass a table"
            )
        backbone = make_backbone(name, X.shape[1:])
        options = {
            "normalize_embedding": self.normalize in ("both", "embedding"),
            "normalize_projection": self.normalize in ("both", "projection"),
        }
        if self.objective == "simclr":
            options["temperature"] = self.temperature
        objective = OBJECTIVES[self.objective](backbone.embedding_dim, **options)
        return EncoderNetwork(backbone, objective, *standardisation(X))

    def _resolve_layers(self, network: EncoderNetwork) -> list[str]:
        known = network.layer_names
        blocks = [name for name in known if not name.startswith(HEAD)]
        presets = {"all": known, "blocks": blocks, "last": blocks[-1:]}
        if isinstance(self.layers, str):
            return presets[self.layers]
        unknown = [name for name in self.layers if name not in known]
        if unknown or not self.layers:
            raise ValueError(f"layers={self.layers} is not known; pass some of {known}")
        return list(dict.fromkeys(self.layers))

    def _check_input(self, X) -> np.ndarray:
        check_is_fitted(self)
        X = check_samples(self, X, reset=False, image_shape=self.image_shape)
        return self._standardise(X) if X.ndim == 2 else X

    @property
    def _n_features_out(self) -> int:
        return max(columns.stop for columns in self.layer_slices_.values())

    @property
    def _feature_dtype(self):
        return np.float32 if len(self.sample_shape_) == 3 else np.float64

    def _measure_layers(self, X: np.ndarray, layers: list[str]) -> dict[str, slice]:
        widths = []
        for _, maps in self._feature_maps(X, layers):
            if not all(torch.isfinite(maps[layer]).all() for layer in layers):
                raise FloatingPointError(
                    "the trained features are not finite: pass a learning_rate below "
                    f"{self.learning_rate:g}"
                )
            widths = [maps[layer].shape[1] for layer in layers]
        stops = np.cumsum(widths).tolist()
        return {
            name: slice(start, stop)
            for name, start, stop in zip(layers, [0, *stops[:-1]], stops, strict=True)
        }

    def _extract(self, X: np.ndarray, features: dict[str, np.ndarray]) -> None:
        """Write the features of each layer into its array."""
        for rows, maps in self._feature_maps(X, list(features)):
            for layer, target in features.items():
                target[rows] = maps[layer].cpu().numpy()

    def _feature_maps(self, X: np.ndarray, layers: list[str], flat: bool = True):
        """Slices of X with the layers' outputs for them, batch by batch."""
        device = scoring_device(self.device)
        network = self.network_
        if device.type != "cpu":
            network = copy.deepcopy(network).to(device)
        with torch.inference_mode():
            for rows in gen_batches(len(X), INFERENCE_BATCH):
                batch = as_float(to_device(X[rows], device)).to(network.center.dtype)
                yield rows, network.feature_maps(batch, layers, flat)

    def _warn_if_collapsed(self) -> None:
        if self.history_ and self.history_[-1]["embedding_std"] < COLLAPSED:
            warnings.warn(
                "the embedding collapsed to one direction "
                f"(embedding_std={self.history_[-1]['embedding_std']:.2g}): try normalize='both', "
                "objective='simclr', a larger batch_size or a smaller learning_rate",
                ConvergenceWarning,
                stacklevel=4,
            )
