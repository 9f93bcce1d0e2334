"""DUM on images: Tables 1 and 3 of the paper, and its figure 1, in small."""

import warnings
from contextlib import contextmanager
from typing import NamedTuple
from unittest import mock

import numpy as np
import torch
from scipy.stats import spearmanr
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skanomaly import DUMDetector, MahalanobisCosine, NeighborDistance, SelfSupervisedEncoder
from skanomaly.encoders import ImageAugmentation

from .data import choose, read_images, resize

SETS = ("cifar10", "fashion_mnist")
SIZES = N_TRAIN, N_TEST = 3_000, 1_000
EPOCHS = 20
SEVERITY = 3
WHITENED = {"scaling": "whitened"}  # the default if the encoder is passed
ON_EMBEDDINGS = {
    "DUM": {},
    "DUM, circular": {"covariance": "circular"},
    "DUM, standardised": {"scaling": "standard"},
    "DUM, marginal views": {"views": "marginal"},
    "DUM, printed": {**DUMDetector.PUBLISHED, "hidden_layers": (256, 256, 256)},
}
ON_IMAGES = {
    "DUM, views of images": {"augment": "color", "views": None},
    "DUM, both views": {"augment": "color"},
}

CLASSES = {1: "automobile", 5: "dog", 8: "ship"}
N_CERTAINTY, N_VIEWS, N_SHOWN = 2_000, 200, 8
AREAS = (1.0, 0.5, 0.25, 0.1)


def dum_images(options, records):
    """Tables 1 and 3 of DUM, in small: corrupted images and images of other sets.

    An encoder (SimCLR, compact, 20 epochs) is trained on 3,000 images of CIFAR-10, or of
    Fashion-MNIST at 32 x 32 pixels in three channels, and detectors on its embeddings of them.
    `auroc` is of 1,000 test images against as many of another set (the other of the two, or
    scikit-learn's digits), and against 1,000 other test images as they are ("none") and corrupted
    at severity 3; `p_value` of `shift_test` between the same. No set that is scored against plays
    a part in training. 2 seeds. Needs imagecorruptions. Half an hour on one core.
    """
    sets = {
        name: [as_colour(read_images(name, s, options.data)[0]) for s in ("train", "test")]
        for name in SETS
    }
    sets["digits"] = None, as_colour((load_digits().images / 16 * 255).astype(np.uint8))
    names = choose("--methods", options.methods, make_detectors(None, 0))
    trained_on = choose("--sets", options.sets, SETS)
    if options.small:
        names, trained_on = names[:1], trained_on[:1]
    for seed in range(1 if options.small else options.seeds or 2):
        for name in trained_on:
            about = {"set": name, "seed": seed}
            missing = [method for method in names if not records.has(**about, method=method)]
            if missing:
                task = make_task(sets, name, seed, *((100, 20) if options.small else SIZES))
                encoders = fit_encoders(task.train, seed, 1 if options.small else EPOCHS)
                for method in missing:
                    rows = evaluate(method, task, encoders, seed)
                    records.add_all([{**about, "method": method, **row} for row in rows])


def as_colour(images):
    """uint8 images (n, 32, 32, 3)."""
    resized = resize(images, 32)
    return resized if resized.ndim == 4 else np.repeat(resized[..., None], 3, axis=-1)


class Task(NamedTuple):
    """Images to fit on, as many others of the same set, and what these are told from, by name."""

    train: np.ndarray
    test: np.ndarray
    against: dict


def make_task(sets, name, seed, n_train, n_test):
    rng = np.random.default_rng(seed)
    train, test = (rng.permutation(images) for images in sets[name])
    others = test[n_test : 2 * n_test]
    against = {
        other: rng.permutation(images[1])[:n_test]
        for other, images in sets.items()
        if other != name
    }
    against["none"] = others
    for corruption in corruption_names():
        against[corruption] = corrupt_images(others, corruption, SEVERITY, seed)
    return Task(train[:n_train], test[:n_test], against)


def fit_encoders(train, seed, epochs):
    """The encoder after so many epochs, and untrained."""
    encoder = SelfSupervisedEncoder(layers="last", random_state=seed)
    return {
        name: clone(encoder).set_params(max_epochs=n).fit(train)
        for name, n in (("trained", epochs), ("untrained", 0))
    }


def make_detectors(encoder, seed):
    """The name of the encoder whose embeddings are scored, or None, and the detector, by method."""
    flatten = FunctionTransformer(lambda images: images.reshape(len(images), -1))
    return {
        **{
            name: ("trained", DUMDetector(**WHITENED | options, random_state=seed))
            for name, options in ON_EMBEDDINGS.items()
        },
        "DUM, untrained encoder": ("untrained", DUMDetector(**WHITENED, random_state=seed)),
        "k-Cos (Mah)": ("trained", MahalanobisCosine()),
        **{
            name: (None, DUMDetector(FrozenEstimator(encoder), **options, random_state=seed))
            for name, options in ON_IMAGES.items()
        },
        "nearest pixels": (None, make_pipeline(flatten, NeighborDistance(1, standardize=False))),
    }


def evaluate(method, task, encoders, seed):
    """A row for each other set and corruption."""
    name, detector = make_detectors(encoders["trained"], seed)[method]
    embed = encoders[name].transform if name else lambda images: images
    detector.fit(embed(task.train))
    reference = embed(task.test)
    normal = detector.score_samples(reference)
    for other, images in task.against.items():
        embedded = embed(images)
        scores = -np.r_[normal, detector.score_samples(embedded)]
        auroc = roc_auc_score(np.arange(len(scores)) >= len(normal), scores)
        row = {"against": other, "auroc": round(100 * float(auroc), 2)}
        if method == "DUM":
            row["p_value"] = detector.shift_test(embedded, reference=reference).p_value
        yield row


def dum_certainty(options, records):
    """Figure 1 of DUM, in small: images and views in the order of how certain their embeddings are.

    An encoder (SimCLR, compact, 20 epochs) is trained on 3,000 images of CIFAR-10 of all classes,
    and DUM on its embeddings. `crop_area` is the share of an image that a crop keeps, and
    `less_certain` the share of 2,000 test images whose crop is less certain than the whole image;
    the row without an area has Spearman's correlation of area and score. dum_certainty.png shows
    the most and the least certain images of three classes, and views of one image. 2 seeds; no
    label plays a part. A few minutes on one core.
    """
    train, _ = read_images("cifar10", "train", options.data)
    test, y = read_images("cifar10", "test", options.data)
    n_train, n_test, epochs = (100, 200, 1) if options.small else (N_TRAIN, N_CERTAINTY, EPOCHS)
    for seed in range(1 if options.small else options.seeds or 2):
        if records.has(seed=seed):
            continue
        rng = np.random.default_rng(seed)
        chosen = rng.permutation(len(test))[:n_test]
        certainty = fit_certainty(rng.permutation(train)[:n_train], epochs, seed)
        rows = measure_crops(certainty, test[chosen], seed)
        records.add_all([{"seed": seed, **row} for row in rows])
        if seed == 0:
            page = draw_picture(certainty, test[chosen], y[chosen], seed)
            path = records.folder / "dum_certainty.png"
            page.savefig(path, dpi=80, metadata={"Software": None})


def fit_certainty(train, epochs, seed):
    """A function that scores images: the higher, the more certain."""
    encoder = SelfSupervisedEncoder(layers="last", max_epochs=epochs, random_state=seed).fit(train)
    detector = DUMDetector(scaling="whitened", random_state=seed).fit(encoder.transform(train))
    return lambda images: detector.score_samples(encoder.transform(images))


def make_views(images, augmentation, seed):
    """A view of each uint8 image (n, height, width, 3)."""
    tensor = torch.from_numpy(images).movedim(-1, 1).float() / 255
    views = augmentation(tensor, torch.Generator().manual_seed(seed))
    return (255 * views).round().clamp(0, 255).to(torch.uint8).movedim(1, -1).numpy()


def measure_crops(certainty, images, seed):
    """A row for each area, and one for all."""
    crops = [
        ImageAugmentation(crop_area=(a, a), aspect_ratio=(1, 1), jitter=0, grayscale=0)
        for a in AREAS
    ]
    scores = np.array([certainty(make_views(images, crop, seed)) for crop in crops])
    for area, of_area in zip(AREAS, scores, strict=True):
        yield {
            "crop_area": area,
            "mean_score": round(float(of_area.mean()), 3),
            "less_certain": round(float((of_area < scores[0]).mean()), 3),
        }
    correlation = spearmanr(np.repeat(AREAS, len(images)), scores.ravel()).statistic
    yield {"spearman": round(float(correlation), 3)}


def choose_extremes(certainty, images):
    """The most certain images, and the least certain ones."""
    order = np.argsort(-certainty(images))
    return images[order[:N_SHOWN]], images[order[-N_SHOWN:]]


def draw_picture(certainty, images, y, seed):
    """Rows of images of each class, and of views of one image."""
    from matplotlib.figure import Figure

    rows = {name: choose_extremes(certainty, images[y == label]) for label, name in CLASSES.items()}
    copies = np.repeat(images[y == min(CLASSES)][:1], N_VIEWS, axis=0)
    views = make_views(copies, ImageAugmentation(crop_area=(0.08, 1)), seed)
    rows["views of one image"] = choose_extremes(certainty, views)
    page = Figure(figsize=(1.2 * N_SHOWN + 1.6, 0.75 * len(rows)), layout="constrained")
    axes = page.subplots(len(rows), 2, squeeze=False)
    for row, (title, pair) in zip(axes, rows.items(), strict=True):
        for axis, shown in zip(row, pair, strict=True):
            axis.imshow(np.concatenate(list(shown), axis=1))
            axis.set(xticks=[], yticks=[])
        row[0].set_ylabel(title, rotation=0, ha="right", va="center")
    axes[0][0].set_title("most certain")
    axes[0][1].set_title("least certain")
    return page


@contextmanager
def imported_corruptions():
    """The package of CIFAR-10-C's corruptions (Hendrycks and Dietterich, 2019).

    It was written for earlier versions of numpy and scikit-image; two functions that are gone from
    these are lent to it while it runs. It also needs setuptools < 81.
    """
    with warnings.catch_warnings(), mock.patch.object(np, "float_", np.float64, create=True):
        warnings.simplefilter("ignore")
        import imagecorruptions
        from skimage.filters import gaussian

        def blur(image, sigma, multichannel=False, **options):
            return gaussian(image, sigma, channel_axis=-1 if multichannel else None, **options)

        with mock.patch.object(imagecorruptions.corruptions, "gaussian", blur):
            yield imagecorruptions


def corruption_names():
    with imported_corruptions() as package:
        return tuple(package.get_corruption_names())


def corrupt_images(images, name, severity, seed):
    """Corrupted copies of uint8 images (n, height, width, 3)."""
    state = np.random.get_state()  # noqa: NPY002, which the corruptions draw from
    np.random.seed(seed)  # noqa: NPY002
    try:
        with imported_corruptions() as package:
            return np.stack([package.corrupt(image, severity, name) for image in images])
    finally:
        np.random.set_state(state)  # noqa: NPY002
