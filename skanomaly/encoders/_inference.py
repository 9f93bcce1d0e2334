"""Networks made faster for inference."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from ._backbones import EMBEDDING, outputs_of
from ._encoder_network import EncoderNetwork

TOLERANCE = 1e-3  # relative, of a layer's output


@torch.no_grad()
def optimize_for_inference(
    network: EncoderNetwork, sample: torch.Tensor, layers: Sequence[str]
) -> EncoderNetwork:
    """A faster network whose layers return the same.

    Convolutions include the batch norms that follow them, and compute with channels last in
    memory, which most of them do faster on a CPU.

    Parameters
    ----------
    network : EncoderNetwork
        In evaluation mode. It is not changed.
    sample : tensor
        A batch on which the layers' outputs are compared.
    layers : list of str
        Layers that must return the same as before, besides the embedding.

    Returns
    -------
    fast : EncoderNetwork
        The network itself if its layers would change.
    """
    layers = list(dict.fromkeys([*layers, EMBEDDING]))
    wanted = network.feature_maps(sample, layers)
    folded = copy.deepcopy(network)
    _fold_batch_norms(folded, sample, layers)
    try:
        found = folded.to(memory_format=torch.channels_last).feature_maps(sample, layers)
    except (AttributeError, RuntimeError, TypeError, ValueError):
        return network  # such as one that reads the weights of a batch norm
    same = all(are_close(found[layer], wanted[layer]) for layer in layers)
    return folded if same else network


def are_close(found: torch.Tensor, wanted: torch.Tensor) -> bool:
    """Whether a layer's outputs are the same but for rounding."""
    return bool((found - wanted).norm() <= TOLERANCE * wanted.norm())


def _fold_batch_norms(network: EncoderNetwork, sample: torch.Tensor, layers: Sequence[str]) -> None:
    for conv, name in _find_pairs(network, sample, layers):
        norm: Any = network.get_submodule(name)
        statistics = norm.running_mean, norm.running_var, norm.eps
        conv.weight, conv.bias = fuse_conv_bn_weights(
            conv.weight, conv.bias, *statistics, norm.weight, norm.bias
        )
        network.set_submodule(name, nn.Identity())


def _find_pairs(
    network: EncoderNetwork, sample: torch.Tensor, layers: Sequence[str]
) -> list[tuple[nn.Conv2d, str]]:
    """Convolutions with the names of the batch norms that take what they return.

    They are found by what is passed on in a forward pass, as not all networks can be traced.
    """
    modules = dict(network.named_modules())
    convolutions = {
        name: module
        for name, module in modules.items()
        if isinstance(module, nn.Conv2d) and "weight" in module._parameters
    }
    norms = {
        name: module
        for name, module in modules.items()
        if type(module) is nn.BatchNorm2d and module.running_mean is not None
    }
    calls: Counter[str] = Counter()
    taken: dict[str, tuple] = {}
    scored = {layer: network.layer_module(layer) for layer in layers}

    def made(name: str, output: Any) -> tuple:
        calls[name] += 1
        return output, output._version  # which changes when it is written to in place

    def make_hook(name: str):
        return lambda module, args: taken.__setitem__(name, (args[0], args[0]._version))

    handles = [m.register_forward_pre_hook(make_hook(name)) for name, m in norms.items()]
    try:
        with (
            outputs_of({**convolutions, **norms}, made) as outputs,
            outputs_of(scored, lambda name, output: output) as returned,
        ):
            network(sample)
    finally:
        for handle in handles:
            handle.remove()
    # a layer must not return a norm's output in place of a convolution's
    fixed = {id(output) for output in returned.values()}
    makers = {
        (id(outputs[name][0]), outputs[name][1]): module
        for name, module in convolutions.items()
        if calls[name] == 1 and id(outputs[name][0]) not in fixed
    }
    inputs = {name: (id(x), version) for name, (x, version) in taken.items() if calls[name] == 1}
    return [(makers[x], name) for name, x in inputs.items() if x in makers]
