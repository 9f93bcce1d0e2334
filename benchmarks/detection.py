"""Experiments that fit detectors and take the AUROC of their scores.

Their rows say the set, the seed, the method, and the seconds of fitting and of scoring. An AUROC is
empty where a method cannot be fitted. No label plays a part in a fit.
"""

import time
import warnings
from typing import NamedTuple

import numpy as np
from sklearn.ensemble import IsolationForest
from sklearn.impute import SimpleImputer
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import MinMaxScaler

from skanomaly import MahalanobisCosine, NeighborDistance, NSADetector, SelfSupervisedEncoder
from skanomaly.datasets import load_fashion_mnist_sample

from .data import read_table, table_names
from .methods import (
    DUM_METHODS,
    EMBEDDING_METHODS,
    MAX_COLUMNS,
    RIVALS,
    STUDY_METHODS,
    TABLE_METHODS,
    anomaly_scores,
)

MIN_ANOMALIES = 20  # of a table that is cut to fewer rows, if it has so many
MIN_TESTED = 10  # anomalies that stay for testing, or half of them where that is less


class Task(NamedTuple):
    """What to fit and what to score; `test` is None where the training rows are scored."""

    train: np.ndarray
    test: np.ndarray | None
    is_anomaly: np.ndarray


def evaluate(task, methods, names, records, **about):
    """Add a row for each of the named methods that has none yet."""
    for name in names:
        if records.has(**about, method=name):
            continue
        auroc, *seconds = _measure(methods[name](about["seed"]), task, MAX_COLUMNS.get(name))
        records.add(
            **about,
            method=name,
            auroc=auroc,
            **dict(zip(("fit_seconds", "score_seconds"), seconds, strict=True)),
        )


def _measure(detector, task, max_columns):
    """AUROC in per cent, and seconds of fitting and of scoring; None where that fails."""
    if max_columns is not None and task.train.shape[1] > max_columns:
        return None, None, None
    rows, is_training = (task.train, True) if task.test is None else (task.test, False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # constant columns and the like, in rivals
        start = time.perf_counter()
        try:
            detector.fit(task.train)
            fitted = time.perf_counter()
            scores = anomaly_scores(detector, rows, is_training)
        except (ValueError, ArithmeticError) as error:
            print(type(detector).__name__, "failed:", str(error).splitlines()[0])
            return None, None, None
        scored = time.perf_counter()
    auroc = 100 * roc_auc_score(task.is_anomaly, np.nan_to_num(scores))
    return round(auroc, 2), float(f"{fitted - start:.3g}"), float(f"{scored - fitted:.3g}")


def split_clean(X, y, seed, max_rows=1_500):
    """Train on 70% of the normal rows, test on the others and the anomalies."""
    rng = np.random.default_rng(seed)
    normal = rng.permutation(np.flatnonzero(y == 0))
    anomalies = rng.permutation(np.flatnonzero(y == 1))[:max_rows]
    n_train = int(0.7 * len(normal))
    train, held_out = normal[:n_train][:max_rows], normal[n_train:][:max_rows]
    test = np.concatenate([held_out, anomalies])
    imputer = SimpleImputer(strategy="median", keep_empty_features=True).fit(X[train])
    return Task(imputer.transform(X[train]), imputer.transform(X[test]), y[test] == 1)


def split_polluted(X, y, seed, pollution, most_pollution=0.1):
    """Train on 70% of the normal rows and some anomalies, test on the others.

    The anomalies that the most polluted training set needs are never tested, so that results for
    different pollution are about the same test rows. Where a set has too few anomalies, the
    pollution is less than asked for.
    """
    rng = np.random.default_rng(seed)
    normal = rng.permutation(np.flatnonzero(y == 0))
    anomalies = rng.permutation(np.flatnonzero(y == 1))
    n_train = int(0.7 * len(normal))
    most = len(anomalies) - min(MIN_TESTED, len(anomalies) // 2)
    n_polluting, n_untested = (
        min(most, round(share / (1 - share) * n_train)) for share in (pollution, most_pollution)
    )
    train = np.concatenate([normal[:n_train], anomalies[:n_polluting]])
    test = np.concatenate([normal[n_train:], anomalies[n_untested:]])
    return Task(X[train], X[test], y[test] == 1)


def draw_rows(X, y, seed, max_rows):
    """Fit and score the same rows: at most `max_rows`, with the set's share of anomalies."""
    rng = np.random.default_rng(seed)
    rows = np.arange(len(X))
    if len(X) > max_rows:
        anomalies, normal = (rng.permutation(np.flatnonzero(y == label)) for label in (1, 0))
        n_anomalies = min(len(anomalies), max(MIN_ANOMALIES, round(max_rows * y.mean())))
        rows = rng.permutation(np.r_[anomalies[:n_anomalies], normal[: max_rows - n_anomalies]])
    imputer = SimpleImputer(strategy="median", keep_empty_features=True)
    return Task(imputer.fit_transform(X[rows]), None, y[rows] == 1)


def _read_sets(kind, options):
    """Name, rows and labels of the sets that are asked for."""
    known = table_names(kind, options.data)
    few = {"tabular": ["glass", "uci_ionosphere"], "embeddings": ["resnet18_mvtec_bottle"]}
    names = options.sets or (few[kind] if options.small else known)
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise ValueError(f"--sets {' '.join(unknown)}: pass some of {', '.join(known)}")
    for name in names:
        yield name, *read_table(kind, name, options.data)


def _choose(methods, options, small):
    """Names of the methods that are asked for; a check in seconds has only some."""
    names = options.methods or (small if options.small else list(methods))
    unknown = [name for name in names if name not in methods]
    if unknown:
        raise ValueError(f"--methods {', '.join(unknown)}: pass some of {', '.join(methods)}")
    return names


def _seeds(options, n_seeds=3):
    return range(1 if options.small else options.seeds or n_seeds)


def embeddings(options, records):
    """Angular scores and rivals on pretrained features, clean and with 10% outliers in training.

    17 sets of ADBench: 70% of the normal rows for training, 3 seeds. Needs PyOD. Five minutes.
    """
    names = _choose(EMBEDDING_METHODS, options, ["k-Cos", "IsolationForest"])
    for set_name, X, y in _read_sets("embeddings", options):
        for seed in _seeds(options):
            for pollution in 0.0, 0.1:
                task = split_polluted(X, y, seed, pollution)
                about = {"set": set_name, "pollution": pollution, "seed": seed}
                evaluate(task, EMBEDDING_METHODS, names, records, **about)


def tables(options, records):
    """NSADetector's default on tables beside nearest neighbours and a forest.

    35 tables of ADBench and UCI: 70% of the normal rows, at most 1,500, for training, 3 seeds. Two
    minutes.
    """
    names = _choose(TABLE_METHODS, options, ["NSA, default"])
    for set_name, X, y in _read_sets("tabular", options):
        for seed in _seeds(options):
            task = split_clean(X, y, seed)
            evaluate(task, TABLE_METHODS, names, records, set=set_name, seed=seed)


def dum_tables(options, records):
    """DUM's Table 2: 35 tables that hold their anomalies when detectors are fitted on them.

    Each of 3 seeds draws at most 2,000 rows of a set. Beside DUM, and DUM as printed with 256 units
    a layer, the paper's ten rivals with columns scaled to [0, 1]. Needs PyOD. An hour.
    """
    _run_table2("tabular", 2_000, options, records)


def dum_whole_tables(options, records):
    """The same on all rows of cover and skin, without the methods that need minutes to hours."""
    slow = "DUM printed", "SVM", "EE", "AE"
    options.sets = options.sets or ["cover", "skin"]
    options.methods = options.methods or [m for m in DUM_METHODS | RIVALS if m not in slow]
    _run_table2("tabular", 1_000_000, options, records)


def dum_embeddings(options, records):
    """DUM's Table 2 on 17 sets of pretrained features, at most 1,000 rows. Needs PyOD."""
    _run_table2("embeddings", 1_000, options, records)


def _run_table2(kind, max_rows, options, records):
    methods = DUM_METHODS | RIVALS
    names = _choose(methods, options, ["DUM", "ISO", "LOF", "LeSiNN", "REPEN"])
    max_rows = 200 if options.small else max_rows
    for set_name, X, y in _read_sets(kind, options):
        for seed in _seeds(options):
            about = {"set": set_name, "max_rows": max_rows, "seed": seed}
            task = draw_rows(X, y, seed, max_rows)
            scaled = task._replace(train=MinMaxScaler().fit_transform(task.train))
            for name in names:
                evaluate(scaled if name in RIVALS else task, methods, [name], records, **about)


def dum_study(options, records):
    """What DUM's variance is best learned from: views, losses, scaling, bags, widths.

    Each setting differs from the defaults, with 4 networks, in what its name says. On the tables
    and embeddings of Table 2, at most 1,000 rows, one seed. Six minutes a setting. Two rivals tell
    what a setting that was chosen on half of the tables is worth on the others.
    """
    names = _choose(STUDY_METHODS, options, ["default", "cosine"])
    max_rows = 100 if options.small else 1_000
    for kind in "tabular", "embeddings":
        for set_name, X, y in _read_sets(kind, options):
            for seed in _seeds(options, 1):
                about = {"kind": kind, "set": set_name, "max_rows": max_rows, "seed": seed}
                task = draw_rows(X, y, seed, max_rows)
                evaluate(task, STUDY_METHODS, names, records, **about)


def sample(options, records):
    """NSA's defaults on the bundled sample beside its parts and the classics, 3 seeds.

    Once with normal training images alone, and once with a tenth of outliers among them, which are
    not tested. `false_positives` is the share of normal test images that are flagged.
    """
    for normal in "t-shirt", "shirt":
        for pollution in 0.0, 0.1:
            for seed in _seeds(options):
                about = {"set": normal, "pollution": pollution, "seed": seed}
                if not records.has(**about):
                    data = _pollute(load_fashion_mnist_sample(normal), pollution, seed)
                    rows = _score_sample(*data, seed, options.small)
                    records.add_all([{**about, **row} for row in rows])


def _pollute(data, share, seed):
    """Training images, some outliers among them, the other test images, and their labels."""
    n_outliers = round(share / (1 - share) * len(data.X_train))
    outliers = np.random.default_rng(seed).permutation(np.flatnonzero(data.y_test == -1))
    moved = outliers[:n_outliers]
    train = np.concatenate([data.X_train, data.X_test[moved]])
    return train, np.delete(data.X_test, moved, axis=0), np.delete(data.y_test, moved)


def _score_sample(train, test, y, seed, is_small):
    if is_small:
        train, test, y = train[:50], test[::50], y[::50]
    encoder = SelfSupervisedEncoder(max_epochs=1) if is_small else None
    start = time.perf_counter()
    detector = NSADetector(encoder, random_state=seed).fit(train)
    seconds = round(time.perf_counter() - start, 1)
    scores = {"NSA, ensemble": detector.score_samples(test)}
    flagged = round(float((scores["NSA, ensemble"] < detector.offset_)[y == 1].mean()), 4)
    last = [name for name in detector.encoder_.layer_slices_ if name.endswith("(1x1)")][-1]
    rows = [detector.encoder_.transform_blocks(X)[last] for X in (train, test)]
    scores["NSA, last layer"] = MahalanobisCosine().fit(rows[0]).score_samples(rows[1])
    untrained = NSADetector(SelfSupervisedEncoder(max_epochs=0), random_state=seed)
    scores["untrained"] = untrained.fit(train).score_samples(test)
    pixels = [X.reshape(len(X), -1) / 255 for X in (train, test)]
    nearest = NeighborDistance(1, standardize=False).fit(pixels[0])
    scores["nearest pixels"] = nearest.score_samples(pixels[1])
    forest = IsolationForest(random_state=seed).fit(pixels[0])
    scores["isolation forest"] = forest.score_samples(pixels[1])
    for method, values in scores.items():
        row = {"method": method, "auroc": round(100 * roc_auc_score(y, values), 2)}
        is_default = method == "NSA, ensemble"
        yield row | ({"fit_seconds": seconds, "false_positives": flagged} if is_default else {})
