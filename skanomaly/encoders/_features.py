"""The trained network as a source of named feature maps."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import nn

from ._networks import Backbone
from .objectives import Objective

POOLED = " (1x1)"  # suffix of a pooled map, as the paper writes it
HEAD = "head_layer_"


class SparseProjection(nn.Module):
    """Random projection of wide vectors that keeps inner products, and so angles, on average.

    Coordinates get random signs and are dealt into `out_width` buckets of equal size, whose sums
    are the result: a Johnson-Lindenstrauss projection with one entry per coordinate (count
    sketch; Charikar, Chen and Farach-Colton, 2002), which is stored and computed in linear cost.
    """

    order: torch.Tensor
    signs: torch.Tensor

    def __init__(self, in_width: int, out_width: int):
        super().__init__()
        self.out_width = out_width
        filling = -in_width % out_width  # dealt with sign 0
        order = torch.cat([torch.randperm(in_width), torch.zeros(filling, dtype=torch.long)])
        signs = torch.randint(2, (in_width,), dtype=torch.float32) * 2 - 1
        self.register_buffer("order", order)
        self.register_buffer("signs", torch.cat([signs, torch.zeros(filling)]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x[:, self.order] * self.signs).unflatten(1, (-1, self.out_width)).sum(dim=1)


class EncoderNetwork(nn.Module):
    """Input standardisation, backbone and objective in one module.

    Parameters
    ----------
    backbone : Backbone
        Its blocks are the layers ``conv_block_n``, flattened, and ``conv_block_n (1x1)``, averaged
        over positions; of tables they are ``dense_block_n``.
    objective : Objective
        The layers of its projector are ``head_layer_n``.
    center, scale : tensor
        Inputs x become (x - center) / scale. They broadcast to a batch.
    """

    backbone: Backbone
    objective: Objective
    center: torch.Tensor
    scale: torch.Tensor

    def __init__(
        self, backbone: Backbone, objective: Objective, center: torch.Tensor, scale: torch.Tensor
    ):
        super().__init__()
        self.backbone = backbone
        self.objective = objective
        self.register_buffer("center", center)
        self.register_buffer("scale", scale)
        self.projections = nn.ModuleDict()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Embeddings of a batch."""
        return self.backbone((x - self.center) / self.scale)

    @property
    def layer_names(self) -> list[str]:
        """All layers, in the order of computation."""
        names = []
        for block in self.backbone.blocks:
            names.append(block)
            if block.startswith("conv"):
                names.append(block + POOLED)
        return names + [f"{HEAD}{i + 1}" for i in range(len(self.objective.projector))]

    def project_wide_maps(self, x: torch.Tensor, layers: Sequence[str], max_width: int) -> None:
        """From now on, flattened maps with more than `max_width` values are projected to it."""
        self.eval()
        with torch.no_grad():
            for layer, features in self.feature_maps(x, layers).items():
                if features.shape[1] > max_width and layer in self.backbone.blocks:
                    self.projections[layer] = SparseProjection(features.shape[1], max_width)

    def feature_maps(
        self, x: torch.Tensor, layers: Sequence[str], flat: bool = True
    ) -> dict[str, torch.Tensor]:
        """The named layers' outputs for a batch, each of shape (n, width).

        As the layers give them, (n, channels, height, width) for blocks, if not `flat`.
        """
        outputs: dict[str, torch.Tensor] = {}
        hooks = []
        for name in dict.fromkeys(layer.removesuffix(POOLED) for layer in layers):

            def keep(module, args, output, name=name):
                outputs[name] = output

            hooks.append(self._module(name).register_forward_hook(keep))
        try:
            embedding = self(x)
            if any(layer.startswith(HEAD) for layer in layers):
                self.objective.project(embedding)
        finally:
            for hook in hooks:
                hook.remove()
        if not flat:
            return outputs
        return {layer: self._as_vectors(outputs, layer) for layer in layers}

    def _module(self, layer: str) -> nn.Module:
        head = re.fullmatch(rf"{HEAD}(\d+)", layer)
        if head:
            return self.objective.projector[int(head[1]) - 1]
        return self.backbone.block(layer)

    def _as_vectors(self, outputs: dict[str, torch.Tensor], layer: str) -> torch.Tensor:
        if layer.endswith(POOLED):
            return outputs[layer.removesuffix(POOLED)].mean(dim=(2, 3))
        features = outputs[layer].flatten(start_dim=1)
        return self.projections[layer](features) if layer in self.projections else features
