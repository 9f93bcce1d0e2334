"""What projecting wide feature maps loses in AUROC and saves in time.

    python benchmarks/projection.py --data ../shared/data

The flattened maps of one encoder, whole and projected, are scored as in the default ensemble.
Two classes of Fashion-MNIST and two of CIFAR-10, 1,500 training images each. About half an hour on
two cores. Writes results/projection.json; --small is a quick check that writes nothing. The data
folder has a load.py that reads it.
"""

import argparse
import time

import numpy as np
import torch
from _one_class import CLASSES, N_TEST, N_TRAIN, add_arguments, as_percent, make_tasks, summarize
from _report import write_report
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import FunctionTransformer
from sklearn.random_projection import GaussianRandomProjection

from skanomaly import FeatureEnsemble, SelfSupervisedEncoder
from skanomaly.encoders._features import SparseProjection


class CountSketch:
    """The encoder's own projection, as a transformer."""

    def __init__(self, width, seed):
        self.width, self.seed = width, seed

    def fit(self, X):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.projection = SparseProjection(X.shape[1], self.width)
        return self

    def transform(self, X):
        return self.projection(torch.from_numpy(X)).numpy()


def make_projections(widths, seed):
    """By name a function that makes the transformer of one map.

    PCA subtracts the training mean, so that angles are about another origin; the truncated SVD is
    the same without. Both have seen the training rows, whose leave-one-out scores are then
    too good by what a row itself adds to the axes.
    """
    widest = widths[0]
    return {
        "whole": FunctionTransformer,
        **{f"count sketch to {w}": lambda w=w: CountSketch(w, seed) for w in widths},
        f"Gaussian to {widest}": lambda: GaussianRandomProjection(widest, random_state=seed),
        f"PCA to {widest}, centred": lambda: PCA(widest, random_state=seed),
        f"SVD to {widest}, not centred": lambda: TruncatedSVD(widest, random_state=seed),
    }


def rescaled_scores(train, test, make_transformer):
    """Sum of the rescaled scores of each map (n_test,), and seconds to project and score."""
    transformers = {name: make_transformer().fit(rows) for name, rows in train.items()}

    def project(maps):
        return np.hstack([transformers[name].transform(rows) for name, rows in maps.items()])

    projected = {name: t.transform(train[name][:1]).shape[1] for name, t in transformers.items()}
    stops = np.cumsum(list(projected.values())).tolist()
    groups = {
        name: slice(stop - width, stop)
        for (name, width), stop in zip(projected.items(), stops, strict=True)
    }
    ensemble = FeatureEnsemble(groups=groups).fit(project(train))
    start = time.perf_counter()
    ensemble.score_samples(project(test))
    seconds = time.perf_counter() - start
    explanation = ensemble.explain(project(test))
    sums = dict.fromkeys(groups, 0.0)
    for member, contributions in zip(explanation.members, explanation.contributions.T, strict=True):
        sums[member.rpartition("/")[0]] += contributions
    return sums, seconds


def evaluate(maps, is_anomaly, projections):
    """AUROC of each wide map, of all of them and of the whole ensemble; seconds for the maps."""
    is_wide = {name: name.startswith("conv") and "(1x1)" not in name for name in maps[0]}
    wide, rest = (
        [{name: m for name, m in split.items() if is_wide[name] == chosen} for split in maps]
        for chosen in (True, False)
    )
    others = sum(rescaled_scores(*rest, FunctionTransformer)[0].values())
    figures = {}
    for name, make_transformer in projections.items():
        sums, seconds = rescaled_scores(*wide, make_transformer)
        sums["flattened maps"] = sum(sums.values())
        sums["ensemble"] = sums["flattened maps"] + others
        auroc = {scored: roc_auc_score(is_anomaly, values) for scored, values in sums.items()}
        figures[name] = auroc | {"seconds": seconds}
    return figures


def main():
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    args = parser.parse_args()
    widths, max_epochs = ((32, 16, 8), 1) if args.small else ((512, 256, 128), 50)
    values = {}  # (projection, what is scored) -> (classes, seeds)
    for number, seed, train, test, is_anomaly in make_tasks(args):
        encoder = SelfSupervisedEncoder(
            max_map_width=None, max_epochs=max_epochs, random_state=seed
        )
        maps = [encoder.fit(train).transform_layers(train), encoder.transform_layers(test)]
        for name, figures in evaluate(maps, is_anomaly, make_projections(widths, seed)).items():
            for scored, value in figures.items():
                shape = len(CLASSES), args.seeds
                values.setdefault((name, scored), np.full(shape, np.nan))[number, seed] = value
        print("done:", *CLASSES[number], "seed", seed, flush=True)
    results = {}
    for (name, scored), v in values.items():
        row = results.setdefault(name, {"auroc": {}})
        if scored == "seconds":
            row["seconds"] = round(float(np.median(v)), 3)
        else:
            row["auroc"][scored] = summarize(v)
    for name, row in results.items():  # paired, as all projections are of the same maps
        row["loss_of_ensemble"] = summarize(values["whole", "ensemble"] - values[name, "ensemble"])
    columns = [*results["whole"]["auroc"], "loss of ensemble", "seconds"]
    print("\n| projection |", " | ".join(columns), "|\n|---|" + "--:|" * len(columns))
    for name, row in results.items():
        cells = [as_percent(s) for s in (*row["auroc"].values(), row["loss_of_ensemble"])]
        print(f"| {name} |", " | ".join(cells), f"| {row['seconds']:.2f} |")
    if not args.small:
        report = {
            "seeds": args.seeds,
            "classes": CLASSES,
            "train_images": N_TRAIN,
            "test_images_of_each_class": N_TEST,
            "projections": results,
        }
        write_report("projection", report)


if __name__ == "__main__":
    main()
