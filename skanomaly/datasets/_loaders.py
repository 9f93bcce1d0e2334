"""The papers' image sets, as torchvision stores them, in arrays."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import get_data_home
from sklearn.utils import Bunch

from .._sklearn_compat import StrOptions, validate_params
from ._fashion_mnist import CLASS_NAMES as FASHION_NAMES

# what torchvision raises for files that end early or hold something else
DAMAGED = (OSError, RuntimeError, ValueError, AssertionError, KeyError, EOFError)

PARAMETERS: dict = {
    "root": [str, os.PathLike, None],
    "split": [StrOptions({"train", "test"})],
    "download": ["boolean"],
}


@validate_params(PARAMETERS, prefer_skip_nested_validation=True)
def load_cifar10(root=None, *, split="train", download=False):
    """CIFAR-10: photographs of ten kinds of animals and vehicles (NSA section 3.1).

    50,000 training and 10,000 test images, 32 x 32 pixels in colour (Krizhevsky, 2009).

    Parameters
    ----------
    root : str or path-like, optional
        Folder that holds torchvision's ``cifar-10-batches-py``. None is scikit-learn's data home,
        :func:`sklearn.datasets.get_data_home`.
    split : {"train", "test"}, default="train"
        Part of the set.
    download : bool, default=False
        Download the files to `root` if they are missing.

    Returns
    -------
    data : Bunch
        images : uint8 array (n, 32, 32, 3), 0 to 255;
        labels : int array (n,), 0 to 9;
        class_names : array of str (10,), the name of each label.

    Raises
    ------
    FileNotFoundError
        If the files are missing or damaged, without `download`.
    OSError
        If they cannot be downloaded.

    Examples
    --------
    >>> from skanomaly.datasets import load_cifar10
    >>> load_cifar10(split="test", download=True).images.shape  # doctest: +SKIP
    (10000, 32, 32, 3)
    """
    dataset = _open("CIFAR10", root, download, train=split == "train")
    return _as_bunch(dataset.data, dataset.targets, dataset.classes)


@validate_params({**PARAMETERS, "coarse": ["boolean"]}, prefer_skip_nested_validation=True)
def load_cifar100(root=None, *, split="train", coarse=True, download=False):
    """CIFAR-100: photographs of a hundred things in twenty super-classes (NSA section 3.1).

    50,000 training and 10,000 test images, 32 x 32 pixels in colour (Krizhevsky, 2009).

    Parameters
    ----------
    root : str or path-like, optional
        Folder that holds torchvision's ``cifar-100-python``. None is scikit-learn's data home,
        :func:`sklearn.datasets.get_data_home`.
    split : {"train", "test"}, default="train"
        Part of the set.
    coarse : bool, default=True
        Label the 20 super-classes, as the papers do, instead of the 100 classes.
    download : bool, default=False
        Download the files to `root` if they are missing.

    Returns
    -------
    data : Bunch
        images : uint8 array (n, 32, 32, 3), 0 to 255;
        labels : int array (n,), 0 to 19, or 0 to 99 unless `coarse`;
        class_names : array of str (20,) or (100,), the name of each label.

    Raises
    ------
    FileNotFoundError
        If the files are missing or damaged, without `download`.
    OSError
        If they cannot be downloaded.

    Examples
    --------
    >>> from skanomaly.datasets import load_cifar100
    >>> load_cifar100(download=True).class_names[:2]  # doctest: +SKIP
    array(['aquatic_mammals', 'fish'], dtype='<U30')
    """
    dataset = _open("CIFAR100", root, download, train=split == "train")
    if not coarse:
        return _as_bunch(dataset.data, dataset.targets, dataset.classes)
    # torchvision has compared these files with their checksums and read the fine labels only
    folder = Path(dataset.root, dataset.base_folder)
    labels = _unpickle(folder / split)["coarse_labels"]
    return _as_bunch(dataset.data, labels, _unpickle(folder / "meta")["coarse_label_names"])


@validate_params(PARAMETERS, prefer_skip_nested_validation=True)
def load_fashion_mnist(root=None, *, split="train", download=False):
    """Fashion-MNIST: pictures of ten kinds of clothes (NSA section 3.1).

    60,000 training and 10,000 test images, 28 x 28 pixels in gray (Xiao, Rasul and Vollgraf,
    2017). The paper enlarges them to 32 x 32. A part of them comes with the package, see
    :func:`load_fashion_mnist_sample`.

    Parameters
    ----------
    root : str or path-like, optional
        Folder that holds torchvision's ``FashionMNIST/raw``. None is scikit-learn's data home,
        :func:`sklearn.datasets.get_data_home`.
    split : {"train", "test"}, default="train"
        Part of the set.
    download : bool, default=False
        Download the files to `root` if they are missing.

    Returns
    -------
    data : Bunch
        images : uint8 array (n, 28, 28), 0 to 255;
        labels : int array (n,), 0 to 9;
        class_names : array of str (10,), the name of each label.

    Raises
    ------
    FileNotFoundError
        If the files are missing or damaged, without `download`.
    OSError
        If they cannot be downloaded.

    Examples
    --------
    >>> from skanomaly.datasets import load_fashion_mnist
    >>> load_fashion_mnist(download=True).images.shape  # doctest: +SKIP
    (60000, 28, 28)
    """
    dataset = _open("FashionMNIST", root, download, train=split == "train")
    return _as_bunch(dataset.data, dataset.targets, FASHION_NAMES)


@validate_params(PARAMETERS, prefer_skip_nested_validation=True)
def load_svhn(root=None, *, split="train", download=False):
    """SVHN: house numbers in street views, one digit in the middle (NSA section 3.1).

    73,257 training and 26,032 test images, 32 x 32 pixels in colour (Netzer et al., 2011).

    Parameters
    ----------
    root : str or path-like, optional
        Folder that holds ``train_32x32.mat`` and ``test_32x32.mat``. None is scikit-learn's data
        home, :func:`sklearn.datasets.get_data_home`.
    split : {"train", "test"}, default="train"
        Part of the set.
    download : bool, default=False
        Download the files to `root` if they are missing.

    Returns
    -------
    data : Bunch
        images : uint8 array (n, 32, 32, 3), 0 to 255;
        labels : int array (n,), the digit;
        class_names : array of str (10,), the name of each label.

    Raises
    ------
    FileNotFoundError
        If the file is missing or damaged, without `download`.
    OSError
        If it cannot be downloaded.

    Examples
    --------
    >>> from skanomaly.datasets import load_svhn
    >>> load_svhn(split="test", download=True).images.shape  # doctest: +SKIP
    (26032, 32, 32, 3)
    """
    dataset = _open("SVHN", root, download, split=split)
    return _as_bunch(np.moveaxis(dataset.data, 1, -1), dataset.labels, map(str, range(10)))


def _open(name: str, root: Any, download: bool, **which: Any) -> Any:
    """torchvision's data set of this name, with all its images in memory."""
    from torchvision import datasets  # here, for the protocol needs no torch

    folder = Path(get_data_home() if root is None else root).expanduser()
    try:
        return getattr(datasets, name)(folder, download=download, **which)
    except DAMAGED as error:
        if download:
            raise OSError(
                f"{name} could not be downloaded to root={str(folder)!r}; delete what is damaged "
                "there and try again with a network, or copy the files from a machine that has "
                f"one. The cause: {error}"
            ) from error
        raise FileNotFoundError(
            f"{name} is missing or damaged in root={str(folder)!r}; pass the folder that holds "
            "it, or download=True"
        ) from error


def _unpickle(file: Path) -> dict:
    with file.open("rb") as stream:
        return pickle.load(stream, encoding="latin1")


def _as_bunch(images: Any, labels: Any, class_names: Any) -> Bunch:
    return Bunch(
        images=np.ascontiguousarray(images),
        labels=np.asarray(labels, dtype=int),
        class_names=np.array(list(class_names)),
    )
