"""AUROC of every feature map with every score: the rows of the paper's Tables 6 to 8, in small.

    python benchmarks/feature_maps.py --data ../shared/data [--objective simsiam]

Two classes of Fashion-MNIST and two of CIFAR-10, 1,500 training images each; trained encoders
beside untrained ones of the same seeds. About 25 minutes on two cores. Tables 6 and 7 are of
simsiam, Table 8 is of simclr. Writes results/feature_maps.json, or feature_maps_simsiam.json;
--small is a quick check that writes nothing. The data folder has a load.py that reads it.
"""

import argparse

import numpy as np
from _one_class import add_arguments, describe_tasks, print_table, repeat, summarize
from _report import write_report
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer

from skanomaly import CenterCosine, FeatureEnsemble, MahalanobisCosine, SelfSupervisedEncoder

# Appendix C calls GDE a kernel density, but takes it from Sohn et al. (2020), whose GDE is one
# Gaussian with full covariance of features of norm one; figure 3 agrees.
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
# figures that span several columns in the paper are columns here
COLUMNS = {name: (name,) for name in SCORES} | {
    "k_cos + k_cos_mah": NEAREST,
    "c_cos + c_cos_mah": CENTER,
    "all four": NEAREST + CENTER,
}


def sum_members(groups):
    """Members "map/score" whose sum is a cell, for each (row, column)."""
    conv = [group for group in groups if not group.startswith("head")]  # flattened and pooled
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


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--objective", choices=("simclr", "simsiam"), default="simclr")
    add_arguments(parser)
    args = parser.parse_args()
    epochs = {"trained": 1 if args.small else 50, "untrained": 0}

    def evaluate_both(seed, *images):
        figures = {}
        for name, n in epochs.items():
            encoder = SelfSupervisedEncoder(
                args.objective, layers="all", max_map_width=512, max_epochs=n, random_state=seed
            )
            cells = evaluate(encoder, *images)
            figures |= {(name, *cell): auroc for cell, auroc in cells.items()}
        return figures

    tables = {name: {} for name in epochs}
    for (name, row, column), values in repeat(evaluate_both, args).items():
        tables[name].setdefault(row, {})[column] = summarize(values)
    for name, table in tables.items():
        rows = {row: cells.values() for row, cells in table.items()}
        print_table(f"{args.objective}, {name}", COLUMNS, rows)
    if not args.small:
        suffix = "" if args.objective == "simclr" else f"_{args.objective}"
        report = {"objective": args.objective, **describe_tasks(args), "auroc": tables}
        write_report(f"feature_maps{suffix}", report)


if __name__ == "__main__":
    main()
