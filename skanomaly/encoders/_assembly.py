"""The network and the views that parameters of `SelfSupervisedEncoder` name."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ._architectures import make_backbone
from ._augmentations import PRESETS, ColumnCorruption
from ._backbones import Backbone, as_backbone
from ._encoder_network import EncoderNetwork
from ._preprocessing import Preprocessing
from ._pretrained import PretrainedEncoder
from .objectives import OBJECTIVES, Objective


def make_network(
    X: np.ndarray,
    backbone: str | torch.nn.Module | PretrainedEncoder,
    objective: str | Callable,
    normalize: str | None,
    temperature: float,
) -> EncoderNetwork:
    """Preprocessing, backbone and objective for samples like X.

    Raises
    ------
    ValueError, TypeError
        If backbone or objective do not suit X.
    """
    if isinstance(backbone, PretrainedEncoder):
        pretrained = backbone._load(X.shape[1:])
        network, preprocessing = pretrained.backbone, pretrained.preprocessing
    else:
        network, preprocessing = _make_backbone(backbone, X), Preprocessing.of(X)
    loss = _make_objective(network, objective, normalize, temperature)
    if loss.shifted and (X.ndim == 2 or X.shape[2] != X.shape[3]):
        found = "a table" if X.ndim == 2 else f"images of {X.shape[2]} x {X.shape[3]} pixels"
        raise ValueError(
            f"objective={objective!r} turns images by 90 degrees, but X is {found}; pass "
            "square images or another objective"
        )
    return EncoderNetwork(network, preprocessing, loss, is_of_tables=X.ndim == 2)


def _make_backbone(backbone: str | torch.nn.Module, X: np.ndarray) -> Backbone:
    if isinstance(backbone, torch.nn.Module):
        return as_backbone(backbone, X.shape[1:])
    default = "mlp" if X.ndim == 2 else "compact"
    return make_backbone(default if backbone == "auto" else backbone, X.shape[1:])


def _make_objective(
    backbone: Backbone, objective: str | Callable, normalize: str | None, temperature: float
) -> Objective:
    options: dict[str, Any] = {
        "normalize_embedding": normalize in ("both", "embedding"),
        "normalize_projection": normalize in ("both", "projection"),
    }
    if isinstance(objective, torch.nn.Module):
        raise TypeError(
            f"objective is a {type(objective).__name__} that is built already; pass the class, or "
            "a function of the embedding's width that returns it"
        )
    if not isinstance(objective, str):
        made = objective(backbone.embedding_dim, **options)
        if not isinstance(made, Objective):
            raise TypeError(
                f"objective={objective!r} returned {type(made).__name__}; pass a callable that "
                "returns a skanomaly.encoders.Objective"
            )
        return made
    if objective in ("simclr", "simclr-shifted"):
        options["temperature"] = temperature
    return OBJECTIVES[objective](backbone.embedding_dim, **options)


def make_augmentation(
    X: np.ndarray, augment: str | Callable | None, device: torch.device
) -> Callable:
    """A function that returns random views of batches of samples like X.

    Raises
    ------
    ValueError
        If `augment` is the name of views of images, and X is a table.
    """
    if isinstance(augment, str) and X.ndim == 2:
        raise ValueError(f"augment={augment!r} is for images; pass None or a callable")
    if isinstance(augment, torch.nn.Module):
        return copy.deepcopy(augment).to(device)
    if callable(augment):
        return augment
    return ColumnCorruption() if X.ndim == 2 else PRESETS[augment or "color"]()
