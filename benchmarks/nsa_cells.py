"""What a cell of the NSA benchmark is: one network or rival on one task, and its images.

BUDGETS says how networks are trained: "paper" is the paper's budget, "small" is for CPUs. Which
images are drawn depends on seed and class, never on the method or its normalisation.
"""

import functools
from typing import NamedTuple

import numpy as np

from skanomaly.datasets import one_vs_rest

from .data import read_images, resize

PAPER_EPOCHS = {"simclr": 500, "simclr-shifted": 500, "simsiam": 4000, "byol": 4000}
TRAINED = tuple(PAPER_EPOCHS)
N_TRAIN = {"cifar10": 50_000, "cifar100": 50_000, "fashion_mnist": 60_000, "svhn": 73_257}


class Budget(NamedTuple):
    """How networks are trained, and on how many images; None is all of them."""

    backbone: str
    epochs: dict  # by method
    batch_size: int
    learning_rate: float
    train_images: int | None = None  # of the normal class
    test_images: int | None = None  # of each class
    image_size: int | None = None
    seeds: int = 1
    map_width: int = 512  # flattened maps are projected to so many values

    def __str__(self):
        epochs = dict.fromkeys(f"{n:,}" for n in self.epochs.values())
        images = f"{self.train_images:,}" if self.train_images else "all"
        return (
            f"{self.backbone} network, {' or '.join(epochs)} epochs of {images} images, batches of "
            f"{self.batch_size}, learning rate {self.learning_rate:g}"
        )


def _of_all(epochs):
    return dict.fromkeys(TRAINED, epochs)


PAPER = Budget("resnet18", PAPER_EPOCHS, 512, 1e-4, image_size=32)
SMALL = Budget("compact", _of_all(30), 64, 3e-3, train_images=1_000, test_images=250, seeds=2)
BUDGETS = {
    "paper": PAPER,
    "paper-short": PAPER._replace(epochs=_of_all(500)),
    "paper-curves": PAPER._replace(epochs=_of_all(5_000)),
    "small": SMALL,
    "small-curves": SMALL._replace(epochs=_of_all(200), seeds=1),
    "check": Budget("compact", _of_all(2), 64, 3e-3, train_images=40, test_images=5, map_width=32),
}


class Cell(NamedTuple):
    """One network or rival on one task: the columns of nsa.csv that say what was measured.

    `normal` is the class that is trained on, `normalize` and `batch_size` are None for what is not
    trained, and `seed` also draws the images.
    """

    set: str
    normal: int
    method: str
    normalize: str | None = None
    pollution: float = 0.0
    batch_size: int | None = None
    budget: str = "small"
    seed: int = 0

    def columns(self):
        return {name: value for name, value in self._asdict().items() if value is not None}

    def __str__(self):
        return " ".join(f"{name}={value}" for name, value in self.columns().items())


def make_cell(budget, seed, normal, method, normalize="both", batch_size=None, **task):
    """A cell with those values that its method uses."""
    of_training = {"normalize": normalize, "batch_size": batch_size or BUDGETS[budget].batch_size}
    options = of_training if method in TRAINED else {}
    return Cell(method=method, normal=normal, budget=budget, seed=seed, **options, **task)


@functools.lru_cache(maxsize=4)
def read_splits(name, folder):
    """Images and labels of the training and of the test split."""
    return [read_images(name, split, folder) for split in ("train", "test")]


class Task(NamedTuple):
    """The images of a cell."""

    train: np.ndarray
    test: np.ndarray
    is_anomaly: np.ndarray
    y_test: np.ndarray


def draw(cell, y, y_test):
    """Training rows, and test rows with their signs, of labels.

    Raises
    ------
    ValueError
        If the set is not whole, or there are too few outliers.
    """
    budget = BUDGETS[cell.budget]
    if budget.train_images is None and len(y) < N_TRAIN[cell.set]:
        raise ValueError(
            f"--data has {len(y):,} of the {N_TRAIN[cell.set]:,} training images of {cell.set}; "
            "pass a folder with all of them"
        )
    normal = np.flatnonzero(y == cell.normal)
    if budget.train_images is not None:
        normal = np.random.default_rng(cell.seed).permutation(normal)[: budget.train_images]
    rows = np.concatenate([normal, np.flatnonzero(y != cell.normal)])
    test = np.arange(len(y_test))
    if budget.test_images is not None:
        test = np.random.default_rng([cell.seed, 1]).permutation(test)
        classes = (test[y_test[test] == label] for label in np.unique(y_test))
        test = np.concatenate([of_class[: budget.test_images] for of_class in classes])
    data = one_vs_rest(
        rows,
        y[rows],
        cell.normal,
        pollution=cell.pollution,
        X_test=test,
        y_test=y_test[test],
        random_state=cell.seed,
    )
    return data.X_train, data.X_test, data.y_test


def make_task(cell, splits):
    """The images of a cell, from the splits.

    Raises
    ------
    ValueError
        If images are drawn that a packed folder does not hold.
    """
    (X, y), (X_test, y_test) = splits
    rows, test_rows, signs = draw(cell, y, y_test)
    n_missing = int((~X[rows].any(axis=tuple(range(1, X.ndim)))).sum())
    if n_missing:
        raise ValueError(
            f"--data lacks {n_missing:,} of {len(rows):,} training images of the cell {cell}; pass "
            "the whole set, or pack the folder anew with this cell"
        )
    size = BUDGETS[cell.budget].image_size
    images = resize(X[rows], size), resize(X_test[test_rows], size)
    return Task(*images, signs == -1, y_test[test_rows])
