"""Public sets: tables from the data folder, images from it or as torchvision stores them."""

import importlib.util
from pathlib import Path

import numpy as np
import torch

from skanomaly import datasets

LOADERS = ("cifar10", "cifar100", "fashion_mnist", "svhn")
N_TRAIN = {"cifar10": 50_000, "cifar100": 50_000, "fashion_mnist": 60_000, "svhn": 73_257}


def read_images(name, split, data="../shared/data", root=None):
    """Images (n, height, width[, channels]) of uint8 and labels (n,).

    Parameters
    ----------
    name : {"cifar10", "cifar100", "fashion_mnist", "svhn"}
        The set; of cifar100, the super-classes.
    split : {"train", "test"}
        Which images.
    data : str or path-like
        Folder with a load.py that reads the sets in it. It may hold a part of a set.
    root : str or path-like, optional
        Where torchvision's files are, if `data` does not hold the set; see `skanomaly.datasets`.

    Raises
    ------
    ValueError
        If there is no such set.
    FileNotFoundError
        If neither folder holds it.
    """
    if name not in LOADERS:
        raise ValueError(f"name={name!r}; pass one of {LOADERS}")
    if Path(data, name).is_dir():
        return _import(Path(data, "load.py")).images(name, split)
    loader = f"load_{name}"
    try:
        found = getattr(datasets, loader)(root, split=split)
    except FileNotFoundError as error:
        root = None if root is None else str(root)
        raise FileNotFoundError(
            f"data={str(data)!r} has no folder {name!r}, and {error}. To download it: python -c "
            f'"from skanomaly.datasets import {loader}; '
            f'{loader}({root!r}, split={split!r}, download=True)"'
        ) from error
    return found.images, found.labels


def resize(images, size):
    """Images (n, height, width[, channels]) of uint8 with this height and width."""
    if size is None or images.shape[1:3] == (size, size):
        return images
    channels = images.reshape(*images.shape[:3], -1)
    tensor = torch.from_numpy(np.ascontiguousarray(channels)).permute(0, 3, 1, 2)
    tensor = torch.nn.functional.interpolate(
        tensor.float(), (size, size), mode="bilinear", antialias=True
    )
    resized = tensor.round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return resized.reshape(len(images), size, size, *images.shape[3:])


def read_tables(folder, data="../shared/data", names=None, n_sets=None):
    """Functions that return rows and labels (1 = anomaly), by the name of the set.

    Parameters
    ----------
    folder : {"tabular", "embeddings"}
        Which sets.
    data : str or path-like
        Folder with a load.py that reads the sets in it.
    names : list of str, optional
        Some of them. None is all.
    n_sets : int, optional
        At most so many. None is all.

    Raises
    ------
    ValueError
        If there is no such set.
    FileNotFoundError
        If the folder has no load.py.
    """
    path = Path(data, "load.py")
    if not path.exists():
        raise FileNotFoundError(f"--data {data} has no load.py that reads the sets in it")
    load = _import(path)
    known = load.names(folder)
    for name in names or []:
        if name not in known:
            raise ValueError(f"{folder} has no set {name!r}; pass some of {', '.join(known)}")
    return {name: lambda name=name: load.table(name) for name in (names or known)[:n_sets]}


def _import(file):
    spec = importlib.util.spec_from_file_location("load", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
