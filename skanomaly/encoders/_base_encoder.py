"""What every encoder shares: a network whose layers are features."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import gen_batches
from sklearn.utils.validation import check_is_fitted

from .._sklearn_compat import check_feature_names_in
from .._training import scoring_device, to_device
from .._validation import check_samples
from ..saving import SavableMixin
from ._encoder_network import HEAD, POOLED, EncoderNetwork
from ._network_state import network_of_state, network_state
from ._onnx_export import export_features
from ._preprocessing import as_float

INFERENCE_BATCH = 256
CPU_BATCH_PIXELS = 8 * 224**2  # in a batch on the CPU, so that a layer's maps stay in its cache
ONNX_BATCHES = 8  # are prepared at once, as threads of torch and of onnxruntime disturb each other
MIN_POSITIONS = 8  # in height and width, of maps that are compared position by position


def cpu_batch(network: EncoderNetwork, X: np.ndarray) -> int:
    """Number of images like X at once whose maps stay in a CPU's cache."""
    height, width = network.preprocessing.image_size or X.shape[2:]
    return min(max(1, CPU_BATCH_PIXELS // (height * width)), INFERENCE_BATCH)


class BaseEncoder(SavableMixin, TransformerMixin, BaseEstimator):
    """Base class of the encoders.

    A subclass has the parameters `layers`, `max_map_width`, `image_shape` and `device`, and its
    ``fit`` ends with ``_keep_network``.
    """

    layers: Any
    max_map_width: int | None
    image_shape: tuple[int, ...] | None
    device: str
    tile_size: int | None = None
    network_: EncoderNetwork
    layer_slices_: dict[str, slice]
    sample_shape_: tuple[int, ...]

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

    def transform_blocks(self, X):
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
        """Outputs of a block at each of its positions.

        Parameters
        ----------
        X : images
            Samples of the shape that was fitted.
        layer : str, default="auto"
            Name of the block, such as "conv_block_2" or, of a vision transformer,
            "transformer_block_12". "auto" is the last one with at least 8 x 8
            positions, or the first one if there is none.

        Returns
        -------
        maps : float32 array of shape (n_samples, channels, height, width)

        Raises
        ------
        ValueError
            If the network has no such block.
        """
        X = self._check_input(X)
        known = self.network_.backbone.maps
        if layer == "auto" and known:
            layer = self._choose_block(X[:1], known)
        if layer not in known:
            raise ValueError(f"layer={layer!r} is not a block with positions; pass one of {known}")
        batches = self._feature_maps(X, [layer], flat=False)
        return np.concatenate([maps[layer].cpu().numpy() for _, maps in batches])

    def _choose_block(self, X: np.ndarray, blocks: list[str]) -> str:
        ((_, maps),) = self._feature_maps(X, blocks, flat=False)
        fine = [name for name in blocks if min(maps[name].shape[2:]) >= MIN_POSITIONS]
        return fine[-1] if fine else blocks[0]

    def export_onnx(self, path):
        """Write the encoder as an ONNX file, which needs neither skanomaly nor torch.

        The input is ``images``, (n, channels, height, width) of float32 in [0, 1] and of the size
        that was fitted, or of tables ``samples``, (n, n_features) of float64. There is an output
        for each layer, by the names and with the values of ``transform_blocks``. The file is
        written once onnxruntime returns for some samples what the encoder returns.

        Parameters
        ----------
        path : path-like
            The file, which is replaced if there is one.

        Raises
        ------
        ImportError
            If onnx or onnxruntime is not installed.
        ValueError
            If the network cannot be exported, or is larger than 2 GiB.
        OSError
            If the file cannot be written.
        """
        check_is_fitted(self)
        export_features(self, path)

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
            check_feature_names_in(self, input_features)
        widths = {name: s.stop - s.start for name, s in self.layer_slices_.items()}
        names = [f"{name}__{i}" for name, width in widths.items() for i in range(width)]
        return np.asarray(names, dtype=object)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = []
        return tags

    def __getstate__(self):
        state = dict(super().__getstate__())
        if "network_" in state:
            state["network_"] = network_state(state["network_"])
        return state

    def __setstate__(self, state):
        super().__setstate__(state)
        if "network_" in state:
            self.network_ = network_of_state(state["network_"])

    def _check_input(self, X) -> np.ndarray:
        check_is_fitted(self)
        return self._scale(check_samples(self, X, reset=False, image_shape=self.image_shape))

    def _scale(self, X: np.ndarray) -> np.ndarray:
        """Validated samples as the network gets them."""
        return X

    def _resolve_layers(self, network: EncoderNetwork) -> list[str]:
        known = network.layer_names
        if self.tile_size is not None:  # flattened, maps of large images are too wide
            known = [name for name in known if name.endswith(POOLED) or name.startswith(HEAD)]
        blocks = [name for name in known if not name.startswith(HEAD)]
        presets = {"all": known, "blocks": blocks, "last": blocks[-1:]}
        chosen = presets[self.layers] if isinstance(self.layers, str) else self.layers
        is_layer = network.has_layer if self.tile_size is None else known.__contains__
        unknown = [name for name in chosen if not is_layer(name)]
        if unknown or not chosen:
            raise ValueError(
                f"layers={self.layers} is not known; pass some of {known}, or names of the "
                "backbone's submodules"
            )
        return list(dict.fromkeys(chosen))

    def _prepare_layers(self, network: EncoderNetwork, X: np.ndarray) -> dict[str, slice]:
        """Columns of the chosen layers; wide maps get their projections."""
        layers = self._resolve_layers(network)
        sample = as_float(to_device(X[:2], torch.device("cpu"))).to(torch.float32)
        if self.max_map_width is not None:
            network.project_wide_maps(sample, layers, self.max_map_width)
        with torch.no_grad():
            maps = network.eval().feature_maps(sample, layers)
        widths = [maps[layer].shape[1] for layer in layers]
        stops = np.cumsum(widths).tolist()
        return {
            name: slice(start, stop)
            for name, start, stop in zip(layers, [0, *stops[:-1]], stops, strict=True)
        }

    def _make_ready(self, network: EncoderNetwork, X: np.ndarray) -> EncoderNetwork:
        """The network for scoring, on the CPU."""
        # tables are scored in float64, so that a row's features do not depend on its batch
        return network.cpu().eval().to(torch.float64 if X.ndim == 2 else torch.float32)

    def _keep_network(self, network: EncoderNetwork, X: np.ndarray, advice: str) -> None:
        """Keep a network that is trained if its features of some samples are finite."""
        self.network_ = self._make_ready(network, X)
        for _, maps in self._feature_maps(X[:2], list(self.layer_slices_)):
            if not all(torch.isfinite(features).all() for features in maps.values()):
                raise FloatingPointError(f"the features are not finite: {advice}")

    @property
    def _n_features_out(self) -> int:
        return max(columns.stop for columns in self.layer_slices_.values())

    @property
    def _feature_dtype(self):
        return np.float32 if len(self.sample_shape_) == 3 else np.float64

    def _extract(self, X: np.ndarray, features: dict[str, np.ndarray]) -> None:
        """Write the features of each layer into its array."""
        for rows, maps in self._feature_maps(X, list(features)):
            for layer, target in features.items():
                target[rows] = maps[layer].cpu().numpy()

    def _feature_maps(
        self, X: np.ndarray, layers: list[str], flat: bool = True
    ) -> Iterator[tuple[slice, dict[str, torch.Tensor]]]:
        """Slices of X with the layers' outputs for them, batch by batch."""
        device = scoring_device(self.device)
        network = self.network_
        if network.onnx is not None:
            device = torch.device("cpu")
        if device.type != "cpu":
            network = copy.deepcopy(network).to(device)
        size = INFERENCE_BATCH
        if device.type == "cpu" and X.ndim == 4:
            size = cpu_batch(network, X)
            if network.onnx is not None:
                size *= ONNX_BATCHES
        dtype = network.preprocessing.center.dtype
        with torch.inference_mode():
            for rows in gen_batches(len(X), size):
                batch = as_float(to_device(X[rows], device)).to(dtype)
                yield rows, network.feature_maps(batch, layers, flat)
