"""What projecting wide feature maps loses in AUROC and saves in time.

    python benchmarks/projection.py --data ../shared/data

The flattened maps of one encoder, whole and projected, are scored as in the default ensemble.
Two classes of Fashion-MNIST and two of CIFAR-10, 1,500 training images each. About 30 minutes
on two cores. Writes results/projection.json; --small is a quick check that writes nothing. The
data folder has a load.py that reads it.
"""

import argparse
import time

import numpy as np
import torch
from _one_class import add_arguments, describe_tasks, print_table, repeat, summarize
from _report import write_report
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import FunctionTransformer
from sklearn.random_projection import GaussianRandomProjection

from skanomaly import FeatureEnsemble, SelfSupervisedEncoder
from skanomaly.encoders._encoder_network import SparseProjection


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
    """Functions that make the transformer of one map.

    PCA subtracts the training mean, which moves the origin that angles are measured at; the
    truncated SVD does not. Both are fitted on the training rows, so that the scores of these are
    not quite leave-one-out.
    """
    widest = widths[0]
    return {
        "whole": FunctionTransformer,
        **{f"count sketch to {w}": lambda w=w: CountSketch(w, seed) for w in widths},
        f"Gaussian to {widest}": lambda: GaussianRandomProjection(widest, random_state=seed),
        f"PCA to {widest} (centred)": lambda: PCA(widest, random_state=seed),
        f"SVD to {widest} (not centred)": lambda: TruncatedSVD(widest, random_state=seed),
    }


def score_maps(train, test, make_transformer=FunctionTransformer):
    """Summed rescaled scores (n_test,) of each map, and seconds to project and score all."""
    transformers = {name: make_transformer().fit(rows) for name, rows in train.items()}

    def project(maps):
        return [transformers[name].transform(rows) for name, rows in maps.items()]

    projected = project(train)
    stops = np.cumsum([rows.shape[1] for rows in projected]).tolist()
    groups = {name: slice(*s) for name, *s in zip(train, [0, *stops[:-1]], stops, strict=True)}
    ensemble = FeatureEnsemble(groups=groups).fit(np.hstack(projected))
    start = time.perf_counter()
    ensemble.score_samples(np.hstack(project(test)))
    seconds = time.perf_counter() - start
    explanation = ensemble.explain(np.hstack(project(test)))
    sums = dict.fromkeys(groups, 0.0)
    for member, scores in zip(explanation.members, explanation.contributions.T, strict=True):
        sums[member.rpartition("/")[0]] += scores
    return sums, seconds


def evaluate(encoder, projections, train, test, is_anomaly):
    """For each projection AUROC of the wide maps, of their sum and of the ensemble; seconds."""
    maps = encoder.fit(train).transform_blocks(train), encoder.transform_blocks(test)
    wide = {name for name in maps[0] if name in encoder.network_.backbone.blocks}
    wide_maps = [{name: split[name] for name in split if name in wide} for split in maps]
    others = [{name: split[name] for name in split if name not in wide} for split in maps]
    score_of_others = sum(score_maps(*others)[0].values())
    figures = {}
    for name, make_transformer in projections.items():
        sums, figures[name, "seconds"] = score_maps(*wide_maps, make_transformer)
        sums["flattened maps"] = sum(sums.values())
        sums["ensemble"] = sums["flattened maps"] + score_of_others
        for scored, scores in sums.items():
            figures[name, scored] = roc_auc_score(is_anomaly, scores)
        lost = figures["whole", "ensemble"] - figures[name, "ensemble"]
        figures[name, "loss of ensemble"] = lost
    return figures


def main():
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    args = parser.parse_args()
    widths, max_epochs = ((32, 16, 8), 1) if args.small else ((512, 256, 128), 50)

    def evaluate_one(seed, *images):
        encoder = SelfSupervisedEncoder(
            layers="all", max_map_width=None, max_epochs=max_epochs, random_state=seed
        )
        return evaluate(encoder, make_projections(widths, seed), *images)

    results = {}
    for (name, scored), values in repeat(evaluate_one, args).items():
        is_time = scored == "seconds"
        figure = round(float(np.median(values)), 3) if is_time else summarize(values)
        results.setdefault(name, {})[scored] = figure
    rows = {name: figures.values() for name, figures in results.items()}
    print_table("projection", results["whole"], rows)
    if not args.small:
        write_report("projection", {**describe_tasks(args), "projections": results})


if __name__ == "__main__":
    main()
