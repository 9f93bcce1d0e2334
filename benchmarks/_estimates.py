"""Means of results over classes and seeds, and tests of pairs of them."""

from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, replace

import numpy as np
from scipy.stats import wilcoxon

from ._cells import OF_IMAGES, OF_TRAINING
from ._nsa_methods import OBJECTIVES
from ._nsa_tables import N_CLASSES, PAPER_EPOCHS, SIX_SCORES

PAPERS = "the paper's"  # epochs, which are not the same for all objectives
MIN_PAIRS = 6  # with fewer no difference is significant at 5%


@dataclass(frozen=True)
class Estimate:
    """A mean over classes in per cent, and the deviation of that mean over seeds."""

    mean: float
    std: float | None

    @classmethod
    def of(cls, values):
        """`values` are AUROCs by (class, seed)."""
        per_class, per_seed = defaultdict(list), defaultdict(list)
        for (normal, seed), value in values.items():
            per_class[normal].append(100 * value)
            per_seed[seed].append(100 * value)
        mean = np.mean([np.mean(each) for each in per_class.values()])
        # seeds that lack a class would differ for that
        complete = [np.mean(each) for each in per_seed.values() if len(each) == len(per_class)]
        return cls(float(mean), float(np.std(complete, ddof=1)) if len(complete) > 1 else None)

    def __str__(self):
        return f"{self.mean:.1f}" + ("" if self.std is None else f" ± {self.std:.1f}")


def settings_of(results, varied=()):
    """How results were trained, as dicts of what they share, that of most results first.

    Results of rivals, which are not trained so, belong to each setting with the same images.
    `varied` are fields that tell the tasks apart, not the settings.
    """
    found = {}
    for of_trained in (True, False):
        for result in results:
            is_trained = result["cell"].method in OBJECTIVES
            known = any(is_of(result, setting) for setting in found.values())
            if is_trained == of_trained and not known:
                setting = _describe(result["cell"])
                setting = {k: v for k, v in setting.items() if k not in varied}
                found[tuple(setting.items())] = setting
    counts = {key: sum(is_of(r, setting) for r in results) for key, setting in found.items()}
    return [found[key] for key in sorted(found, key=counts.get, reverse=True)]


def _describe(cell):
    fields = asdict(cell)
    if cell.epochs == PAPER_EPOCHS.get(cell.method, -1):
        fields["epochs"] = PAPERS
    return {name: fields[name] for name in OF_TRAINING + OF_IMAGES}


def is_of(result, setting):
    """Whether a result belongs to a setting."""
    cell = result["cell"]
    described = _describe(cell)
    if cell.method not in OBJECTIVES:  # no training; but the untrained encoder has a backbone
        unused = set(OF_TRAINING) - ({"backbone"} if cell.backbone else set())
        described = {k: v for k, v in described.items() if k not in unused}
    return all(described[k] == v for k, v in setting.items() if k in described)


def values_of(results, where):
    """AUROCs by (class, seed) of the results that `where` describes."""
    figure = where["figure"]
    fields = {k: v for k, v in where.items() if k != "figure"}
    return {
        (result["cell"].normal, result["cell"].seed): result["auroc"][figure]
        for result in results
        if figure in result["auroc"]
        and all(getattr(result["cell"], k) == v for k, v in fields.items())
    }


def describe_coverage(row):
    """Which classes and how many seeds a row's figures are of.

    `row` has values by data set and column; columns that differ in it are listed one by one. Where
    some classes lack seeds, the seeds are a range.
    """
    texts = {}
    for (dataset, _), values in row.items():
        counts = Counter(normal for normal, _ in values)
        classes, least, most = sorted(counts), min(counts.values()), max(counts.values())
        seeds = f"{most}" if least == most else f"{least} to {most}"
        named = f" ({', '.join(map(str, classes))})" if len(classes) < N_CLASSES[dataset] else ""
        texts[f"{len(classes)} of {N_CLASSES[dataset]}{named}, {seeds}"] = None
    return "; ".join(texts)


def pairs_of(results, figure, other=None):
    """Results as (cell, with, without): of a figure, normalised and not; or of two figures."""
    if other is not None:
        return [
            (r["cell"], r["auroc"][figure], r["auroc"][other])
            for r in results
            if other in r["auroc"]
        ]
    found = defaultdict(dict)
    for result in results:
        cell = result["cell"]
        if cell.method in OBJECTIVES:
            key = replace(cell, normalize=None)
            found[key][cell.normalize] = result["auroc"][figure]
    return [(c, v["both"], v[None]) for c, v in found.items() if {"both", None} <= v.keys()]


def compare(pairs):
    """Number of pairs, mean difference in per cent, and p of Wilcoxon's test, or None."""
    differences = np.array([100 * (first - second) for _, first, second in pairs])
    nonzero = differences[differences != 0]
    p = float(wilcoxon(nonzero).pvalue) if len(nonzero) >= MIN_PAIRS else None
    return len(differences), float(differences.mean()) if len(differences) else None, p


def mean_scores(results):
    """The six scores, each a mean over classes and seeds, of what is a row of Table 11."""
    rows = defaultdict(list)
    for result in results:
        cell = result["cell"]
        key = cell.dataset, cell.method, cell.normalize, cell.pollution
        rows[key].append([result["auroc"][score] for score in SIX_SCORES])
    means = (np.mean(values, axis=0) for values in rows.values())
    return [dict(zip(SIX_SCORES, row, strict=True)) for row in means]


def rank_ensemble(rows):
    """Rows of the six scores (dicts) where the ensemble is the best, and the best or second."""
    ranks = [sum(row[score] > row["ens"] for score in SIX_SCORES if score != "ens") for row in rows]
    return sum(rank == 0 for rank in ranks), sum(rank <= 1 for rank in ranks)
