"""Blocks of a network, computed by onnxruntime."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from ._encoder_network import POOLED, EncoderNetwork
from ._inference import are_close

_OUTPUT = "layer_{}"  # as submodules have names like "0.1"


def import_onnxruntime():
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError(
            "engine='onnx' needs onnxruntime: pip install 'skanomaly[onnx]', or pass engine='torch'"
        ) from error
    return onnxruntime


class OnnxBlocks:
    """Outputs of a network's layers for preprocessed batches, on the CPU.

    Parameters
    ----------
    network : EncoderNetwork
        In evaluation mode.
    sample : tensor (n, channels, height, width)
        Some samples, to export the network and to compare the outputs.
    layers : list of str
        Layers that are wanted besides the blocks with positions.
    batch_size : int
        Samples at once.

    Raises
    ------
    ImportError
        If onnxruntime is not installed.
    ValueError
        If the network cannot be exported, or does not return the same then.
    """

    def __init__(
        self, network: EncoderNetwork, sample: torch.Tensor, layers: Sequence[str], batch_size: int
    ):
        import_onnxruntime()
        self.batch_size = batch_size
        names = [*network.backbone.maps, *(layer.removesuffix(POOLED) for layer in layers)]
        self.names = list(dict.fromkeys(names))
        self._session = None
        name = type(network.backbone.network).__name__
        x = network.preprocessing(sample)
        try:
            self._model = _export(network, x, self.names)
            parts = self(x, self.names)
        except Exception as error:  # the exporter raises errors of many kinds
            reason = str(error).strip().splitlines()[0]
            raise ValueError(
                f"backbone {name} cannot be exported to ONNX ({reason}); pass engine='torch'"
            ) from error
        with torch.no_grad():
            wanted = network.feature_maps(sample, self.names, flat=False)
        for layer, output in wanted.items():
            if not are_close(torch.cat([part[layer] for part in parts]), output):
                raise ValueError(
                    f"layer {layer!r} of backbone {name} is another one when exported to ONNX; "
                    "pass engine='torch'"
                )

    def __call__(self, x: torch.Tensor, layers: Sequence[str]) -> list[dict[str, torch.Tensor]]:
        """The layers' outputs for preprocessed samples, of so many as `batch_size` at once."""
        session = self._session
        if session is None:
            session = self._session = self._start()
        names = [_OUTPUT.format(self.names.index(layer)) for layer in layers]
        options = import_onnxruntime().RunOptions()
        options.only_execute_path_to_fetches = True
        parts = []
        for part in x.split(self.batch_size):
            outputs = session.run(names, {"x": part.contiguous().numpy()}, options)
            parts.append(dict(zip(layers, map(torch.from_numpy, outputs), strict=True)))
        return parts

    def _start(self):
        onnxruntime = import_onnxruntime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        return onnxruntime.InferenceSession(
            self._model, options, providers=["CPUExecutionProvider"]
        )

    def __getstate__(self):
        return {
            "names": self.names,
            "batch_size": self.batch_size,
            "model": np.frombuffer(self._model, np.uint8),
        }

    def __setstate__(self, state):
        self.names, self.batch_size = state["names"], state["batch_size"]
        self._model, self._session = state["model"].tobytes(), None


class _Blocks(nn.Module):
    """A network of preprocessed samples that returns layers."""

    def __init__(self, network: EncoderNetwork, names: Sequence[str]):
        super().__init__()
        self.network = EncoderNetwork(network.backbone, nn.Identity())
        self.names = names

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(self.network.feature_maps(x, self.names, flat=False).values())


def _export(network: EncoderNetwork, x: torch.Tensor, names: Sequence[str]) -> bytes:
    outputs = [_OUTPUT.format(i) for i in range(len(names))]
    model: Any = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of shapes that are constants, and of the newer exporter
        torch.onnx.export(
            _Blocks(network, names).eval(),
            (x,),
            model,
            dynamo=False,  # the newer one cannot follow hooks
            input_names=["x"],
            output_names=outputs,
            dynamic_axes={name: {0: "n"} for name in ("x", *outputs)},
        )
    return model.getvalue()
