"""Tasks with one class of images as normal and the others of its data set as anomalies."""

import numpy as np
from _data import read_images
from _markdown import table
from sklearn.metrics import roc_auc_score

from skanomaly import MahalanobisCosine

CLASSES = (("fashion_mnist", 0), ("fashion_mnist", 6), ("cifar10", 1), ("cifar10", 4))
SIZES = 1_500, 250  # training images, test images of each of the ten classes
SMALL_SIZES = 40, 5


def add_arguments(parser):
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--seeds", type=int, default=3, help="number of repetitions")
    parser.add_argument("--small", action="store_true", help="few images, no result file")


def repeat(evaluate, args):
    """Figures (classes, seeds) by name.

    `evaluate(seed, train, test, is_anomaly)` returns a dict of figures; the seed also draws the
    images.
    """
    values = {}
    for number, seed, *images in make_tasks(args):
        for name, value in evaluate(seed, *images).items():
            values.setdefault(name, np.full((len(CLASSES), args.seeds), np.nan))
            values[name][number, seed] = value
        print("done:", *CLASSES[number], "seed", seed, flush=True)
    return values


def make_tasks(args, numbers=None, sizes=SIZES):
    """Number of the class, seed, training images, test images and which of these are anomalies.

    `numbers` are indices of CLASSES, None all of them.
    """
    numbers = range(len(CLASSES)) if numbers is None else numbers
    n_train, n_test = SMALL_SIZES if args.small else sizes
    splits = {
        name: (*read_images(name, "train", args.data), *read_images(name, "test", args.data))
        for name in dict.fromkeys(CLASSES[number][0] for number in numbers)
    }
    for number in numbers:
        name, normal = CLASSES[number]
        X_train, y_train, X_test, y_test = splits[name]
        for seed in range(args.seeds):
            rng = np.random.default_rng(seed)
            train = _draw(rng, y_train, normal, n_train)
            test = np.concatenate([_draw(rng, y_test, c, n_test) for c in np.unique(y_test)])
            yield number, seed, X_train[train], X_test[test], y_test[test] != normal


def _draw(rng, labels, label, size):
    return rng.choice(np.flatnonzero(labels == label), size, replace=False)


def evaluate_detector(detector, train, test, is_anomaly):
    """AUROC of a fitted detector and of k-Cos on its encoder's last averaged layer; last epoch."""
    auroc = {"ensemble": roc_auc_score(is_anomaly, -detector.score_samples(test))}
    encoder = detector.encoder_
    last = [name for name in encoder.layer_slices_ if name.endswith("(1x1)")][-1]
    rows = [encoder.transform_blocks(images)[last] for images in (train, test)]
    nearest = MahalanobisCosine(whiten=False).fit(rows[0])
    auroc["k_cos"] = roc_auc_score(is_anomaly, -nearest.score_samples(rows[1]))
    figures = {name: round(float(value), 4) for name, value in auroc.items()}
    for epoch in encoder.history_[-1:]:
        figures |= {
            name: float(f"{epoch[name]:.4g}") for name in ("loss", "kappa", "embedding_std")
        }
    return figures


def describe_tasks(args):
    n_train, n_test = SIZES
    return {
        "seeds": args.seeds,
        "classes": CLASSES,
        "train_images": n_train,
        "test_images_of_each_class": n_test,
    }


def summarize(values):
    """Mean of figures (classes, seeds), and the deviation of the mean over classes."""
    per_seed = values.mean(axis=0)
    return {
        "mean": round(float(values.mean()), 4),
        "std_over_seeds": round(float(per_seed.std(ddof=1)), 4) if len(per_seed) > 1 else None,
        "each_class": [round(float(v), 4) for v in values.mean(axis=1)],
    }


def print_table(corner, columns, rows):
    """Markdown; `rows` have a name and cells, which are summaries in per cent, text or nothing."""
    lines = [
        [name, *(_as_percent(cell) if isinstance(cell, dict) else cell for cell in cells)]
        for name, cells in rows.items()
    ]
    print("\n" + table(columns, lines, corner))


def _as_percent(summary):
    std = summary["std_over_seeds"]
    return f"{100 * summary['mean']:.1f}" + ("" if std is None else f" ± {100 * std:.1f}")
