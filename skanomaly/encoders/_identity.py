"""What a training is of, in words that can be compared: the identity of its checkpoint."""

from __future__ import annotations

from collections.abc import Collection
from hashlib import blake2b
from numbers import Integral
from typing import Any

import numpy as np
from torch import nn

SAMPLED_ROWS = 1000  # whose values are looked at


def describe_parameters(estimator: Any, without: Collection[str]) -> dict[str, str]:
    """The parameters that decide what is trained, as text that is the same in another process."""
    parameters = estimator.get_params(deep=False)
    described = {name: _describe(v) for name, v in parameters.items() if name not in without}
    if isinstance(estimator.random_state, Integral):
        described["random_state"] = str(estimator.random_state)
    return described


def describe_data(X: np.ndarray, start: nn.Module | None) -> dict[str, str]:
    """Shape, type and a hash of the samples, and of the network that training starts from."""
    step = -(-len(X) // SAMPLED_ROWS)
    described = {
        "shape of X": " x ".join(map(str, X.shape)),
        "type of X": str(X.dtype),
        "hash of X": _digest(np.ascontiguousarray(X[::step])),
    }
    return described if start is None else described | {"initial weights": _describe(start)}


def _describe(value: Any) -> str:
    if isinstance(value, nn.Module):
        weights = b"".join(t.detach().cpu().numpy().tobytes() for t in value.state_dict().values())
        return f"{type(value).__name__} with weights {_digest(weights)}"
    if isinstance(value, type) or (callable(value) and hasattr(value, "__qualname__")):
        return f"{value.__module__}.{value.__qualname__}"
    if hasattr(value, "get_params"):
        parts = {name: _describe(part) for name, part in value.get_params(deep=False).items()}
        return f"{type(value).__name__}({parts})"
    if callable(value) and type(value).__repr__ is object.__repr__:  # would name an address
        return f"{type(value).__module__}.{type(value).__qualname__}"
    return repr(value)


def _digest(data: Any) -> str:
    return blake2b(data, digest_size=8).hexdigest()
