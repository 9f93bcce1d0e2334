"""Save fitted estimators to files, and load them."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as serialize

from .._files import replacing_file
from ._structure import Decoder, Encoder

FORMAT = 1
PACKAGES = "skanomaly", "scikit-learn", "torch", "numpy"


def save(estimator: Any, path: str | os.PathLike) -> None:
    """Save an estimator to a file that holds data and no code.

    The file is a safetensors file: arrays and weights, and as its metadata the parameters as JSON,
    the versions of the packages and a checksum. It takes the place of an earlier one only when it
    is complete.

    Parameters
    ----------
    estimator : estimator
        Any estimator of skanomaly, or a Pipeline of them with scikit-learn's scalers, encoders,
        imputers, decompositions and other common steps.
    path : str or path-like
        File to write, by convention ``*.skanomaly``.

    Raises
    ------
    TypeError
        If the estimator holds an object of another class, such as a torch module of your own or a
        function. It is named.
    OSError
        If the file cannot be written.

    See Also
    --------
    load : The way back.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> import skanomaly
    >>> X = np.random.default_rng(0).normal(size=(100, 3))
    >>> detector = skanomaly.NeighborDistance().fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "model.skanomaly")
    ...     detector.save(path)
    ...     loaded = skanomaly.load(path)
    >>> bool((loaded.score_samples(X) == detector.score_samples(X)).all())
    True
    """
    encoder = Encoder()
    structure = encoder.encode(estimator, type(estimator).__name__)
    metadata = {
        "format": str(FORMAT),
        "versions": json.dumps({package: version(package) for package in PACKAGES}),
        "structure": json.dumps(structure),
    }
    metadata["sha256"] = _digest(metadata, encoder.arrays)
    with replacing_file(Path(path)) as partial:
        partial.write_bytes(serialize(encoder.arrays, metadata))


def load(path: str | os.PathLike) -> Any:
    """The estimator that was saved to a file.

    Nothing that the file holds is run: it is data for classes of skanomaly and scikit-learn.

    Parameters
    ----------
    path : str or path-like
        What :func:`save` has written.

    Returns
    -------
    estimator : estimator

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is no such file, is damaged, or was written by a newer version.
    ImportError
        If it needs an optional package that is not installed.

    Warns
    -----
    UserWarning
        If other versions of skanomaly, scikit-learn, torch or numpy wrote it: scores may differ.
    """
    path = os.fspath(path)
    metadata, arrays = _read(path)
    if metadata["format"] != str(FORMAT):
        raise ValueError(
            f"{path} has the format {metadata['format']}, but this version of skanomaly reads "
            f"format {FORMAT}; install the version that wrote it: {metadata['versions']}"
        )
    try:
        estimator = Decoder(arrays).decode(json.loads(metadata["structure"]))
    except ImportError:
        raise
    except Exception as error:  # what no version wrote can fail in any way
        raise ValueError(
            f"{path} does not hold an estimator of this version ({type(error).__name__}: {error})"
        ) from error
    _compare_versions(path, json.loads(metadata["versions"]))
    return estimator


def is_data(path: str | os.PathLike) -> bool:
    """Whether a file looks like what `save` writes, not like a pickle."""
    with open(path, "rb") as file:
        return file.read(9)[8:] == b"{"  # the header, after its length


def saved_versions(path: str | os.PathLike) -> dict[str, str]:
    """Versions of the packages that wrote a file."""
    return json.loads(_read(os.fspath(path))[0]["versions"])


def _read(path: str) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """Metadata and arrays, whose checksum is right."""
    with open(path, "rb"):  # a missing file is another mistake than a damaged one
        pass
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        is_whole = metadata.pop("sha256") == _digest(metadata, arrays)
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise ValueError(
            f"{path} is no model that skanomaly saved, or it is damaged ({error}); files of joblib "
            "and pickle are read by joblib.load"
        ) from error
    if not is_whole:
        raise ValueError(f"{path} is damaged: its checksum is wrong; save the model again")
    return metadata, arrays


def _digest(metadata: dict[str, str], arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256(json.dumps(sorted(metadata.items())).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _compare_versions(path: str, saved: dict[str, str]) -> None:
    differing = [
        f"{package} {saved.get(package)} (here {version(package)})"
        for package in PACKAGES
        if saved.get(package) != version(package)
    ]
    if differing:
        warnings.warn(
            f"{path} was saved with {', '.join(differing)}; scores may differ",
            UserWarning,
            stacklevel=3,
        )
