"""Networks with named blocks, and how the blocks of any torch module are found."""

from __future__ import annotations

import copy
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

EMBEDDING = "embedding"
MAPS = ("conv_block_", "transformer_block_")  # what names of blocks with positions begin with
N_TRANSFORMER_BLOCKS = 4  # of a vision transformer's, evenly spaced to its last
MAX_PREFIX_TOKENS = 16  # class, distillation and register tokens before those of the patches


class Backbone(nn.Module):
    """A network with named blocks.

    Parameters
    ----------
    network : nn.Module
        Maps a batch to embeddings of shape (n, embedding_dim), or to maps of that many channels,
        (n, embedding_dim, height, width) or (n, n_tokens, embedding_dim), that are averaged.
    blocks : dict of str to str
        Name of a block -> name of the submodule of `network` that returns it.
    embedding_dim : int
        Width of the embedding.
    n_channels : int, optional
        Channels in which gray images are repeated, for networks that take colours.
    patch_grid : (height, width), optional
        Number of patches of a vision transformer, whose last tokens are those of the patches.
    """

    def __init__(
        self,
        network: nn.Module,
        blocks: dict[str, str],
        embedding_dim: int,
        n_channels: int | None = None,
        patch_grid: tuple[int, int] | None = None,
    ):
        super().__init__()
        self.network = network
        self.blocks = blocks
        self.embedding_dim = embedding_dim
        self.n_channels = n_channels
        self.patch_grid = patch_grid
        # where the network comes from, if that is not the user: kind, name and sample shape
        self.source: tuple[str, str, tuple[int, ...]] | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.n_channels is not None and x.shape[1] == 1:
            x = x.expand(-1, self.n_channels, -1, -1)
        return average_positions(self.network(x))

    def block(self, name: str) -> nn.Module:
        """The submodule that returns a block, or that has this name in the network itself."""
        if name == EMBEDDING:
            return self
        return self.network.get_submodule(self.blocks.get(name, name))

    def has_block(self, name: str) -> bool:
        """Whether there is such a block, by its name here or by that in the network itself."""
        named = (name for name, _ in self.network.named_modules() if name)
        return name == EMBEDDING or name in self.blocks or name in named

    @property
    def maps(self) -> list[str]:
        """Names of the blocks that have positions."""
        return [name for name in self.blocks if name.startswith(MAPS)]

    def arrange(self, name: str, output: torch.Tensor) -> torch.Tensor:
        """A block's output, tokens of patches as a map (n, channels, height, width)."""
        if self.patch_grid is None or name not in self.maps or output.ndim != 3:
            return output
        n_patches = self.patch_grid[0] * self.patch_grid[1]
        return output[:, -n_patches:].transpose(1, 2).unflatten(2, self.patch_grid)


def average_positions(outputs: torch.Tensor) -> torch.Tensor:
    """Maps (n, c, h, w) and tokens (n, t, c) as vectors (n, c); vectors stay."""
    if outputs.ndim == 4:
        return outputs.mean(dim=(2, 3))
    return outputs.mean(dim=1) if outputs.ndim == 3 else outputs


class _AllCollected(Exception):
    """Ends a forward pass of which nothing more is wanted."""


@contextmanager
def outputs_of(
    modules: Mapping[str, nn.Module], keep: Callable[[str, Any], Any], stop: bool = False
) -> Iterator[dict[str, Any]]:
    """Collect what modules return within a ``with`` block.

    Only calls of the thread that entered the block count, so that several threads can use one
    network at once.

    Parameters
    ----------
    modules : dict of str to nn.Module
        The modules by the names under which their outputs are wanted.
    keep : callable
        ``keep(name, output)`` returns what is kept of an output. It is called at once, as the
        next module may change the output in place.
    stop : bool, default=False
        Leave the block as soon as each module has been called once.

    Yields
    ------
    kept : dict
        What was kept of the last output of each module that was called.
    """
    thread = threading.get_ident()
    kept: dict[str, Any] = {}

    def make_hook(name: str) -> Callable:
        def hook(module, args, output):
            if threading.get_ident() == thread:
                kept[name] = keep(name, output)
                if stop and len(kept) == len(modules):
                    raise _AllCollected

        return hook

    handles = [m.register_forward_hook(make_hook(name)) for name, m in modules.items()]
    try:
        yield kept
    except _AllCollected:
        pass
    finally:
        for handle in handles:
            handle.remove()


def as_backbone(module: nn.Module, sample_shape: tuple[int, ...]) -> Backbone:
    """A copy of a module as a backbone.

    Blocks of a convolutional network are what it ends with at each resolution:
    ``conv_block_n``. Those of a vision transformer are ``transformer_block_n``, the patches' tokens
    after four of its blocks, evenly spaced. Those of other networks are the outputs of their direct
    children with vectors or tokens: ``dense_block_n``. Only submodules with weights are considered;
    all can be named as layers besides. ``embedding`` is what the network returns, if that is more
    than the average of its last block. Gray images are repeated for networks whose first
    convolution takes three channels.

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
    n_channels = None
    if len(sample_shape) == 3 and sample_shape[0] == 1 and _first_channels(module) == 3:
        n_channels = 3
        sample_shape = (3, *sample_shape[1:])
    returned, shapes = _try_out(module, sample_shape)
    shape = _shape(returned)
    if len(shape) not in (2, 3, 4) or shape[0] != 2:
        raise ValueError(
            f"backbone {type(module).__name__} returns {shape or type(returned).__name__} for a "
            f"batch of 2 samples of {_describe(sample_shape)}; pass a module that returns "
            "(n, width), (n, channels, height, width) or (n, tokens, width)"
        )
    embedding_dim = shape[2] if len(shape) == 3 else shape[1]
    patch_grid, blocks = _name_transformer_blocks(shapes)
    blocks = blocks or _name_blocks(shapes, sample_shape)
    last = dict(shapes)[list(blocks.values())[-1]] if blocks else (0,)
    last_width = last[1] if len(last) == 4 else last[-1]
    if len(shape) != 4 and (embedding_dim != last_width or patch_grid is not None):
        blocks[EMBEDDING] = ""
    elif not blocks:
        blocks["conv_block_1"] = ""  # the module itself
    return Backbone(module, blocks, embedding_dim, n_channels, patch_grid)


def takes_images(module: nn.Module) -> bool:
    """Whether a module has convolutions, and so is not for tables."""
    return _first_channels(module) is not None


def _first_channels(module: nn.Module) -> int | None:
    """Channels that the first convolution takes; None without one."""
    convolutions = (m for m in module.modules() if isinstance(m, nn.Conv2d))
    return next((convolution.in_channels for convolution in convolutions), None)


def _try_out(
    module: nn.Module, sample_shape: tuple[int, ...]
) -> tuple[Any, list[tuple[str, tuple[int, ...]]]]:
    """What the module returns for two samples, and its submodules' output shapes, as called."""
    shapes: list[tuple[str, tuple[int, ...]]] = []
    with_weights = {
        name: child
        for name, child in module.named_modules()
        if name and any(True for _ in child.parameters())
    }
    was_training = module.training
    try:
        with (
            torch.no_grad(),
            outputs_of(with_weights, lambda name, output: shapes.append((name, _shape(output)))),
        ):
            return module.eval()(torch.zeros(2, *sample_shape)), shapes
    except (RuntimeError, ValueError, AssertionError, TypeError) as error:
        raise ValueError(
            f"backbone {type(module).__name__} does not take a batch of samples of "
            f"{_describe(sample_shape)}: {error}"
        ) from error
    finally:
        module.train(was_training)


def _describe(sample_shape: tuple[int, ...]) -> str:
    if len(sample_shape) == 1:
        return f"{sample_shape[0]} features"
    channels, height, width = sample_shape
    return f"{channels} channel(s) of {height} x {width} pixels"


def _shape(output: object) -> tuple[int, ...]:
    return tuple(output.shape) if isinstance(output, torch.Tensor) else ()


def _name_transformer_blocks(
    outputs: list[tuple[str, tuple[int, ...]]],
) -> tuple[tuple[int, int] | None, dict[str, str]]:
    """Patches of a vision transformer, (height, width), and its blocks; None and {} for others.

    Its first map are the patches; its blocks are the longest series of sibling modules that return
    as many tokens, and perhaps a few more. The last one is taken after the norm that follows it.
    """
    grids = [shape[2:] for _, shape in outputs if len(shape) == 4]
    if not grids:
        return None, {}
    n_patches = grids[0][0] * grids[0][1]
    siblings: dict[tuple, list[str]] = {}
    for name, shape in outputs:
        if len(shape) == 3 and 0 <= shape[1] - n_patches <= MAX_PREFIX_TOKENS:
            siblings.setdefault((name.rpartition(".")[0], shape), []).append(name)
    (_, tokens), series = max(
        siblings.items(), key=lambda item: len(item[1]), default=((None, None), [])
    )
    series = [name for name in series if name[-1].isdigit()]
    if len(series) < 2:
        return None, {}
    n = min(N_TRANSFORMER_BLOCKS, len(series))
    chosen = [len(series) * (i + 1) // n for i in range(n)]
    blocks = {f"transformer_block_{i}": series[i - 1] for i in chosen}
    blocks[f"transformer_block_{len(series)}"] = [k for k, shape in outputs if shape == tokens][-1]
    return grids[0], blocks


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
