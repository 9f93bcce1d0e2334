"""Fitted estimators as JSON and arrays, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import sklearn
from sklearn.base import BaseEstimator

from ._types import class_of_name, name_of_class

NUMBERS = "biuf"  # kinds of arrays that are kept as they are


class Encoder:
    """Makes of an object what JSON can hold, and collects its arrays by name.

    An object that is met twice is kept once.
    """

    def __init__(self):
        self.arrays: dict[str, np.ndarray] = {}
        self._seen: dict[int, tuple[Any, dict]] = {}  # with the object, whose id it keeps

    def encode(self, value: Any, where: str) -> Any:
        """The object as JSON; `where` names it in errors.

        Raises
        ------
        TypeError
            If it is, or holds, an object of a class that files may not hold.
        """
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        if isinstance(value, list):
            return [self.encode(item, f"{where}[{i}]") for i, item in enumerate(value)]
        if isinstance(value, tuple):
            return {"tuple": self.encode(list(value), where)}
        if type(value) is dict:
            return {"dict": [self._pair(key, item, where) for key, item in value.items()]}
        if isinstance(value, slice):
            return {"slice": [value.start, value.stop, value.step]}
        if isinstance(value, np.dtype) and value.kind in NUMBERS + "O":
            return {"dtype": value.str}
        if isinstance(value, type) and issubclass(value, (np.number, np.bool_)):
            return {"scalar type": np.dtype(value).str}
        if isinstance(value, np.generic) and value.dtype.kind in NUMBERS:
            return {"scalar": value.item(), "dtype": value.dtype.str}
        if id(value) in self._seen:
            return {"same": self._seen[id(value)][1]["number"]}
        node: dict[str, Any] = {"number": len(self._seen)}
        self._seen[id(value)] = value, node
        if isinstance(value, np.ndarray):
            return node | self._array(value, where)
        return node | self._object(value, where)

    def _pair(self, key: Any, item: Any, where: str) -> list:
        return [self.encode(key, f"a key of {where}"), self.encode(item, f"{where}.{key}")]

    def _array(self, value: np.ndarray, where: str) -> dict[str, Any]:
        if value.dtype.kind in NUMBERS:
            name = f"{where}:{len(self.arrays)}"
            # in the order that it has in memory, on which the last bits of products depend
            is_transposed = value.flags.f_contiguous and not value.flags.c_contiguous
            stored = value.T if is_transposed else value
            self.arrays[name] = np.ascontiguousarray(stored, value.dtype.newbyteorder("="))
            # an array without dimensions becomes one of length 1
            return {"array": name, "shape": list(stored.shape), "is_transposed": is_transposed}
        if value.dtype.kind in "OU":
            items = self.encode(value.ravel().tolist(), where)
            return {"objects": items, "dtype": value.dtype.str, "shape": list(value.shape)}
        raise TypeError(f"{where} is an array of {value.dtype}; pass one of numbers or strings")

    def _object(self, value: Any, where: str) -> dict[str, Any]:
        name = name_of_class(type(value))
        if name is None:
            kind = value if hasattr(value, "__qualname__") else type(value)
            raise TypeError(
                f"{where} is {kind.__module__}.{kind.__qualname__}, neither of skanomaly nor a "
                "common estimator of scikit-learn, and cannot be saved as data; use joblib.dump, "
                "whose files are programs: load them only from people you trust"
            )
        state = value.__getstate__() if hasattr(value, "__getstate__") else vars(value)
        return {"object": name, "state": self.encode(dict(state), where)}


class Decoder:
    """The way back, from JSON and arrays by name."""

    def __init__(self, arrays: dict[str, np.ndarray]):
        self.arrays = arrays
        self._seen: dict[int, Any] = {}

    def decode(self, node: Any) -> Any:
        """The object.

        Raises
        ------
        Exception
            Of any kind, if no `Encoder` has made this.
        """
        if isinstance(node, list):
            return [self.decode(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "tuple" in node:
            return tuple(self.decode(node["tuple"]))
        if "dict" in node:
            return {self.decode(key): self.decode(item) for key, item in node["dict"]}
        if "slice" in node:
            return slice(*node["slice"])
        if "scalar type" in node:
            return np.dtype(node["scalar type"]).type
        if "scalar" in node:
            return np.dtype(node["dtype"]).type(node["scalar"])
        if "same" in node:
            return self._seen[node["same"]]
        if "number" not in node:
            return np.dtype(node["dtype"])
        value = self._object(node) if "object" in node else self._array(node)
        self._seen[node["number"]] = value
        return value

    def _array(self, node: dict) -> np.ndarray:
        if "array" in node:
            array = self.arrays[node["array"]].reshape(node["shape"])
            return array.T if node["is_transposed"] else array
        array = np.empty(len(node["objects"]), np.dtype(node["dtype"]))
        array[:] = self.decode(node["objects"])
        return array.reshape(node["shape"])

    def _object(self, node: dict) -> Any:
        cls = class_of_name(node["object"])
        value = cls.__new__(cls)
        state = self.decode(node["state"])
        if isinstance(value, BaseEstimator):
            # the file's own versions are compared instead, and once
            state["_sklearn_version"] = sklearn.__version__
        if hasattr(value, "__setstate__"):
            value.__setstate__(state)
        else:
            vars(value).update(state)
        return value
