"""What Table 11 says as a whole, on normalisation and the ensemble, and the plot of pollution."""

from ._estimates import (
    Estimate,
    compare,
    is_of,
    mean_scores,
    pairs_of,
    rank_ensemble,
    settings_of,
    values_of,
)
from ._markdown import table
from ._nsa_methods import OBJECTIVES
from ._nsa_tables import SIX_SCORES
from ._plots import has_matplotlib

EXPLANATION = """\
Mean differences in per cent of AUROC, over pairs of cells (class, pollution, seed) that differ in
nothing else; p is Wilcoxon's signed-rank test, without correction for many tests. Cells of a class
are not independent of each other, so p is too small rather than too large. Beside it the paper's
pairs, which are means over classes.
"""
DEFAULT, NEAREST = (f"All conv blocks/{s}" for s in ("all four", "k_cos + k_cos_mah"))
FIGURES = {
    ("k_cos_mah", "k_cos_mah_printed"): "k-Cos (Mah): our whitening minus the printed, centred one",
    ("ens", "ens_printed"): "Ens.: with our whitening minus with the printed one",
    (DEFAULT, "ens"): "all four scores of the blocks minus Ens.",
    (DEFAULT, NEAREST): "the same minus k-Cos and k-Cos (Mah) of the blocks",
    ("ens", "k_cos_mah"): "Ens. minus k-Cos (Mah)",
}


def describe_pattern(results, paper):
    """Markdown: both normalisations against none, scores against each other, and ranks.

    `paper` are the rows of Table 11, as read_paper returns them.
    """
    results = [result for result in results if result["cell"].method in OBJECTIVES]
    normalised = [_normalisation_row("paper, all", _paper_pairs(paper))]
    for name, chosen in _scopes(results).items():
        pairs = {score: pairs_of(chosen, score) for score in SIX_SCORES}
        if pairs["ens"]:
            normalised.append(_normalisation_row(name, pairs))
    differences = []
    for (figure, other), name in FIGURES.items():
        n, mean, p = compare(pairs_of(results, figure, other))
        differences.append([name, n, _format(mean, p)])
    scored = {
        "paper, rows": [row for row in paper.values() if row["ens"] is not None],
        "ours, rows": mean_scores(results),
        "ours, cells": [result["auroc"] for result in results],
        "ours, cells, all four scores of the blocks for Ens.": [
            result["auroc"] | {"ens": result["auroc"][DEFAULT]} for result in results
        ],
    }
    ranks = [[name, len(rows), *rank_ensemble(rows)] for name, rows in scored.items()]
    tables = (
        table(["n", *SIX_SCORES], normalised, "both normalisations minus none"),
        table(["n", "difference"], differences, "scores"),
        table(["of", "Ens. best", "best or second"], ranks),
    )
    return "\n\n".join([EXPLANATION.strip(), *tables]) + "\n"


def _normalisation_row(name, pairs):
    compared = [compare(pairs[score]) for score in SIX_SCORES]
    return [name, compared[0][0], *(_format(mean, p) for _, mean, p in compared)]


def _format(mean, p):
    if mean is None:
        return "-"
    return f"{mean:+.1f}" + ("" if p is None else f" (p = {p:.2g})")


def _paper_pairs(paper):
    """Pairs of a score, by its name, with and without normalisation."""
    pairs = {score: [] for score in SIX_SCORES}
    for (*key, normalised), row in paper.items():
        without = paper.get((*key, "no"), {})
        for score in SIX_SCORES:
            if normalised == "yes" and None not in (row[score], without.get(score)):
                pairs[score].append((key, row[score] / 100, without[score] / 100))
    return pairs


def _scopes(results):
    """Results by what their cells have in common."""
    scopes = {"ours, all": results}
    for field in ("method", "pollution", "dataset"):
        values = sorted({getattr(result["cell"], field) for result in results})
        for value in values if len(values) > 1 else ():
            name = f"pollution {value:g}" if field == "pollution" else value
            scopes[name] = [r for r in results if getattr(r["cell"], field) == value]
    return scopes


def plot_pollution(results, path, figure="k_cos_mah"):
    """Plot AUROC against pollution, normalised and not, of the setting with most results.

    Returns
    -------
    plotted : bool
        False without matplotlib, or without results of several shares.
    """
    trained = [result for result in results if result["cell"].method in OBJECTIVES]
    groups = [[r for r in trained if is_of(r, setting)] for setting in settings_of(trained)]
    results = max(groups, key=len, default=[])
    curves = _curves(results, figure)
    if not curves or not has_matplotlib():
        return False
    from matplotlib.figure import Figure

    datasets = list(dict.fromkeys(dataset for dataset, *_ in curves))
    page = Figure(figsize=(1 + 3 * len(datasets), 3), layout="constrained")
    axes = page.subplots(1, len(datasets), squeeze=False)[0]
    for (dataset, method, normalize), (shares, means) in curves.items():
        axis = axes[datasets.index(dataset)]
        style = "o-" if normalize == "both" else "o--"
        axis.plot(shares, means, style, color=f"C{OBJECTIVES.index(method)}", markersize=3)
        axis.set(title=dataset, xlabel="share of outliers in training")
    axes[0].set_ylabel("AUROC, k-Cos (Mah)")
    methods = dict.fromkeys(method for _, method, _ in curves)
    for method in methods:
        axes[-1].plot([], [], color=f"C{OBJECTIVES.index(method)}", label=method)
    axes[-1].plot([], [], "k-", label="normalize='both'")
    axes[-1].plot([], [], "k--", label="normalize=None")
    page.legend(*axes[-1].get_legend_handles_labels(), loc="outside right upper")
    page.savefig(path, dpi=80, metadata={"Software": None})
    return True


def _curves(results, figure):
    """Shares and mean AUROCs by (dataset, method, normalize) where there are several."""
    cells = [result["cell"] for result in results]
    keys = sorted({(c.dataset, c.method, str(c.normalize)) for c in cells})
    curves = {}
    for dataset, method, named in keys:
        normalize = None if named == "None" else named
        where = {"dataset": dataset, "method": method, "normalize": normalize, "figure": figure}
        shares = sorted({c.pollution for c in cells})
        values = {p: values_of(results, where | {"pollution": p}) for p in shares}
        means = {p: Estimate.of(found).mean for p, found in values.items() if found}
        if len(means) > 1 and normalize in ("both", None):
            curves[dataset, method, normalize] = (list(means), list(means.values()))
    return curves
