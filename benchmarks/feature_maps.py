"""AUROC of every feature map with every score: the rows of the paper's Tables 6 to 8, in small.

    python benchmarks/feature_maps.py --data ../shared/data [--objective simsiam]

Two classes of Fashion-MNIST and two of CIFAR-10, 1,500 training images each; trained encoders
beside untrained ones of the same seeds. About 20 minutes on two cores. Tables 6 and 7 are of
simsiam, Table 8 is of simclr. Writes results/feature_maps.json, or feature_maps_simsiam.json;
--small is a quick check that writes nothing. The data folder has a load.py that reads it.
"""

import argparse

import numpy as np
from _one_class import CLASSES, N_TEST, N_TRAIN, add_arguments, as_percent, make_tasks, summarize
from _report import write_report
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer

from skanomaly import CenterCosine, FeatureEnsemble, MahalanobisCosine, SelfSupervisedEncoder

# Appendix C calls GDE a kernel density, but takes it from Sohn et al. (2020), whose GDE is one
# Gaussian with full covariance of features of norm one; figure 3 says so too.
SCORES = {
    "k_cos": MahalanobisCosine(whiten=False),
    "k_cos_mah": MahalanobisCosine(),
    "k_cos_mah_printed": MahalanobisCosine(center=True),  # equation 2 to the letter
    "c_cos": CenterCosine(whiten=False),
    "c_cos_mah": CenterCosine(),
    "gde": make_pipeline(Normalizer(), GaussianMixture()),
}
NEAREST = ("k_cos", "k_cos_mah")
CENTER = ("c_cos", "c_cos_mah")
COLUMNS = {name: (name,) for name in SCORES} | {
    "k_cos + k_cos_mah": NEAREST,
    "c_cos + c_cos_mah": CENTER,
    "all four": NEAREST + CENTER,
}


def sum_members(groups):
    """Members "map/score" whose sum is a cell, by the cell's row and column.

    "All conv blocks" are the flattened and the pooled maps; the rows of the paper that span
    several columns are columns here.
    """
    conv = [group for group in groups if not group.startswith("head")]
    rows = {group: [group] for group in groups} | {"All conv blocks": conv, "All blocks": groups}
    cells = {
        (row, column): [f"{group}/{score}" for group in summed for score in scores]
        for row, summed in rows.items()
        for column, scores in COLUMNS.items()
    }
    ens = {group: NEAREST if group in conv else CENTER for group in groups}
    cells["Ens.", "Ens."] = [f"{group}/{s}" for group, scores in ens.items() for s in scores]
    return cells


def evaluate(encoder, train, test, is_anomaly):
    """AUROC of each cell."""
    encoder.fit(train)
    ensemble = FeatureEnsemble(list(SCORES.items()), groups=encoder.layer_slices_)
    # in float32 the covariance of the density could lose its definiteness
    ensemble.fit(encoder.transform(train).astype(np.float64))
    explanation = ensemble.explain(encoder.transform(test).astype(np.float64))
    rescaled = dict(zip(explanation.members, explanation.contributions.T, strict=True))
    return {
        cell: roc_auc_score(is_anomaly, sum(rescaled[member] for member in members))
        for cell, members in sum_members(list(encoder.layer_slices_)).items()
    }


def print_table(title, table):
    print(f"\n{title}\n\n| feature map |", " | ".join(COLUMNS), "|")
    print("|---|" + "--:|" * len(COLUMNS))
    for row, cells in table.items():
        # the one sum of Ens. stands in the first column
        print(f"| {row} |", " | ".join(as_percent(cell) for cell in cells.values()), "|")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--objective", choices=("simclr", "simsiam"), default="simclr")
    add_arguments(parser)
    args = parser.parse_args()
    epochs = {"trained": 1 if args.small else 50, "untrained": 0}
    auroc = {name: {} for name in epochs}
    for number, seed, *images in make_tasks(args):
        for name, max_epochs in epochs.items():
            encoder = SelfSupervisedEncoder(
                args.objective, max_epochs=max_epochs, random_state=seed
            )
            for cell, value in evaluate(encoder, *images).items():
                values = auroc[name].setdefault(cell, np.full((len(CLASSES), args.seeds), np.nan))
                values[number, seed] = value
        print("done:", *CLASSES[number], "seed", seed, flush=True)
    tables = {name: {} for name in epochs}
    for name, cells in auroc.items():
        for (row, column), values in cells.items():
            tables[name].setdefault(row, {})[column] = summarize(values)
        print_table(f"{name}, {args.objective}", tables[name])
    if not args.small:
        suffix = "" if args.objective == "simclr" else f"_{args.objective}"
        report = {
            "objective": args.objective,
            "seeds": args.seeds,
            "classes": CLASSES,
            "train_images": N_TRAIN,
            "test_images_of_each_class": N_TEST,
            "auroc": tables,
        }
        write_report(f"feature_maps{suffix}", report)


if __name__ == "__main__":
    main()
