"""Preprocessing, backbone and objective as one network, and the outputs of its layers."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from ._architectures import make_backbone
from ._backbones import Backbone, as_backbone, average_positions, outputs_of
from ._preprocessing import Preprocessing
from .objectives import Objective, make_objective

POOLED = " (1x1)"  # suffix of a pooled map, as the paper writes it
HEAD = "head_layer_"
COLUMNS = "columns"  # of a table, standardised


class SparseProjection(nn.Module):
    """Random projection of wide vectors that keeps inner products, and so angles, on average.

    Coordinates get random signs and are dealt into `out_width` buckets of equal size, whose sums
    are the result: a Johnson-Lindenstrauss projection with one entry per coordinate (count
    sketch; Charikar, Chen and Farach-Colton, 2002), which is stored and computed in linear cost.
    """

    order: torch.Tensor
    signs: torch.Tensor

    def __init__(self, order: torch.Tensor, signs: torch.Tensor, out_width: int):
        super().__init__()
        self.out_width = out_width
        self.register_buffer("order", order)
        self.register_buffer("signs", signs)

    @classmethod
    def draw(cls, in_width: int, out_width: int) -> SparseProjection:
        """A random projection of vectors of a width."""
        filling = -in_width % out_width  # dealt with sign 0
        order = torch.cat([torch.randperm(in_width), torch.zeros(filling, dtype=torch.long)])
        signs = torch.randint(2, (in_width,), dtype=torch.float32) * 2 - 1
        return cls(order, torch.cat([signs, torch.zeros(filling)]), out_width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # index_select is several times as fast as x[:, order]
        dealt = x.index_select(1, self.order).mul_(self.signs)
        return dealt.unflatten(1, (-1, self.out_width)).sum(dim=1)


class EncoderNetwork(nn.Module):
    """Preprocessing, backbone and objective in one module.

    Parameters
    ----------
    backbone : Backbone
        Its blocks are the layers ``conv_block_n``, flattened, and ``conv_block_n (1x1)``, averaged
        over positions, or ``transformer_block_n`` alike; of tables they are ``dense_block_n``.
        Submodules are layers by their names in it, too, flattened or with " (1x1)" averaged.
    preprocessing : Preprocessing or Identity
        Makes of samples what the backbone takes.
    objective : Objective, optional
        The layers of its projector are ``head_layer_n``.
    is_of_tables : bool
        Whether the samples are rows of a table, whose first layer is ``columns``.
    """

    def __init__(
        self,
        backbone: Backbone,
        preprocessing: nn.Module,
        objective: Objective | None = None,
        is_of_tables: bool = False,
    ):
        super().__init__()
        self.is_of_tables = is_of_tables
        self.preprocessing: Any = preprocessing
        self.backbone = backbone
        self.objective: Any = objective
        self.projections = nn.ModuleDict()
        self.onnx: Any = None  # OnnxBlocks that compute the layers, if that is wanted

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Embeddings of a batch."""
        return self.backbone(self.preprocessing(x))

    @property
    def layer_names(self) -> list[str]:
        """Blocks and layers of the head, in the order of computation."""
        names = [COLUMNS] if self.is_of_tables else []
        for block in self.backbone.blocks:
            names.append(block)
            if block in self.backbone.maps:
                names.append(block + POOLED)
        n_head_layers = 0 if self.objective is None else len(self.objective.projector)
        return names + [f"{HEAD}{i + 1}" for i in range(n_head_layers)]

    def has_layer(self, name: str) -> bool:
        """Whether `name` is one of `layer_names`, or a submodule of the backbone."""
        known = isinstance(name, str) and self.backbone.has_block(name.removesuffix(POOLED))
        return known or name in self.layer_names

    def project_wide_maps(self, x: torch.Tensor, layers: Sequence[str], max_width: int) -> None:
        """From now on, flattened maps with more than `max_width` values are projected to it."""
        self.eval()
        with torch.no_grad():
            for layer, features in self.feature_maps(x, layers).items():
                is_map = not layer.endswith(POOLED) and not layer.startswith(HEAD)
                if features.shape[1] > max_width and is_map:
                    self.projections[_key(layer)] = SparseProjection.draw(
                        features.shape[1], max_width
                    )

    def feature_maps(
        self, x: torch.Tensor, layers: Sequence[str], flat: bool = True
    ) -> dict[str, torch.Tensor]:
        """The named layers' outputs for a batch, each of shape (n, width).

        As the layers give them, (n, channels, height, width) for blocks, if not `flat`.
        """
        if self.onnx is not None:
            return self._feature_maps_by_onnx(x, layers, flat)

        def keep(layer: str, output: Any) -> torch.Tensor:
            if not isinstance(output, torch.Tensor) or output.ndim < 2 or len(output) != len(x):
                raise ValueError(f"layer {layer!r} does not return a tensor of one row per sample")
            output = self.backbone.arrange(layer.removesuffix(POOLED), output)
            if flat:
                return self._as_vectors(output, layer)
            return output.clone(memory_format=torch.contiguous_format)

        modules = {layer: self.layer_module(layer) for layer in layers}
        # blocks are called once, so that nothing after the last of them is needed
        stop = all(layer.removesuffix(POOLED) in self.backbone.blocks for layer in layers)
        with outputs_of(modules, keep, stop) as outputs:
            embedding = self(x)
            if any(layer.startswith(HEAD) for layer in layers):
                self.objective.project(embedding)
        unused = [layer for layer in layers if layer not in outputs]
        if unused:
            raise ValueError(f"layers={unused} of the backbone are not used; pass others")
        return {layer: outputs[layer] for layer in layers}

    def _feature_maps_by_onnx(
        self, x: torch.Tensor, layers: Sequence[str], flat: bool
    ) -> dict[str, torch.Tensor]:
        blocks = {layer: layer.removesuffix(POOLED) for layer in layers}
        parts = self.onnx(self.preprocessing(x), list(dict.fromkeys(blocks.values())))
        # part by part, since their maps stay in the cache and are large to join
        return {
            layer: torch.cat([self._as_vectors(y[name], layer) if flat else y[name] for y in parts])
            for layer, name in blocks.items()
        }

    def layer_module(self, layer: str) -> nn.Module:
        """The submodule that returns a layer."""
        head = re.fullmatch(rf"{HEAD}(\d+)", layer)
        if head and self.objective is not None:
            return self.objective.projector[int(head[1]) - 1]
        if layer == COLUMNS:
            return self.preprocessing
        return self.backbone.block(layer.removesuffix(POOLED))

    def _as_vectors(self, output: torch.Tensor, layer: str) -> torch.Tensor:
        if layer.endswith(POOLED):
            features = average_positions(output)
        else:
            features = output.flatten(start_dim=1)
        if _key(layer) in self.projections:
            return self.projections[_key(layer)](features)
        return features.clone()


def make_network(
    X: np.ndarray,
    backbone: str | nn.Module | EncoderNetwork,
    objective: str | Callable,
    normalize: str | None,
    temperature: float,
) -> EncoderNetwork:
    """The network that is trained on samples like X.

    Parameters
    ----------
    X : array
        Validated images or a table of standardised columns.
    backbone : str, nn.Module or EncoderNetwork
        "auto", a name, a module, or a network whose backbone and preprocessing are taken.
    objective, normalize, temperature
        As in `make_objective`.

    Raises
    ------
    ValueError, TypeError
        If backbone or objective do not suit X.
    """
    is_table = X.ndim == 2
    if isinstance(backbone, EncoderNetwork):
        network, preprocessing = backbone.backbone, backbone.preprocessing
    else:
        preprocessing = Preprocessing.of(X)
        if isinstance(backbone, nn.Module):
            network = as_backbone(backbone, X.shape[1:])
        else:
            default = "mlp" if is_table else "compact"
            network = make_backbone(default if backbone == "auto" else backbone, X.shape[1:])
    loss = make_objective(objective, network.embedding_dim, normalize, temperature)
    if loss.shifted and (is_table or X.shape[2] != X.shape[3]):
        found = "a table" if is_table else f"images of {X.shape[2]} x {X.shape[3]} pixels"
        raise ValueError(
            f"objective={objective!r} turns images by 90 degrees, but X is {found}; pass "
            "square images or another objective"
        )
    return EncoderNetwork(network, preprocessing, loss, is_of_tables=is_table)


def _key(layer: str) -> str:
    # names of modules contain no dots, and must not be those of methods
    return "of " + layer.replace(".", "/")
