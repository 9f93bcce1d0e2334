"""Tables 1 and 3 of DUM, in small: corrupted images and images of other sets.

    python benchmarks/dum_images.py --data ../shared/data [--epochs 30]

An encoder (SimCLR, compact) is trained on 3,000 training images of CIFAR-10, or of Fashion-MNIST at
32 x 32 pixels in three channels, and detectors on its embeddings of them. AUROC is of 1,000 test
images against as many of another set (the other of the two, or scikit-learn's digits), and against
1,000 other test images corrupted at severity 3; p-values are of `shift_test` between the same. No
set that is scored against plays a part in training. Rivals: the same detector on the untrained
encoder, MahalanobisCosine on the same embeddings, the nearest image in pixels.

Needs imagecorruptions (the test extra has it). About half an hour on one core. Writes
results/dum_images.json after each training; --small is a quick check that writes nothing.
"""

import argparse

import numpy as np
from _corruptions import NAMES, corrupt_images
from _data import read_images, resize
from _report import extend_report
from _scores import NeighborDistance
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skanomaly import DUMDetector, MahalanobisCosine, SelfSupervisedEncoder

SETS = ("cifar10", "fashion_mnist")
N_TRAIN, N_TEST = 3_000, 1_000
SEVERITY = 3
PRINTED = {**DUMDetector.PUBLISHED, "hidden_layers": (256, 256, 256)}
WHITENED = {"scaling": "whitened"}  # the default if the encoder is passed
ON_EMBEDDINGS = {
    "DUM": {},
    "DUM, circular": {"covariance": "circular"},
    "DUM, standardised": {"scaling": "standard"},
    "DUM, marginal views": {"views": "marginal"},
    "DUM, printed": PRINTED,
}
ON_IMAGES = {
    "DUM, views of images": {"augment": "color", "views": None},
    "DUM, both views": {"augment": "color"},
}


def as_colour(images):
    """uint8 images (n, 32, 32, 3)."""
    resized = resize(images, 32)
    return resized if resized.ndim == 4 else np.repeat(resized[..., None], 3, axis=-1)


def read_sets(args):
    """Training and test images by name; test images alone of the digits."""
    sets = {
        name: tuple(
            as_colour(read_images(name, split, args.data, args.root)[0])
            for split in ("train", "test")
        )
        for name in SETS
    }
    digits = as_colour((load_digits().images / 16 * 255).astype(np.uint8))
    return sets | {"digits": (None, digits)}


def fit_detectors(train, epochs, seed):
    """Functions that score images, by name, and the detector of the default and its encoder."""

    def fit_encoder(epochs):
        encoder = SelfSupervisedEncoder(layers="last", max_epochs=epochs, random_state=seed)
        return encoder.fit(train)

    encoder, untrained = fit_encoder(epochs), fit_encoder(0)
    embeddings = encoder.transform(train)
    fitted = {
        name: (encoder, DUMDetector(**WHITENED | options, random_state=seed).fit(embeddings))
        for name, options in ON_EMBEDDINGS.items()
    }
    fitted["DUM, untrained encoder"] = (
        untrained,
        DUMDetector(**WHITENED, random_state=seed).fit(untrained.transform(train)),
    )
    fitted["k-Cos (Mah)"] = encoder, MahalanobisCosine().fit(embeddings)
    for name, options in ON_IMAGES.items():
        detector = DUMDetector(FrozenEstimator(encoder), **options, random_state=seed)
        fitted[name] = None, detector.fit(train)
    flatten = FunctionTransformer(lambda images: images.reshape(len(images), -1))
    fitted["nearest pixels"] = (
        None,
        make_pipeline(flatten, NeighborDistance(1, standardize=False)).fit(train),
    )
    return fitted


def score(encoder, detector, images):
    return detector.score_samples(images if encoder is None else encoder.transform(images))


def evaluate(name, sets, seed, args):
    """AUROC of each detector against each other set and corruption, and p-values of the default."""
    rng = np.random.default_rng(seed)
    n_train, n_test = (200, 40) if args.small else (N_TRAIN, N_TEST)
    train, test = (rng.permutation(images) for images in sets[name])
    held_out, others = test[:n_test], test[n_test : 2 * n_test]
    against = {
        other: rng.permutation(images[1])[:n_test]
        for other, images in sets.items()
        if other != name
    }
    against["none"] = others
    for corruption in NAMES:
        against[corruption] = corrupt_images(others, corruption, SEVERITY, seed)
    fitted = fit_detectors(train[:n_train], args.epochs, seed)
    is_other = np.repeat([0, 1], n_test)
    auroc = {}
    for method, (encoder, detector) in fitted.items():
        normal = score(encoder, detector, held_out)
        for other, images in against.items():
            scores = -np.r_[normal, score(encoder, detector, images)]
            figure = 100 * roc_auc_score(is_other[: len(scores)], scores)
            auroc.setdefault(method, {})[other] = round(float(figure), 2)
    encoder, detector = fitted["DUM"]
    reference = encoder.transform(held_out)
    p_values = {
        other: float(detector.shift_test(encoder.transform(images), reference=reference).p_value)
        for other, images in against.items()
    }
    return {"auroc": auroc, "p_value": p_values}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--root", help="torchvision's files, if the data folder has no such set")
    parser.add_argument("--seeds", type=int, default=3, help="number of repetitions")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--small", action="store_true", help="few images, no result file")
    args = parser.parse_args()
    if args.small:
        args.seeds, args.epochs = 1, 1
    sets = read_sets(args)
    about = {"train_images": N_TRAIN, "test_images": N_TEST, "severity": SEVERITY}
    about["epochs"] = args.epochs
    for seed in range(args.seeds):
        for name in SETS:
            figures = evaluate(name, sets, seed, args)
            for method, auroc in figures["auroc"].items():
                print(name, seed, method, auroc, flush=True)
            if not args.small:
                extend_report("dum_images", about, {f"{name}, seed {seed}": figures})


if __name__ == "__main__":
    main()
