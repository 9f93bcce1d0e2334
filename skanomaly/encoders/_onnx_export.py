"""An encoder, and perhaps what scores its features, as an ONNX file."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from .._files import replacing_file
from ._encoder_network import EncoderNetwork
from ._inference import are_close
from ._preprocessing import MAX_DEVIATIONS, Preprocessing

SCORE = "score"
N_EXPORTED, N_COMPARED = 2, 3  # samples; the file must not remember their number
MAX_BYTES = 2**31 - 2**24  # protobuf ends at 2 GiB; the rest is for the graph


def export_features(
    encoder: Any,
    path: str | os.PathLike,
    scores: nn.Module | None = None,
    reference: Callable[[np.ndarray], np.ndarray] | None = None,
    metadata: dict[str, str] | None = None,
) -> None:
    """Write a fitted encoder as an ONNX file, once onnxruntime has returned what torch returns.

    Parameters
    ----------
    encoder : BaseEncoder
        Its chosen layers are the outputs, by their names.
    path : path-like
        The file.
    scores : nn.Module, optional
        Maps the features of all layers, (n, n_features), to scores (n,), the output "score".
    reference : callable, optional
        Returns the scores of samples that are to be compared.
    metadata : dict of str to str, optional
        Is kept in the file.

    Raises
    ------
    ImportError
        If onnx or onnxruntime is not installed.
    ValueError
        If the network cannot be exported, or is too large.
    """
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise ImportError(
            "export_onnx needs onnx and onnxruntime: pip install 'skanomaly[onnx]'"
        ) from error
    graph = _Graph(encoder, scores).eval()
    _refuse_too_large(graph, scores)
    names = [*encoder.layer_slices_, *([] if scores is None else [SCORE])]
    x = _random_samples(encoder, N_COMPARED)
    expected = _features(encoder, x)
    if scores is not None and reference is not None:
        expected[SCORE] = torch.from_numpy(reference(x))
    try:
        model = onnx.load_model_from_string(_export(graph, torch.from_numpy(x[:N_EXPORTED])))
        _name_outputs(model, names)
        onnx.helper.set_model_props(model, metadata or {})
        serialized = model.SerializeToString()
        session = onnxruntime.InferenceSession(serialized, providers=["CPUExecutionProvider"])
        found = dict(zip(names, session.run(names, {_input_name(encoder): x}), strict=True))
    except Exception as error:  # the exporter raises errors of many kinds
        reason = str(error).strip().splitlines()[0]
        network = type(encoder.network_.backbone.network).__name__
        raise ValueError(f"backbone {network} cannot be exported to ONNX ({reason})") from error
    for name, output in expected.items():
        if not are_close(torch.from_numpy(found[name]), output):
            raise ValueError(f"the output {name!r} is another one when exported to ONNX")
    with replacing_file(Path(path)) as partial:
        partial.write_bytes(serialized)


class _Graph(nn.Module):
    """Samples to the features of an encoder's layers, and to scores."""

    def __init__(self, encoder: Any, scores: nn.Module | None):
        super().__init__()
        network = encoder.network_
        # of its own, since that of the encoder may compute its layers by onnxruntime
        self.network = EncoderNetwork(
            network.backbone, _Samples(encoder), network.objective, network.is_of_tables
        )
        self.network.projections = network.projections
        self.layers = list(encoder.layer_slices_)
        self.scores = scores
        self.input_name = _input_name(encoder)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        features = tuple(self.network.feature_maps(x, self.layers).values())
        if self.scores is None:
            return features
        return (*features, self.scores(torch.cat(features, dim=1)))


class _Samples(nn.Module):
    """What an encoder makes of samples before its backbone."""

    def __init__(self, encoder: Any):
        super().__init__()
        given: Preprocessing = encoder.network_.preprocessing
        # images have their size already
        self.standardise = Preprocessing(given.center, given.scale)
        self.matrices: list[torch.Tensor] = []
        self.scaler = getattr(encoder, "scaler_", None)
        if given.image_size not in (None, encoder.sample_shape_[1:]):
            # the exporter knows no antialiasing; rows and columns are resized by a matrix each
            self.matrices = [
                nn.functional.interpolate(
                    torch.eye(old)[None, None], (new, old), mode="bilinear", antialias=True
                )[0, 0]
                for old, new in zip(encoder.sample_shape_[1:], given.image_size, strict=True)
            ]
        if self.scaler is not None:
            self.mean, self.deviation = map(torch.tensor, (self.scaler.mean_, self.scaler.scale_))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.matrices:
            rows, columns = self.matrices
            x = rows @ x @ columns.T
        if self.scaler is not None:
            x = (x - self.mean) / self.deviation
            x = x.clip(-MAX_DEVIATIONS, MAX_DEVIATIONS)
        return self.standardise(x)


def _input_name(encoder: Any) -> str:
    return "images" if len(encoder.sample_shape_) == 3 else "samples"


def _random_samples(encoder: Any, n_samples: int) -> np.ndarray:
    """Images of noise, or rows of a table like those that were fitted."""
    rng, shape = np.random.default_rng(0), (n_samples, *encoder.sample_shape_)
    if len(shape) == 4:
        return rng.random(shape, dtype=np.float32)
    x, scaler = rng.standard_normal(shape), getattr(encoder, "scaler_", None)
    return x if scaler is None else scaler.inverse_transform(x)


def _features(encoder: Any, x: np.ndarray) -> dict[str, torch.Tensor]:
    layers = list(encoder.layer_slices_)
    # not by transform_blocks, which warns of names that a frame had
    batches = [maps for _, maps in encoder._feature_maps(encoder._scale(x), layers)]
    return {layer: torch.cat([maps[layer].cpu() for maps in batches]) for layer in layers}


def _refuse_too_large(graph: nn.Module, scores: nn.Module | None) -> None:
    tensors = {id(x): x for x in (*graph.parameters(), *graph.buffers())}.values()
    n_bytes = sum(x.numel() * x.element_size() for x in tensors)
    if n_bytes > MAX_BYTES:
        advice = "" if scores is None else "; pass scores=False to leave the stored samples out"
        raise ValueError(
            f"the file would have {n_bytes / 2**30:.3g} GiB, but ONNX files are limited to "
            f"2 GiB{advice}"
        )


def _export(graph: _Graph, x: torch.Tensor) -> bytes:
    n_outputs = len(graph.layers) + (graph.scores is not None)
    outputs = [_plain_name(i) for i in range(n_outputs)]
    model: Any = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of shapes that are constants, and of the newer exporter
        torch.onnx.export(
            graph,
            (x,),
            model,
            dynamo=False,  # the newer one cannot follow hooks
            input_names=[graph.input_name],
            output_names=outputs,
            dynamic_axes={name: {0: "n"} for name in (graph.input_name, *outputs)},
        )
    return model.getvalue()


def _plain_name(i: int) -> str:
    return f"output_{i}"


def _name_outputs(model: Any, names: list[str]) -> None:
    """Outputs by their names, such as "0.1 (1x1)", which the exporter does not take."""
    known = {_plain_name(i): name for i, name in enumerate(names)}
    for node in model.graph.node:
        node.input[:] = [known.get(name, name) for name in node.input]
        node.output[:] = [known.get(name, name) for name in node.output]
    for output in model.graph.output:
        output.name = known[output.name]
