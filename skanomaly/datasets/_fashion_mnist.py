"""A small sample of Fashion-MNIST that comes with the package."""

from __future__ import annotations

from importlib import resources

import numpy as np
from sklearn.utils import Bunch

CLASS_NAMES = (
    "t-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
NORMAL_CLASSES = ("t-shirt", "shirt")


def load_fashion_mnist_sample(normal="t-shirt"):
    """Load the bundled sample of Fashion-MNIST: one class to train on, all ten to test on.

    The sample has the first 1,500 training images of two classes, T-shirts and the harder shirts,
    and the first 250 test images of every class, 28 x 28 pixels in gray. Source: Fashion-MNIST
    (Xiao, Rasul and Vollgraf, 2017), copyright Zalando SE, MIT licence.

    Parameters
    ----------
    normal : {"t-shirt", "shirt"}, default="t-shirt"
        The normal class.

    Returns
    -------
    data : Bunch
        X_train : uint8 array (1500, 28, 28), images of the normal class;
        X_test : uint8 array (2500, 28, 28), held-out images of all classes;
        y_test : int array (2500,), +1 for the normal class and -1 for the nine others;
        class_test : array of str (2500,), the class of each test image.

    Raises
    ------
    ValueError
        If `normal` is another class.

    Examples
    --------
    >>> from skanomaly.datasets import load_fashion_mnist_sample
    >>> data = load_fashion_mnist_sample("shirt")
    >>> data.X_train.shape, int((data.y_test == 1).sum())
    ((1500, 28, 28), 250)
    """
    if normal not in NORMAL_CLASSES:
        raise ValueError(f"normal={normal!r} is not in the sample; pass one of {NORMAL_CLASSES}")
    label = CLASS_NAMES.index(normal)
    file = resources.files(__package__).joinpath("fashion_mnist_sample.npz")
    with file.open("rb") as stream, np.load(stream) as arrays:
        return Bunch(
            X_train=arrays["train_images"][arrays["train_labels"] == label],
            X_test=arrays["test_images"],
            y_test=np.where(arrays["test_labels"] == label, 1, -1),
            class_test=np.array(CLASS_NAMES)[arrays["test_labels"]],
        )
