"""Features of networks that were trained elsewhere."""

from __future__ import annotations

import os
from collections.abc import Sequence
from numbers import Integral

import numpy as np
import torch
from sklearn.utils import check_random_state

from .._base import atomic_fit
from .._sklearn_compat import Interval, StrOptions
from .._training import SeededDraws, resolve_device
from .._validation import check_samples
from ._architectures import load_torchvision
from ._backbones import as_backbone
from ._base_encoder import NetworkEncoder
from ._encoder_network import EncoderNetwork
from ._preprocessing import Preprocessing

# of the photographs that torchvision's weights were trained on, per channel
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class PretrainedEncoder(NetworkEncoder):
    """Features of a network that is not trained here.

    ``fit`` only loads the network and looks at the shape of X. For fine-tuning on X pass the
    encoder as `backbone` of :class:`SelfSupervisedEncoder`. Features from another data set are
    convenient, and can fail where that one is different (NSA section 3.2.5, on street-view
    digits): compare with a network that was trained on X.

    Parameters
    ----------
    backbone : str or torch.nn.Module, default="resnet18"
        Name of one of torchvision's classifiers, of which the last linear layer is left out, or a
        module that maps float samples to (n, width), (n, channels, height, width) or
        (n, tokens, width). It is copied.
    weights : str or path-like, default="DEFAULT"
        For a name: one of torchvision's weights, such as "IMAGENET1K_V1", which are downloaded
        when first used, or a file with a state dict. Modules keep the weights that they have.
    layers : {"blocks", "last"} or list of str, default="blocks"
        Layers that ``transform`` returns. "blocks" are ``conv_block_n`` (flattened), what the
        network ends with at each resolution, and ``conv_block_n (1x1)`` (averaged over
        positions); of networks without convolutions ``dense_block_n``, its direct children.
        "last" is the last of them. A list may also name submodules, with " (1x1)" to average.
    max_map_width : int or None, default=256
        Flattened maps with more values are projected to this many by a random projection that
        keeps angles on average. None keeps all values.
    image_size : int or None, default=None
        Images are resized to this height and width. None leaves them, but for weights by name
        takes 224.
    mean : sequence of float, optional
        Per channel, what was subtracted from the network's training images. Gray images are
        repeated in as many channels. None is torchvision's for weights by name, else 0.
    std : sequence of float, optional
        Per channel, what the network's training images were then divided by. None is
        torchvision's for weights by name, else 1.
    image_shape : tuple (height, width) or (height, width, channels), optional
        Shape of the images whose pixels are the rows of a 2-D X.
    device : str, default="auto"
        "auto" is the CUDA device, if there is one, and else the CPU.
    random_state : int, RandomState instance or None, default=0
        Seed of the random projections.

    Attributes
    ----------
    network_ : torch.nn.Module
        The network, on the CPU.
    layer_slices_ : dict of str to slice
        Columns of ``transform`` that belong to each layer.
    sample_shape_ : tuple
        (channels, height, width) of the images or (n_features,).
    n_features_in_ : int
        Number of values per sample.
    feature_names_in_ : array of str
        Column names, if the training samples had any.

    Examples
    --------
    >>> import numpy as np
    >>> from torchvision.models import resnet18
    >>> from skanomaly import PretrainedEncoder
    >>> images = np.random.default_rng(0).integers(0, 256, (4, 32, 32), dtype=np.uint8)
    >>> encoder = PretrainedEncoder(resnet18(), layers=["layer2 (1x1)"], mean=[0.5] * 3)
    >>> encoder.fit_transform(images).shape
    (4, 128)
    """

    _parameter_constraints: dict = {
        "backbone": [str, torch.nn.Module],
        "weights": [str, os.PathLike],
        "layers": [StrOptions({"blocks", "all", "last"}), list],
        "max_map_width": [Interval(Integral, 1, None, closed="left"), None],
        "image_size": [Interval(Integral, 1, None, closed="left"), None],
        "mean": ["array-like", None],
        "std": ["array-like", None],
        "image_shape": [tuple, None],
        "device": [str],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        backbone="resnet18",
        weights="DEFAULT",
        *,
        layers="blocks",
        max_map_width=256,
        image_size=None,
        mean=None,
        std=None,
        image_shape=None,
        device="auto",
        random_state=0,
    ):
        self.backbone = backbone
        self.weights = weights
        self.layers = layers
        self.max_map_width = max_map_width
        self.image_size = image_size
        self.mean = mean
        self.std = std
        self.image_shape = image_shape
        self.device = device
        self.random_state = random_state

    @atomic_fit
    def fit(self, X, y=None):
        """Load the network.

        Parameters
        ----------
        X : images or table
            At least 2 samples, of which only the shape matters.
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            If X is neither a table nor images, or backbone, weights, layers or device do not fit.
        OSError
            If the weights cannot be read or downloaded.
        """
        X = check_samples(self, X, reset=True, image_shape=self.image_shape)
        resolve_device(self.device)
        network = self._load(X.shape[1:])
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        with SeededDraws(seed):
            self.layer_slices_ = self._prepare_layers(network, X)
        self._keep_network(network, X, "its weights or mean and std do not suit X")
        return self

    def _load(self, sample_shape: tuple[int, ...]) -> EncoderNetwork:
        """Preprocessing and backbone for samples of this shape."""
        preprocessing = self._make_preprocessing(sample_shape)
        if len(sample_shape) == 3:
            n_channels = max(sample_shape[0], len(preprocessing.center))
            sample_shape = (n_channels, *(preprocessing.image_size or sample_shape[1:]))
        module = self.backbone
        if isinstance(module, str):
            module = load_torchvision(module, self.weights)
        return EncoderNetwork(as_backbone(module, sample_shape), preprocessing)

    def _make_preprocessing(self, sample_shape: tuple[int, ...]) -> Preprocessing:
        by_name = isinstance(self.backbone, str)
        mean = IMAGENET_MEAN if self.mean is None and by_name else self.mean
        std = IMAGENET_STD if self.std is None and by_name else self.std
        n_channels = max(len(values) for values in ([0.0], mean, std) if values is not None)
        if len(sample_shape) == 1:
            return Preprocessing()
        center = _per_channel("mean", mean, 0.0, n_channels)
        scale = _per_channel("std", std, 1.0, n_channels)
        if min(scale) <= 0:
            raise ValueError(f"std={self.std}; pass values above 0")
        if sample_shape[0] != 1 and n_channels not in (1, sample_shape[0]):
            raise ValueError(
                f"mean and std are of {n_channels} channels, but the images have {sample_shape[0]}"
            )
        size = self.image_size or (224 if by_name else None)
        return Preprocessing(center, scale, None if size is None else (size, size))


def _per_channel(
    name: str, values: Sequence[float] | None, default: float, n_channels: int
) -> list[float]:
    values = [default] if values is None else [float(value) for value in values]
    if len(values) not in (1, n_channels):
        raise ValueError(f"{name}={values} has {len(values)} values; pass {n_channels}")
    return values * n_channels if len(values) == 1 else values
