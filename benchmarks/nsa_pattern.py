"""What Table 11 says as a whole, on normalisation and the ensemble, and the plot of pollution."""

import pandas as pd
from matplotlib.figure import Figure
from scipy.stats import wilcoxon

from .markdown import table
from .nsa_cells import TRAINED
from .nsa_figures import CELL, average
from .nsa_tables import ENS, FIGURES, MAH, SIX_SCORES, read_paper

EXPLANATION = """\
Mean differences in per cent of AUROC, over pairs of cells (class, pollution, seed) that differ in
nothing else; p is Wilcoxon's signed-rank test, without correction for many tests. Cells of a class
are not independent of each other, so p is too small rather than too large. Beside it the paper's
pairs, which are means over classes.
"""
MIN_PAIRS = 6  # with fewer no difference is significant at 5%
NEAREST, DEFAULT = (("All conv blocks", s) for s in ("k_cos + k_cos_mah", "all four"))
DIFFERENCES = {
    "k-Cos (Mah): our whitening minus the printed, centred one": (
        MAH["figure"],
        ("embedding", "k_cos_mah_printed"),
    ),
    "Ens.: with our whitening minus with the printed one": (
        ENS["figure"],
        ("Ens. printed", "score"),
    ),
    "all four scores of the blocks minus Ens.": (DEFAULT, ENS["figure"]),
    "the same minus k-Cos and k-Cos (Mah) of the blocks": (DEFAULT, NEAREST),
    "Ens. minus k-Cos (Mah)": (ENS["figure"], MAH["figure"]),
}


def render_pattern(figures):
    """Both normalisations against none, scores against each other, and ranks.

    `figures` are of trained networks, of one budget.
    """
    cells = figures.pivot(
        index=[*CELL, "normal", "seed"], columns=["map", "column"], values="auroc"
    )
    scores = cells[[FIGURES[score]["figure"] for score in SIX_SCORES]]
    scores.columns = SIX_SCORES
    paper = read_paper(11)[list(SIX_SCORES)]
    paper.index = pd.MultiIndex.from_tuples(paper.index, names=["set", "method", "p", "normalize"])

    lines = {"paper, all": differences(paper, "yes", "no")}
    scopes = {"ours, all": scores}
    for level in "method", "pollution", "set":
        groups = dict(tuple(scores.groupby(level)))
        named = {f"pollution {k:g}" if level == "pollution" else k: v for k, v in groups.items()}
        scopes |= named if len(named) > 1 else {}
    for name, chosen in scopes.items():
        pairs = differences(chosen, "both", "none")
        lines |= {name: pairs} if len(pairs) else {}
    normalised = {
        name: [len(pairs), *map(describe, pairs.T.to_numpy())] for name, pairs in lines.items()
    }

    compared = {
        name: [len(pairs := (cells[first] - cells[second]).dropna()), describe(pairs)]
        for name, (first, second) in DIFFERENCES.items()
    }
    ranked = {
        "paper, rows": paper.dropna(subset="ens"),
        "ours, rows": scores.groupby(["set", "method", "normalize", "pollution"]).mean(),
        "ours, cells": scores,
        "ours, cells, all four scores of the blocks for Ens.": scores.assign(ens=cells[DEFAULT]),
    }
    ranks = {name: [len(rows), *rank_ensemble(rows)] for name, rows in ranked.items()}
    tables = (
        _table(normalised, ["n", *SIX_SCORES], "both normalisations minus none"),
        _table(compared, ["n", "difference"], "scores"),
        _table(ranks, ["of", "Ens. best", "best or second"], ""),
    )
    return "\n\n".join([EXPLANATION.strip(), *tables])


def _table(lines, columns, corner):
    frame = pd.DataFrame.from_dict(lines, "index", columns=columns, dtype=object)
    return table(frame, corner)


def differences(scores, first, second):
    """Rows of pairs that differ in the index's level "normalize" alone, first minus second."""
    by_setting = scores.unstack("normalize")
    if not {first, second} <= set(by_setting.columns.get_level_values("normalize")):
        return scores.iloc[:0]
    one, other = (by_setting.xs(name, axis=1, level="normalize") for name in (first, second))
    return (one - other).dropna()


def describe(values):
    """Mean of differences, and p of Wilcoxon's test if there are enough."""
    values = pd.Series(values)
    if values.empty:
        return "-"
    nonzero = values[values != 0]
    text = f"{values.mean():+.1f}"
    return text + (f" (p = {wilcoxon(nonzero).pvalue:.2g})" if len(nonzero) >= MIN_PAIRS else "")


def rank_ensemble(rows):
    """Rows where the ensemble is the best of the six scores, and the best or second."""
    ranks = rows.drop(columns="ens").gt(rows["ens"], axis="index").sum(axis="columns")
    return (ranks == 0).sum(), (ranks <= 1).sum()


def plot_pollution(figures, path):
    """Plot AUROC against pollution of the budget with most results.

    Returns
    -------
    plotted : bool
        False if there are no results of several shares.
    """
    is_shown = (figures["map"] == "embedding") & (figures["column"] == "k_cos_mah")
    is_shown &= figures["normalize"].isin(["both", "none"]) & figures["method"].isin(TRAINED)
    shown = figures[is_shown]
    shown = shown[shown["budget"].isin(shown["budget"].mode()[:1])]
    keys = ["set", "method", "normalize"]
    curves = {}
    for key, of_key in shown.groupby(keys):
        shares = {
            share: average(rows.set_index(["normal", "seed"])["auroc"])[0]
            for share, rows in of_key.groupby("pollution")
        }
        curves |= {key: shares} if len(shares) > 1 else {}
    if not curves:
        return False
    sets = list(dict.fromkeys(name for name, *_ in curves))
    page = Figure(figsize=(1 + 3 * len(sets), 3), layout="constrained")
    axes = page.subplots(1, len(sets), squeeze=False)[0]
    for (name, method, normalize), shares in curves.items():
        axis = axes[sets.index(name)]
        style = "o-" if normalize == "both" else "o--"
        color = f"C{TRAINED.index(method)}"
        axis.plot(list(shares), list(shares.values()), style, color=color, markersize=3)
        axis.set(title=name, xlabel="share of outliers in training")
    axes[0].set_ylabel("AUROC, k-Cos (Mah)")
    for method in dict.fromkeys(method for _, method, _ in curves):
        axes[-1].plot([], [], color=f"C{TRAINED.index(method)}", label=method)
    axes[-1].plot([], [], "k-", label="normalize='both'")
    axes[-1].plot([], [], "k--", label="normalize=None")
    page.legend(*axes[-1].get_legend_handles_labels(), loc="outside right upper")
    page.savefig(path, dpi=80, metadata={"Software": None})
    return True
