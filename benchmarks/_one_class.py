"""Tasks with one class of images as normal and the others of its data set as anomalies."""

import sys

import numpy as np

CLASSES = (("fashion_mnist", 0), ("fashion_mnist", 6), ("cifar10", 1), ("cifar10", 4))
N_TRAIN = 1_500
N_TEST = 250  # of each of the ten classes
SMALL = 40, 5  # the same two for --small


def add_arguments(parser):
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--seeds", type=int, default=3, help="number of repetitions")
    parser.add_argument("--small", action="store_true", help="few images, no result file")


def make_tasks(args):
    """Class number, seed, training images, test images and which of these are anomalies."""
    sys.path.insert(0, args.data)
    import load

    n_train, n_test = SMALL if args.small else (N_TRAIN, N_TEST)
    splits = {
        name: (*load.images(name, "train"), *load.images(name, "test"))
        for name in dict.fromkeys(name for name, _ in CLASSES)
    }
    for number, (name, normal) in enumerate(CLASSES):
        X_train, y_train, X_test, y_test = splits[name]
        for seed in range(args.seeds):
            rng = np.random.default_rng(seed)
            train = _draw(rng, y_train, normal, n_train)
            test = np.concatenate([_draw(rng, y_test, c, n_test) for c in np.unique(y_test)])
            yield number, seed, X_train[train], X_test[test], y_test[test] != normal


def _draw(rng, labels, label, size):
    return rng.choice(np.flatnonzero(labels == label), size, replace=False)


def summarize(values):
    """Figures of AUROC (classes, seeds)."""
    per_seed = values.mean(axis=0)
    return {
        "mean": round(float(values.mean()), 4),
        "std_over_seeds": round(float(per_seed.std(ddof=1)), 4) if len(per_seed) > 1 else None,
        "classes": [round(float(v), 4) for v in values.mean(axis=1)],
    }


def as_percent(summary):
    std = "" if summary["std_over_seeds"] is None else f" ± {100 * summary['std_over_seeds']:.1f}"
    return f"{100 * summary['mean']:.1f}{std}"
