"""Public sets: tables from the data folder, images from it or as torchvision stores them."""

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


def read_tables(args, *folders):
    """Functions that return rows and labels (1 = anomaly), by the name of the set.

    `args` has what `_tables.add_arguments` adds.
    """
    path = Path(args.data, "load.py")
    if not path.exists():
        raise FileNotFoundError(f"--data {args.data} has no load.py that reads the sets in it")
    load = _import(path)
    known = [name for folder in folders for name in load.names(folder)]
    names = known if args.sets is None else args.sets
    if args.small:
        names = known[:2]
    for name in names:
        if name not in known:
            raise ValueError(f"--sets {name} is not known; pass some of {', '.join(known)}")
    return {name: lambda name=name: load.table(name) for name in names}


def _import(file):
    spec = importlib.util.spec_from_file_location("load", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
