"""What a training is of, in words that can be compared: the identity of its checkpoint."""

from __future__ import annotations

import functools
import inspect
import os
import types
from collections.abc import Mapping
from hashlib import blake2b
from numbers import Integral
from typing import Any

import numpy as np
import torch
from sklearn.utils import gen_batches
from torch import nn

BLOCK_SAMPLES = 1024
# parameters that do not decide what is trained
IRRELEVANT = (
    "callbacks",
    "checkpoint",
    "contamination",
    "device",
    "random_state",
    "verbose",
    "warm_start",
)


def describe_parameters(parameters: Mapping[str, Any]) -> dict[str, str]:
    """The parameters that decide what is trained, as text that is the same in another process."""
    described = {name: _describe(v) for name, v in parameters.items() if name not in IRRELEVANT}
    seed = parameters.get("random_state")
    return described | {"random_state": str(seed)} if isinstance(seed, Integral) else described


def describe_data(X: np.ndarray, start: nn.Module | None) -> dict[str, str]:
    """Shape, type and a hash of the samples, and of the network that training starts from."""
    blocks = (np.ascontiguousarray(X[rows]) for rows in gen_batches(len(X), BLOCK_SAMPLES))
    described = {
        "shape of X": " x ".join(map(str, X.shape)),
        "type of X": str(X.dtype),
        "hash of X": _digest(*blocks),
    }
    return described if start is None else described | {"initial weights": _describe(start)}


def _describe(value: Any) -> str:
    if isinstance(value, nn.Module):
        return _describe_module(value)
    if isinstance(value, functools.partial):
        return f"partial{_describe([value.func, value.args, value.keywords])}"
    if isinstance(value, types.MethodType):
        return f"{_describe(value.__self__)}.{value.__func__.__qualname__}"
    if isinstance(value, types.FunctionType):
        return _describe_function(value)
    if isinstance(value, type | types.BuiltinFunctionType):
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k}: {_describe(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_describe, value))}]"
    if isinstance(value, np.ndarray):
        return f"array {value.shape} {_digest(np.ascontiguousarray(value))}"
    if value is None or isinstance(value, str | bool | int | float | np.generic):
        return repr(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    # not its repr, which may name an address, or be that of a base class
    name = getattr(value, "__name__", "")
    state = {k: v for k, v in getattr(value, "__dict__", {}).items() if not k.startswith("__")}
    return f"{type(value).__module__}.{type(value).__qualname__} {name}{_describe(state)}"


def _describe_module(module: nn.Module) -> str:
    if any(nn.parameter.is_lazy(parameter) for parameter in module.parameters()):
        return f"{type(module).__name__} {_digest(repr(module).encode())}"
    weights = [
        tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        for tensor in module.state_dict().values()
        if tensor.numel()
    ]
    frozen = str([parameter.requires_grad for parameter in module.parameters()])
    structure = _digest(repr(module).encode(), frozen.encode())
    return f"{type(module).__name__} {structure} with weights {_digest(*weights)}"


def _describe_function(function: types.FunctionType) -> str:
    closure = inspect.getclosurevars(function).nonlocals if function.__closure__ else {}
    parts = [_code(function.__code__), function.__defaults__, function.__kwdefaults__, closure]
    return f"{function.__module__}.{function.__qualname__} {_digest(_describe(parts).encode())}"


def _code(code: types.CodeType) -> list[str]:
    """What a function does, and the functions inside it, without the lines of its file."""
    parts = [code.co_code.hex(), *code.co_names]
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            parts += _code(constant)
        elif isinstance(constant, frozenset):  # in an order that differs between processes
            parts += sorted(map(repr, constant))
        else:
            parts.append(repr(constant))
    return parts


def _digest(*parts: Any) -> str:
    digest = blake2b(digest_size=8)
    for part in parts:
        digest.update(part)
    return digest.hexdigest()
