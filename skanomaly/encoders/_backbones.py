"""Networks from elsewhere as backbones: their blocks are found by running them."""

from __future__ import annotations

import copy
from collections import Counter

import torch
from torch import nn

EMBEDDING = "embedding"


class Backbone(nn.Module):
    """A network with named blocks.

    Parameters
    ----------
    network : nn.Module
        Maps a batch to embeddings of shape (n, embedding_dim), or to maps of that many channels,
        (n, embedding_dim, height, width) or (n, n_tokens, embedding_dim), that are averaged.
    blocks : dict of str to str
        Layer name -> name of the submodule of `network` whose output is that layer.
    embedding_dim : int
        Width of the embedding.
    """

    def __init__(self, network: nn.Module, blocks: dict[str, str], embedding_dim: int):
        super().__init__()
        self.network = network
        self.blocks = blocks
        self.embedding_dim = embedding_dim

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return average_positions(self.network(x))

    def block(self, layer: str) -> nn.Module:
        """The submodule behind a layer name, or with that name in the network itself."""
        if layer == EMBEDDING:
            return self
        return self.network.get_submodule(self.blocks.get(layer, layer))

    def has_block(self, layer: str) -> bool:
        """Whether there is such a layer, by its name here or by that in the network itself."""
        named = (name for name, _ in self.network.named_modules() if name)
        return layer == EMBEDDING or layer in self.blocks or layer in named


def average_positions(outputs: torch.Tensor) -> torch.Tensor:
    """Maps (n, c, h, w) and tokens (n, t, c) as vectors (n, c); vectors stay."""
    if outputs.ndim == 4:
        return outputs.mean(dim=(2, 3))
    return outputs.mean(dim=1) if outputs.ndim == 3 else outputs


def as_backbone(module: nn.Module, sample_shape: tuple[int, ...]) -> Backbone:
    """A copy of a module as a backbone.

    Blocks of a convolutional network are what it ends with at each resolution:
    ``conv_block_n``. Those of other networks are the outputs of their direct children with
    vectors or tokens: ``dense_block_n``. Only submodules with weights are considered; all can be
    named as layers besides. ``embedding`` is what the network returns, if that is more than the
    average of its last block.

    Parameters
    ----------
    module : nn.Module
        Takes batches of float samples.
    sample_shape : (channels, height, width) or (n_features,)
        Shape of one sample.

    Raises
    ------
    ValueError
        If the module cannot take such samples, or does not return a tensor of one row per sample.
    """
    module = copy.deepcopy(module).float()
    described = " x ".join(map(str, sample_shape))
    outputs: list[tuple[str, tuple[int, ...]]] = []
    hooks = [
        child.register_forward_hook(
            lambda m, args, output, name=name: outputs.append((name, _shape(output)))
        )
        for name, child in module.named_modules()
        if name and any(True for _ in child.parameters())
    ]
    was_training = module.training
    try:
        with torch.no_grad():
            found = module.eval()(torch.zeros(2, *sample_shape))
    except (RuntimeError, ValueError, AssertionError, TypeError) as error:
        raise ValueError(
            f"backbone {type(module).__name__} does not take a batch of samples of shape "
            f"{described}: {error}"
        ) from error
    finally:
        for hook in hooks:
            hook.remove()
        module.train(was_training)
    shape = _shape(found)
    if len(shape) not in (2, 3, 4) or shape[0] != 2:
        raise ValueError(
            f"backbone {type(module).__name__} returns {shape or type(found).__name__} for a batch "
            f"of 2 samples of shape {described}; pass a module that returns (n, width), "
            "(n, channels, height, width) or (n, tokens, width)"
        )
    embedding_dim = shape[2] if len(shape) == 3 else shape[1]
    blocks = _name_blocks(outputs, sample_shape)
    last = dict(outputs)[list(blocks.values())[-1]] if blocks else (0,)
    last_width = last[1] if len(last) == 4 else last[-1]
    if len(shape) != 4 and embedding_dim != last_width:
        blocks[EMBEDDING] = ""
    elif not blocks:
        blocks["conv_block_1"] = ""  # the module itself
    return Backbone(module, blocks, embedding_dim)


def _shape(output: object) -> tuple[int, ...]:
    return tuple(output.shape) if isinstance(output, torch.Tensor) else ()


def _name_blocks(
    outputs: list[tuple[str, tuple[int, ...]]], sample_shape: tuple[int, ...]
) -> dict[str, str]:
    """Blocks of a network from its submodules' output shapes, in the order of computation."""
    calls = Counter(name for name, _ in outputs)
    outputs = [(name, shape) for name, shape in outputs if calls[name] == 1 and shape[:1] == (2,)]
    stages: dict[tuple[int, ...], str] = {}
    for name, shape in outputs:
        if len(shape) == 4 and _is_reduced(shape[2:], sample_shape[1:]):
            best = stages.get(shape[2:])
            # the outermost of the modules at a resolution, and of these the last
            if best is None or name.count(".") <= best.count("."):
                stages[shape[2:]] = name
    if stages:
        return {f"conv_block_{i}": name for i, name in enumerate(stages.values(), start=1)}
    children = [name for name, shape in outputs if "." not in name and len(shape) in (2, 3)]
    return {f"dense_block_{i}": name for i, name in enumerate(dict.fromkeys(children), start=1)}


def _is_reduced(resolution: tuple[int, ...], image: tuple[int, ...]) -> bool:
    """Whether a map has the image's proportions; maps with channels last have not."""
    (height, width), (image_height, image_width) = resolution, image
    if max(resolution) == 1:
        return False
    scale = max(image_height / height, image_width / width)
    return abs(image_height / scale - height) <= 1 and abs(image_width / scale - width) <= 1
