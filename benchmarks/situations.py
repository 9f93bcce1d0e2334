"""An experiment on which detector suits which images: kinds or defects, many or few, by method."""

import time
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from skanomaly import NSADetector, PatchCosine, SelfSupervisedEncoder

from .data import read_images
from .defects import PixelDistance, load_efficientnet, read_photographs

SIZES = (50, 250, 1_000, 5_000)
KINDS = {"cifar10": (1, 4), "fashion_mnist": (0, 6)}  # cars, deer; T-shirts, shirts
TILES = "magnetic_tiles"
N_TESTED = 300  # normal images, and as many others
SMALL_IMAGE_SIZE = 96  # pixels, for the pretrained network, of images of 28 or 32
N_FINE_TUNED, N_EPOCHS = 250, 10
FINE_TUNING = {
    "simclr": {"learning_rate": 1e-4},
    # the authors' optimizer, temperature and learning rate
    "mean-shifted": {
        "optimizer": "sgd",
        "learning_rate": 1e-5,
        "weight_decay": 5e-5,
        "temperature": 0.25,
        "batch_size": N_FINE_TUNED,
    },
}


def situations(options, records):
    """Which detector suits which images: kinds or defects, 50 to 5,000, pretrained or not.

    One class of CIFAR-10 or Fashion-MNIST is normal; 300 of its test images are scored, and 300 of
    the other classes'. Of magnetic_tiles (see ``defects``) the test photographs are scored.
    EfficientNet-Lite0 gets small images at 96 x 96 pixels. On 250 photographs of CIFAR-10 it is
    also fine-tuned for 10 epochs, by SimCLR and by the mean-shifted loss. Two hours on one core.
    """
    sizes = (50,) if options.small else SIZES
    for n in sizes:
        for name, label in list_tasks(options):
            for seed in range(options.seeds or 1):
                about = {"set": name, "class": label, "n_train": n, "seed": seed}
                measure(about, options, records)


def list_tasks(options):
    tasks = [(name, label) for name, labels in KINDS.items() for label in labels] + [(TILES, -1)]
    asked = options.sets or (["fashion_mnist"] if options.small else [*KINDS, TILES])
    return [task for task in tasks if task[0] in asked]


def measure(about, options, records):
    """A row for each method that has none."""
    methods = make_methods(about)
    names = [name for name in options.methods or methods if name in methods]
    missing = [name for name in names if not records.has(**about, method=name)]
    if not missing:
        return
    found = read_task(**about, folder=options.data)
    if found is None:
        return
    train, test, is_anomaly = found
    for name in missing:
        start = time.perf_counter()
        detector = methods[name]().fit(train)
        fitted = time.perf_counter()
        auroc = 100 * roc_auc_score(is_anomaly, -detector.score_samples(test))
        records.add(
            **about,
            method=name,
            auroc=round(auroc, 2),
            fit_seconds=round(fitted - start, 1),
            score_seconds=round(time.perf_counter() - fitted, 1),
        )


def read_task(set, n_train, seed, folder, **about):
    """Training images, test images and which of these are anomalies; None if there are too few."""
    rng = np.random.default_rng(seed)
    if set == TILES:
        if n_train > N_FINE_TUNED:
            return None
        train, test, kinds, _ = read_photographs(Path(folder, set), seed)
        return train[np.sort(rng.permutation(len(train))[:n_train])], test, kinds != "good"
    images, labels = read_images(set, "train", folder)
    train = images[rng.permutation(np.flatnonzero(labels == about["class"]))[:n_train]]
    images, labels = read_images(set, "test", folder)
    is_normal = labels == about["class"]
    chosen = [rng.permutation(np.flatnonzero(rows))[:N_TESTED] for rows in (is_normal, ~is_normal)]
    return train, images[np.concatenate(chosen)], np.repeat([False, True], N_TESTED)


def make_methods(about):
    """Functions that make detectors, by name."""
    seed, are_tiles = about["seed"], about["set"] == TILES

    def pretrained():
        return load_efficientnet(224 if are_tiles else SMALL_IMAGE_SIZE)

    def detector(make_encoder, *scorers):
        return lambda: NSADetector(make_encoder(), *scorers, random_state=seed)

    methods = {
        "nearest pixels": PixelDistance,
        "untrained": detector(lambda: SelfSupervisedEncoder(max_epochs=0)),
        "NSADetector()": detector(lambda: None),
        "pretrained": detector(pretrained),
        "pretrained, PatchCosine": detector(pretrained, PatchCosine()),
    }
    if about["n_train"] == N_FINE_TUNED and about["set"] == "cifar10":
        for objective, options in FINE_TUNING.items():
            methods[f"pretrained, {objective}"] = detector(
                lambda objective=objective, options=options: SelfSupervisedEncoder(
                    objective, backbone=pretrained(), max_epochs=N_EPOCHS, **options
                )
            )
    return methods
