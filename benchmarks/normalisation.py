"""AUROC with each of the two normalisations, at two batch sizes: the paper's Table 3, in small.

    python benchmarks/normalisation.py --data ../shared/data [--learning-rate 3e-4]

T-shirts of Fashion-MNIST and cars of CIFAR-10 (--classes 1 3 are the other two), 1,000 training
images each, with the compact backbone, three seeds: means and standard deviations, beside the
untrained encoder. k-Cos is of the last averaged layer, as in the paper's table; the ensemble is the
default. About half an hour on two cores. Writes results/normalisation.json after each training, to
which runs with other options are added; --small is a quick check that writes nothing. The data
folder has a load.py that reads it.
"""

import argparse

import numpy as np
from _one_class import (
    CLASSES,
    SIZES,
    add_arguments,
    evaluate_detector,
    make_tasks,
    print_table,
    summarize,
)
from _report import extend_report

from skanomaly import FeatureEnsemble, NSADetector, SelfSupervisedEncoder

N_TRAIN = 1_000
BATCH_SIZES = (32, 256)
SCORES = ("k_cos", "ensemble")
# the paper's Table 3 (nsa_table3.csv), CIFAR-10: AUROC with batches of 32 and of 512
PAPER = {
    None: (77.97, 89.56),
    "embedding": (85.76, 91.63),
    "projection": (81.73, 89.22),
    "both": (92.9, 91.7),
}
UNTRAINED = "untrained", None
DEFAULT_RATE = SelfSupervisedEncoder().learning_rate


def evaluate(args, setting, seed, train, *test):
    """Figures of one (normalize, batch size)."""
    if setting == UNTRAINED:
        encoder = SelfSupervisedEncoder(max_epochs=0)
    else:
        normalize, batch_size = setting
        encoder = SelfSupervisedEncoder(
            args.objective,
            normalize=normalize,
            batch_size=batch_size,
            max_epochs=args.epochs,
            learning_rate=args.learning_rate,
        )
    return evaluate_detector(
        NSADetector(encoder, FeatureEnsemble(), random_state=seed).fit(train), train, *test
    )


def print_aurocs(results, args):
    """Figures by (setting, class, seed) beside the paper's."""

    def cells(setting):
        for score in SCORES:
            each = [
                [results[setting, n, s][score] for s in range(args.seeds)] for n in args.classes
            ]
            yield summarize(np.array(each))

    columns = [f"{score}, {size}" for size in BATCH_SIZES for score in SCORES]
    rows = {
        str(normalize): [*(c for size in BATCH_SIZES for c in cells((normalize, size))), *paper]
        for normalize, paper in PAPER.items()
    }
    rows["untrained"] = list(cells(UNTRAINED))
    print_table(args.objective, [*columns, "paper, 32", "paper, 512"], rows)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--objective", choices=("simsiam", "byol", "simclr"), default="simsiam")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--learning-rate", type=float, default=DEFAULT_RATE)
    parser.add_argument("--classes", type=int, nargs="+", default=[0, 2])
    add_arguments(parser)
    args = parser.parse_args()
    if args.small:
        args.epochs, args.seeds = 1, 1
    settings = [UNTRAINED, *((normalize, size) for size in BATCH_SIZES for normalize in PAPER)]
    results = {}
    about = {"train_images": N_TRAIN, "test_images_of_each_class": SIZES[1]}
    for number, seed, *images in make_tasks(args, args.classes, (N_TRAIN, SIZES[1])):
        for setting in settings:
            figures = results[setting, number, seed] = evaluate(args, setting, seed, *images)
            normalize, size = setting
            recipe = f"{args.objective}, {args.epochs} epochs"
            if args.learning_rate != DEFAULT_RATE:
                recipe += f", learning rate {args.learning_rate:g}"
            trained = f"{recipe}, {normalize}, batches of {size}"
            name, label = CLASSES[number]
            key = f"{name} {label}, seed {seed}, {normalize if size is None else trained}"
            print(key, figures, flush=True)
            if not args.small:
                extend_report("normalisation", about, {key: figures})
    print_aurocs(results, args)


if __name__ == "__main__":
    main()
