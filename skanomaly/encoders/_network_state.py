"""Networks as plain data, so that files of models hold arrays and settings but no code."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from .._training import SeededDraws, survive_fork
from ._architectures import load_timm, load_torchvision, make_backbone
from ._backbones import Backbone
from ._encoder_network import EncoderNetwork, SparseProjection
from ._preprocessing import Preprocessing
from .objectives import make_objective


def network_state(network: EncoderNetwork) -> Any:
    """Settings and weights of a network; the network itself if it has parts of the user's own."""
    backbone, objective = network.backbone, network.objective
    if backbone.source is None or (objective is not None and objective.source is None):
        return network
    return {
        "backbone": {
            "source": backbone.source,
            "blocks": backbone.blocks,
            "embedding_dim": backbone.embedding_dim,
            "n_channels": backbone.n_channels,
            "patch_grid": backbone.patch_grid,
        },
        "image_size": network.preprocessing.image_size,
        "objective": None if objective is None else objective.source,
        "projections": {
            name: projection.out_width for name, projection in network.projections.items()
        },
        "is_of_tables": network.is_of_tables,
        "is_channels_last": _is_channels_last(network),
        "weights": {name: values.numpy() for name, values in network.state_dict().items()},
        "onnx": network.onnx,
    }


def network_of_state(state: Any) -> EncoderNetwork:
    """The network that `network_state` described.

    Raises
    ------
    RuntimeError
        If the weights are not those of such a network.
    """
    if isinstance(state, EncoderNetwork):
        return state
    survive_fork()
    weights = {name: torch.from_numpy(np.array(w)) for name, w in state["weights"].items()}
    center, scale = weights["preprocessing.center"], weights["preprocessing.scale"]
    preprocessing = Preprocessing(center, scale, _as_tuple(state["image_size"]))
    objective = None
    module = _make_module(*state["backbone"]["source"])
    with torch.device("meta"):  # weights come from the state, all of them
        if state["objective"] is not None:
            objective = make_objective(**state["objective"])
        backbone = Backbone(
            module,
            state["backbone"]["blocks"],
            state["backbone"]["embedding_dim"],
            state["backbone"]["n_channels"],
            _as_tuple(state["backbone"]["patch_grid"]),
        )
        backbone.source = state["backbone"]["source"]
        network = EncoderNetwork(backbone, preprocessing, objective, state["is_of_tables"])
        for name, width in state["projections"].items():
            order, signs = (weights[f"projections.{name}.{part}"] for part in ("order", "signs"))
            network.projections[name] = SparseProjection(order, signs, width)
    _fold_as(network, weights)
    dtype = next(w.dtype for w in weights.values() if w.is_floating_point())
    network.to(dtype).load_state_dict(weights, assign=True)
    if state["is_channels_last"]:
        network.to(memory_format=torch.channels_last)
    network.onnx = state["onnx"]
    return network.eval()


def _make_module(kind: str, name: str, sample_shape: tuple[int, ...]) -> nn.Module:
    if kind == "timm":  # some of its buffers are not among the weights
        with SeededDraws(0):
            return load_timm(name, None, sample_shape[1:])
    with torch.device("meta"):
        if kind == "torchvision":
            return load_torchvision(name)
        return make_backbone(name, tuple(sample_shape)).network


def _fold_as(network: nn.Module, weights: dict[str, torch.Tensor]) -> None:
    """Fold the batch norms that have no weights into the convolutions before them."""
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.BatchNorm2d) and f"{name}.running_mean" not in weights:
            network.set_submodule(name, nn.Identity())
        if isinstance(module, nn.Conv2d) and module.bias is None and f"{name}.bias" in weights:
            module.bias = nn.Parameter(torch.empty(module.out_channels, device="meta"))


def _is_channels_last(network: nn.Module) -> bool:
    return any(
        weight.ndim == 4
        and weight.is_contiguous(memory_format=torch.channels_last)
        and not weight.is_contiguous()
        for weight in network.parameters()
    )


def _as_tuple(values: Any) -> Any:
    return None if values is None else tuple(values)
