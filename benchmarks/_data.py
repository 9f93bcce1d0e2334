"""Images of a public set: from the data folder, or as torchvision stores them."""

import importlib.util
from pathlib import Path

from skanomaly import datasets

LOADERS = ("cifar10", "cifar100", "fashion_mnist", "svhn")


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


def _import(file):
    spec = importlib.util.spec_from_file_location("load", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
