"""Table 2 of DUM: AUROC on tables that hold their anomalies already when detectors are fitted.

    python benchmarks/dum_table2.py --data ../shared/data [--folder embeddings] [--rows 2000]

Every detector is fitted on a set and scores that set, as in the paper's section 4.2: DUM with its
defaults, DUM as printed, and the paper's ten rivals with their libraries' defaults and columns
scaled to [0, 1]. Of larger sets each seed draws `--rows` rows with the set's share of anomalies,
but at least 20 of these; `--rows 1000000` takes all. Missing values are replaced by medians. What
takes longer than `--limit` seconds is a time-out; it counts as 50, as does what fails. AUROC is
given as it is, and as max(AUROC, 1 - AUROC), without orientation, which is how the paper's figures
must be read; no detector here is turned by it. The printed network has `--printed-width` units a
layer, 4096 in the paper.

Needs pyod. About an hour on one core. Writes results/dum_table2[_embeddings].json, or --name,
after each set; sets that it has are not done again. `python -m benchmarks.report` puts the
paper's figures beside ours. --small is a quick check that writes nothing.
"""

import argparse
import multiprocessing
import time
import warnings
from concurrent.futures import ProcessPoolExecutor, TimeoutError

import numpy as np
import torch
from _data import read_tables
from _report import extend_report, read_results
from _rivals import RIVALS
from _tables import add_arguments, draw, summarize
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import minmax_scale

from skanomaly import DUMDetector


def fit_dum(X, seed):
    model = DUMDetector(random_state=seed).fit(X)
    return lambda: -model.score_samples(X)


def fit_printed(X, seed, width):
    options = {**DUMDetector.PUBLISHED, "hidden_layers": (width,) * 3}
    model = DUMDetector(**options, random_state=seed).fit(X)
    return lambda: -model.score_samples(X)


def measure(method, X, seed, width, n_threads):
    """Scores, and seconds of fitting and of scoring."""
    warnings.simplefilter("ignore")  # of the rivals, about constant columns and the like
    torch.set_num_threads(n_threads)
    start = time.perf_counter()
    if method == "DUM":
        score = fit_dum(X, seed)
    elif method == "DUM printed":
        score = fit_printed(X, seed, width)
    else:
        score = RIVALS[method](minmax_scale(X), seed)
    fitted = time.perf_counter()
    scores = np.nan_to_num(score())
    return scores, (fitted - start, time.perf_counter() - fitted)


class Worker:
    """A process for what may take too long."""

    def __init__(self, limit):
        self.limit = limit
        self.pool = None

    def run(self, *task):
        """Result of `measure`; none if it takes longer than the limit or fails."""
        if self.pool is None:
            context = multiprocessing.get_context("spawn")
            self.pool = ProcessPoolExecutor(1, context)
            self.pool.submit(abs, 1).result()  # the process has started
        try:
            return self.pool.submit(measure, *task).result(self.limit)
        except TimeoutError:
            print(task[0], "timed out", flush=True)
            for process in list(self.pool._processes.values()):
                process.kill()
            self.pool = None
        except ValueError as error:
            print(task[0], "failed:", str(error).splitlines()[0], flush=True)


def evaluate(read, worker, args):
    """AUROC of each seed, None for what is missing, and mean seconds, of every method."""
    figures = {method: {"auroc": [], "seconds": []} for method in args.methods}
    for seed in range(args.seeds):
        X, is_anomaly = draw(*read(), seed, args.rows)
        for method, each in figures.items():
            result = None
            if each["auroc"][:1] != [None]:  # else it would take as long again
                task = method, X, seed, args.printed_width, torch.get_num_threads()
                result = worker.run(*task)
            if result is None:
                each["auroc"].append(None)
                continue
            each["auroc"].append(round(float(100 * roc_auc_score(is_anomaly, result[0])), 2))
            each["seconds"].append(result[1])
    for each in figures.values():
        seconds = each.pop("seconds")
        if seconds:
            fit, score = np.mean(seconds, axis=0)
            each |= {"fit_seconds": float(f"{fit:.3g}"), "score_seconds": float(f"{score:.3g}")}
    return figures


def main():
    parser = argparse.ArgumentParser()
    add_arguments(parser, rows=2_000)
    methods = "DUM", "DUM printed", *RIVALS
    parser.add_argument("--folder", choices=("tabular", "embeddings"), default="tabular")
    parser.add_argument("--methods", nargs="+", choices=methods, default=methods)
    parser.add_argument("--limit", type=float, default=120, help="seconds of a fit and its scores")
    parser.add_argument("--printed-width", type=int, default=256)
    parser.add_argument("--name", help="name of the result file, if not dum_table2")
    args = parser.parse_args()
    if args.small:
        args.seeds, args.rows, args.printed_width = 1, 200, 16
    name = args.name or "dum_table2" + ("" if args.folder == "tabular" else "_embeddings")
    about = {key: getattr(args, key) for key in ("seeds", "rows", "limit", "printed_width")}
    results = {} if args.small else read_results(name)
    worker = Worker(args.limit)
    sets = read_tables(args.folder, args.data, args.sets, 2 if args.small else None)
    for set_name, read in sets.items():
        if set_name in results:
            continue
        results[set_name] = evaluate(read, worker, args)
        print(set_name, {m: f["auroc"] for m, f in results[set_name].items()}, flush=True)
        if not args.small:
            extend_report(name, about, {set_name: results[set_name]}, rivals=["pyod"])
    for method, figures in summarize(results).items():
        print(f"{method:12s}", figures)


if __name__ == "__main__":
    main()
