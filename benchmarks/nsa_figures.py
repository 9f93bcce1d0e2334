"""Figures of NSA's cells in long form, and their means over classes and seeds."""

import numpy as np
import pandas as pd

from .nsa_cells import BUDGETS
from .nsa_tables import N_CLASSES
from .scores import RECORDED, embedding_of, head_of

CELL = ["budget", "set", "method", "normalize", "pollution", "batch_size"]
TASK = ["map", "column", "set", "method", "normalize", "pollution", "batch_size"]
EMPTY = pd.Series(index=pd.MultiIndex.from_arrays([[], []], names=["normal", "seed"]), dtype=float)
SUMS = ("All conv blocks", "All blocks", "Ens.", "Ens. printed")  # of several maps


def tidy(rows):
    """One row for each figure: the columns of its cell, and `map`, `column` and `auroc`.

    The embedding and the head are there a second time under these names.
    """
    cell = [*CELL, "normal", "seed"]
    of_cell = [*cell, "map", "seconds", "embedding_std", "run"]
    rows = rows.reindex(columns=[*of_cell, *RECORDED]).astype({"budget": str})
    rows = rows.drop_duplicates([*cell, "map"]).fillna(
        {"normalize": "", "batch_size": 0, "map": ""}
    )
    layers = rows[~rows["map"].isin(["", *SUMS])]
    names = layers.groupby(cell)["map"]
    aliases = [
        layers[
            layers["map"] == names.transform(lambda maps, find=find: find(list(maps)) or "")
        ].assign(map=alias)
        for alias, find in {"embedding": embedding_of, "head": head_of}.items()
        if len(layers)
    ]
    rows = pd.concat([rows, *aliases], ignore_index=True)
    melted = rows.melt(of_cell, list(RECORDED), var_name="column", value_name="auroc")
    melted = melted.dropna(subset=["auroc"]).reset_index(drop=True)
    return melted.astype({"auroc": float, "normal": int, "seed": int, "batch_size": int})


def with_own_batches(figures):
    """Those trained with the batch size of their budget, or not trained; their size becomes 0."""
    sizes = figures["budget"].map({name: budget.batch_size for name, budget in BUDGETS.items()})
    is_own = figures["batch_size"].isin([0]) | (figures["batch_size"] == sizes)
    return figures[is_own].assign(batch_size=0)


def by_task(figures):
    """AUROC by class and seed, as a Series, of each figure of each task of one budget."""
    indexed = figures.set_index(["normal", "seed"])
    return dict(tuple(indexed.groupby(TASK)["auroc"]))


def select(found, where):
    """The figures of `where`, fields of cells and a figure, in what `by_task` returns."""
    if where is None:
        return EMPTY
    where = {"normalize": "", "batch_size": 0, **where}
    values = found.get((*where["figure"], *(where[name] for name in TASK[2:])), EMPTY)
    if "normal" in where:
        values = values[values.index.get_level_values("normal") == where["normal"]]
    return values


def average(values):
    """Mean over classes of a Series by class and seed, and its deviation over complete seeds."""
    by_seed = values.unstack("seed")
    complete = by_seed.dropna(axis="columns").mean()
    return by_seed.mean(axis="columns").mean(), complete.std(ddof=1)


def compare(values, paper=None):
    """Ours, the paper's and the difference, as text."""
    printed = "" if paper is None or np.isnan(paper) else f"{paper:.2f}".removesuffix("0")
    if values.empty:
        return f"({printed})" if printed else ""
    mean, deviation = average(values)
    text = f"{mean:.1f}" + ("" if np.isnan(deviation) else f" ± {deviation:.1f}")
    return f"{text} ({printed}, {mean - paper:+.1f})" if printed else text


def coverage(done):
    """Classes and numbers of seeds, once each, of (set, values by class and seed)."""
    texts = {}
    for name, values in done:
        seeds = values.groupby("normal").size()
        least, most = seeds.min(), seeds.max()
        classes = f"{len(seeds)} of {N_CLASSES[name]}"
        if len(seeds) < N_CLASSES[name]:
            classes += f" ({', '.join(map(str, seeds.index))})"
        texts[f"{classes}, {most}" if least == most else f"{classes}, {least} to {most}"] = None
    return "; ".join(texts)
