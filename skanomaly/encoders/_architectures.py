"""The networks that a name stands for: compact, ResNets, the MLP and torchvision's classifiers."""

from __future__ import annotations

import os
import pickle

import torch
from torch import nn

from ._backbones import Backbone, as_backbone

MIN_IMAGE_SIZE = 8  # pixels: the backbones reduce the resolution up to eightfold
SMALL_IMAGE = 64  # pixels: up to this size the stem keeps the resolution (paper: 32x32 images)

RESNETS = ("resnet18", "resnet34", "resnet50")


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut, as in ResNet-18."""

    def __init__(self, in_channels: int, out_channels: int, stride: int):
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.convolutions(x) + self.shortcut(x))


def _compact(channels: int, image_size: tuple[int, int]) -> Backbone:
    """A residual network of about 12 M multiply-adds at 32x32, made for training on CPUs.

    Larger images are first averaged by the whole factor that brings them to `SMALL_IMAGE` or below,
    with at least `MIN_IMAGE_SIZE` pixels in the shorter side.
    """
    width = 32
    factor = min(-(-max(image_size) // SMALL_IMAGE), min(image_size) // MIN_IMAGE_SIZE)
    network = nn.Sequential()
    network.add_module("reduction", nn.AvgPool2d(factor) if factor > 1 else nn.Identity())
    network.add_module(
        "stem",
        nn.Sequential(
            nn.Conv2d(channels, width, 3, 2, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        ),
    )
    network.add_module("block1", ResidualBlock(width, width, 1))
    network.add_module("block2", ResidualBlock(width, 2 * width, 2))
    network.add_module("block3", ResidualBlock(2 * width, 4 * width, 2))
    network.add_module("pool", nn.AdaptiveAvgPool2d(1))
    network.add_module("flatten", nn.Flatten())
    return Backbone(network, {f"conv_block_{i}": f"block{i}" for i in (1, 2, 3)}, 4 * width)


def _resnet(name: str, channels: int, image_size: int) -> Backbone:
    """A torchvision ResNet; images up to `SMALL_IMAGE` get a 3x3 stem without max-pooling."""
    from torchvision import models

    network = models.get_model(name, weights=None)
    embedding_dim = network.fc.in_features
    network.fc = nn.Identity()
    width = network.conv1.out_channels
    if image_size <= SMALL_IMAGE:
        network.conv1 = nn.Conv2d(channels, width, 3, 1, 1, bias=False)
        network.maxpool = nn.Identity()
    elif channels != 3:
        network.conv1 = nn.Conv2d(channels, width, 7, 2, 3, bias=False)
    blocks = {f"conv_block_{i}": f"layer{i}" for i in (1, 2, 3, 4)}
    return Backbone(network, blocks, embedding_dim)


def _mlp(n_features: int) -> Backbone:
    """Three fully connected blocks for tables and embeddings."""
    width = 256
    network = nn.Sequential()
    for i, in_width in enumerate((n_features, width, width), start=1):
        # SiLU, unlike ReLU, never maps a whole sample to the zero vector, whose angle is undefined
        network.add_module(
            f"block{i}",
            nn.Sequential(nn.Linear(in_width, width), nn.BatchNorm1d(width), nn.SiLU()),
        )
    return Backbone(network, {f"dense_block_{i}": f"block{i}" for i in (1, 2, 3)}, width)


def make_backbone(name: str, sample_shape: tuple[int, ...]) -> Backbone:
    """Build a backbone with fresh weights.

    Parameters
    ----------
    name : str
        "compact" or the name of one of torchvision's classifiers, such as "resnet18", for images;
        "mlp" for tables.
    sample_shape : (channels, height, width) or (n_features,)
        Shape of one sample.

    Raises
    ------
    ValueError
        If the name is not known, or is not of a network for such samples.
    """
    is_table = len(sample_shape) == 1
    if (name == "mlp") != is_table:
        kind, known = ("tables", "'mlp'") if is_table else ("images", "'compact' or 'resnet18'")
        raise ValueError(f"backbone={name!r} does not take {kind}; pass {known}, or 'auto'")
    backbone = _mlp(*sample_shape) if is_table else _of_images(name, sample_shape)
    backbone.source = "skanomaly", name, sample_shape
    return backbone


def _of_images(name: str, sample_shape: tuple[int, ...]) -> Backbone:
    channels, height, width = sample_shape
    if min(height, width) < MIN_IMAGE_SIZE:
        raise ValueError(
            f"images of {height} x {width} pixels are too small for a convolutional network; "
            f"enlarge them to {MIN_IMAGE_SIZE} pixels or pass a table"
        )
    if name == "compact":
        return _compact(channels, (height, width))
    if name in RESNETS:
        return _resnet(name, channels, max(height, width))
    return as_backbone(load_torchvision(name), sample_shape)


def load_torchvision(name: str, weights: str | os.PathLike | None = None) -> nn.Module:
    """One of torchvision's classifiers without its last linear layer.

    Parameters
    ----------
    name : str
        As in ``torchvision.models.list_models``.
    weights : str or path-like, optional
        Name of weights, a file with a state dict, or None for random ones.

    Raises
    ------
    ValueError
        If there is no such network, or no such weights for it.
    OSError
        If the weights cannot be read or downloaded.
    """
    from torchvision import models

    if name not in models.list_models(models):
        raise ValueError(
            f"backbone={name!r} is none of torchvision's classifiers; pass 'resnet18', another of "
            "torchvision.models.list_models(torchvision.models), or a module"
        )
    if weights is not None and os.path.exists(weights):
        module = models.get_model(name, weights=None)
        _read_state(module, weights)
    else:
        known = [w.name for w in models.get_model_weights(name)]
        if weights not in (None, "DEFAULT", *known):
            raise ValueError(
                f"weights={str(weights)!r} is neither a file nor one of the weights of {name}: "
                f"pass 'DEFAULT' or one of {known}"
            )
        module = _get_model(name, None if weights is None else str(weights))
    if hasattr(module, "aux_logits"):
        module.aux_logits = False  # else training returns a tuple
    last = [name for name, layer in module.named_modules() if isinstance(layer, nn.Linear)][-1:]
    for path in last:
        parent, _, child = path.rpartition(".")
        setattr(module.get_submodule(parent), child, nn.Identity())
    return module


def import_timm():
    try:
        import timm
    except ImportError as error:
        raise ImportError(
            "backbones of names that begin with 'timm:' need timm: pip install 'skanomaly[timm]'"
        ) from error
    return timm


def load_timm(
    name: str, weights: str | os.PathLike | None, image_size: tuple[int, ...]
) -> nn.Module:
    """One of timm's networks without its classifier, for images of a size.

    Parameters
    ----------
    name : str
        As in ``timm.list_models``.
    weights : {"DEFAULT"}, path-like or None
        Those that timm downloads, a file with a state dict, or random ones.
    image_size : (height, width)
        Vision transformers are adapted to it.

    Raises
    ------
    ImportError
        If timm is not installed.
    ValueError
        If there is no such network, or if it has no pretrained weights.
    OSError
        If the weights cannot be read or downloaded.
    """
    timm = import_timm()
    file = weights if weights is not None and os.path.exists(weights) else None
    if file is None and weights not in (None, "DEFAULT"):
        raise ValueError(f"weights={str(weights)!r} is no file; pass a file, 'DEFAULT' or None")
    try:
        module = timm.create_model(name, pretrained=weights is not None and file is None)
    except OSError as error:
        raise OSError(
            f"the weights of timm:{name} cannot be downloaded ({error}); pass the path of a file "
            "with a state dict as weights"
        ) from error
    except RuntimeError as error:
        raise ValueError(f"backbone='timm:{name}': {error}; pass weights=None") from error
    if file is not None:
        _read_state(module, file)
    module.reset_classifier(0)
    if hasattr(module, "set_input_size"):
        module.set_input_size(img_size=image_size)
    return module


def timm_config(name: str):
    """What timm knows of a network: ``mean``, ``std`` and ``input_size`` (channels, height, width).

    Raises
    ------
    ValueError
        If there is no such network.
    """
    timm = import_timm()
    architecture, _, weights = name.partition(".")
    if not timm.is_model(architecture) or (weights and name not in timm.list_pretrained()):
        raise ValueError(
            f"backbone='timm:{name}' is none of timm's networks; pass one of timm.list_models()"
        )
    return timm.get_pretrained_cfg(name)


def _read_state(module: nn.Module, file: str | os.PathLike) -> None:
    try:
        module.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    except (pickle.UnpicklingError, EOFError, RuntimeError, TypeError) as error:
        reason = str(error).strip().splitlines()[:2]
        raise ValueError(
            f"weights={os.fspath(file)!r} is no state dict of this network: {' '.join(reason)}"
        ) from error


def _get_model(name: str, weights: str | None) -> nn.Module:
    from torchvision import models

    try:
        return models.get_model(name, weights=weights)
    except OSError as error:
        if weights is None:
            raise
        url = models.get_model_weights(name)[weights].url
        raise OSError(
            f"the weights of {name} cannot be downloaded ({error}); download {url} on another "
            "machine and pass the path of that file as weights"
        ) from error
