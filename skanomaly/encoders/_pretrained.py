"""Features of pretrained networks."""

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
from ._architectures import load_timm, load_torchvision, timm_config
from ._backbones import as_backbone, takes_images
from ._base_encoder import BaseEncoder, cpu_batch
from ._encoder_network import EncoderNetwork
from ._inference import optimize_for_inference
from ._onnx import OnnxBlocks
from ._preprocessing import Preprocessing, as_float

TIMM = "timm:"  # begins the names of timm's networks
# of the photographs that torchvision's weights were trained on, per channel
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
IMAGENET_SIZE = 224


class PretrainedEncoder(BaseEncoder):
    """Features of a pretrained network.

    ``fit`` loads the network and checks that it takes samples of the shape of X. Nothing is
    trained. To fine-tune the network on X, pass the encoder as the `backbone` of
    :class:`SelfSupervisedEncoder`.

    Pretrained features help most when there are few images. They can fail when X differs a lot
    from the images that the network was trained on (section 3.2.5 of [1]_ shows this for
    street-view digits), so compare them with a network that is trained on X.

    Parameters
    ----------
    backbone : str or torch.nn.Module, default="resnet18"
        Name of a classifier of torchvision, whose last linear layer is removed; "timm:" and the
        name of one of timm's networks, such as "timm:vit_small_patch14_dinov2.lvd142m", if timm is
        installed; or a module that maps float samples to (n, width), (n, channels, height, width)
        or (n, tokens, width). The module is copied. Gray images are repeated as three channels for
        networks that take colour images.
    weights : str, path-like or None, default="DEFAULT"
        Weights of a network that is given by name: "DEFAULT" or the name of torchvision's weights,
        such as "IMAGENET1K_V1", which are downloaded when first used; the path of a file with a
        state dict; or None for random weights. Ignored for modules, which keep their weights.
    layers : {"blocks", "last"} or list of str, default="blocks"
        Layers that ``transform`` returns. "blocks" are the last outputs at each resolution,
        flattened (``conv_block_n``) and averaged over positions (``conv_block_n (1x1)``); of a
        vision transformer the patches' tokens after four of its blocks, evenly spaced
        (``transformer_block_n``), likewise, and what it returns (``embedding``). For a network
        without convolutions they are the outputs of its direct children
        (``dense_block_n``). "last" is the last block. A list may also contain names of
        submodules; append " (1x1)" to average over positions.
    max_map_width : int or None, default=256
        Flattened maps with more values are reduced to this many by a random projection that
        preserves angles on average. None keeps all values.
    image_size : int or None, default=None
        Height and width to which images are resized. None means 224 for a network given by name,
        or what timm says of it, and no resizing for a module. Vision transformers need a multiple
        of their patches' size.
    mean : sequence of float, optional
        Mean of each channel, subtracted from images in [0, 1]. Gray images are repeated as that
        many channels. None means that of ImageNet for a network given by name, or what timm says of
        it, else 0.
    std : sequence of float, optional
        Standard deviation of each channel, by which images are then divided. None is as for `mean`,
        else 1.
    image_shape : tuple (height, width) or (height, width, channels), optional
        Shape of the images if X is 2-D and each row holds the pixels of an image.
    engine : {"torch", "onnx"}, default="torch"
        The library that computes the features of images. "onnx" is onnxruntime, which is faster on
        CPUs. It must be installed wherever the encoder is used, and makes its pickles twice as
        large.
    device : str, default="auto"
        "auto" is the CUDA device if there is one, otherwise the CPU.
    random_state : int, RandomState instance or None, default=0
        Seed of the random projections and of random weights.

    Attributes
    ----------
    network_ : torch.nn.Module
        The network, on the CPU. Batch norms are folded into the convolutions before them where
        the layers' outputs stay the same.
    layer_slices_ : dict of str to slice
        Columns of ``transform`` that belong to each layer.
    sample_shape_ : tuple
        (channels, height, width) of the images or (n_features,).
    n_features_in_ : int
        Number of values per sample.
    feature_names_in_ : array of str
        Column names, if the training samples had any.

    See Also
    --------
    SelfSupervisedEncoder : Trains a network on X.
    NSADetector : Detects anomalies by the features of an encoder.

    References
    ----------
    .. [1] M. Yousef, M. Ackermann, U. Kurup and T. Bishop, "No Shifted Augmentations (NSA):
       compact distributions for robust self-supervised anomaly detection", 2022.
       https://arxiv.org/abs/2203.10344

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
        "weights": [str, os.PathLike, None],
        "layers": [StrOptions({"blocks", "last"}), list],
        "max_map_width": [Interval(Integral, 1, None, closed="left"), None],
        "image_size": [Interval(Integral, 1, None, closed="left"), None],
        "mean": ["array-like", None],
        "std": ["array-like", None],
        "image_shape": [tuple, None],
        "engine": [StrOptions({"torch", "onnx"})],
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
        engine="torch",
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
        self.engine = engine
        self.device = device
        self.random_state = random_state

    @atomic_fit
    def fit(self, X, y=None):
        """Load the network and choose its layers.

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
        ImportError
            If backbone is one of timm's networks, or engine is "onnx", and the package is not
            installed.
        OSError
            If the weights cannot be read or downloaded.
        """
        X = check_samples(self, X, reset=True, image_shape=self.image_shape)
        resolve_device(self.device)
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        with SeededDraws(seed):
            network = self._load(X.shape[1:])
            self.layer_slices_ = self._prepare_layers(network, X)
            if X.ndim == 4:
                layers = [*network.backbone.blocks, *self.layer_slices_]
                sample = torch.rand(2, *X.shape[1:])
                network = optimize_for_inference(network, sample, layers)
        if self.engine == "onnx":
            network.onnx = self._export(network, X)
        self._keep_network(network, X, "its weights or mean and std do not suit X")
        return self

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = not self._takes_images() or self.image_shape is not None
        return tags

    def _export(self, network: EncoderNetwork, X: np.ndarray) -> OnnxBlocks:
        if X.ndim == 2:
            raise ValueError("engine='onnx' is for images, but X is a table; pass engine='torch'")
        if self.device not in ("auto", "cpu"):
            raise ValueError(
                f"engine='onnx' computes on the CPU, but device={self.device!r}; pass device='cpu'"
            )
        sample = as_float(torch.from_numpy(np.array(X[:2])))
        batch_size = cpu_batch(network, X)
        return OnnxBlocks(network.eval(), sample, list(self.layer_slices_), batch_size)

    def _takes_images(self) -> bool:
        return isinstance(self.backbone, str) or takes_images(self.backbone)

    @property
    def _is_resizing(self) -> bool:
        return self.image_size is not None or isinstance(self.backbone, str)

    def _load(self, sample_shape: tuple[int, ...]) -> EncoderNetwork:
        """Preprocessing and backbone for samples of this shape."""
        preprocessing = self._make_preprocessing(sample_shape)
        if len(sample_shape) == 3:
            n_channels = max(sample_shape[0], len(preprocessing.center))
            sample_shape = (n_channels, *(preprocessing.image_size or sample_shape[1:]))
        module, source = self.backbone, None
        if isinstance(module, str):
            if len(sample_shape) == 1:
                raise ValueError(
                    f"backbone={module!r} takes images, but X is a table; pass images, or "
                    "image_shape if its rows are flattened images"
                )
            kind = "timm" if module.startswith(TIMM) else "torchvision"
            source = kind, module.removeprefix(TIMM), sample_shape
            if kind == "timm":
                module = load_timm(source[1], self.weights, sample_shape[1:])
            else:
                module = load_torchvision(module, self.weights)
        backbone = as_backbone(module, sample_shape)
        backbone.source = source
        return EncoderNetwork(backbone, preprocessing)

    def _defaults(self) -> tuple[Sequence[float] | None, Sequence[float] | None, int | None]:
        """Mean, std and image size of a network that is given by name."""
        if not isinstance(self.backbone, str):
            return None, None, None
        if self.backbone.startswith(TIMM):
            config = timm_config(self.backbone.removeprefix(TIMM))
            return config.mean, config.std, config.input_size[1]
        return IMAGENET_MEAN, IMAGENET_STD, IMAGENET_SIZE

    def _make_preprocessing(self, sample_shape: tuple[int, ...]) -> Preprocessing:
        default_mean, default_std, default_size = self._defaults()
        mean = default_mean if self.mean is None else self.mean
        std = default_std if self.std is None else self.std
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
        size = self.image_size or default_size
        return Preprocessing(center, scale, None if size is None else (size, size))


def _per_channel(
    name: str, values: Sequence[float] | None, default: float, n_channels: int
) -> list[float]:
    values = [default] if values is None else [float(value) for value in values]
    if len(values) not in (1, n_channels):
        raise ValueError(f"{name}={values} has {len(values)} values; pass {n_channels}")
    return values * n_channels if len(values) == 1 else values
