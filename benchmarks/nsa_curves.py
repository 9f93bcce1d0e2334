"""What a training does to embeddings: the curves of the NSA paper's figures 2 to 8."""

from skanomaly.diagnostics import (
    concentration,
    knn_accuracy,
    linear_probe_accuracy,
    mmd_to_uniform,
)

from . import nsa
from .nsa_cells import BUDGETS, make_task
from .nsa_tables import CURVE_TASKS
from .scores import SCORES, auroc, embedding_of

N_POINTS = 25
FIGURES = (
    *("auroc_gde", "auroc_k_cos", "auroc_c_cos"),
    *("concentration", "concentration_outliers", "mmd_to_uniform", "mmd_to_uniform_outliers"),
    *("linear_probe_accuracy", "knn_accuracy_1", "knn_accuracy_20"),
)


def nsa_curves(options, records):
    """Detection and embedding along trainings on four classes of CIFAR-10, for figures 2 to 8.

    With the budget "small-curves", the default, 1.5 hours on two cores; with "paper-curves", which
    has the paper's 5,000 epochs, days on a GPU. Needs CIFAR-10.
    """
    options.classes = options.classes or range(4)
    cells = nsa.cells_of(CURVE_TASKS, options, options.budget or "small-curves")
    return nsa.run_cells(cells, options, records, record)


def record(cell, splits):
    """Train the encoder of a cell, watched; a row for each recorded epoch."""
    task = make_task(cell, splits)
    every = max(1, BUDGETS[cell.budget].epochs[cell.method] // N_POINTS)
    encoder = nsa.make_encoder(cell).set_params(callbacks=[Recorder(task, cell.normal, every)])
    history = nsa.fit(encoder, task.train).history_
    return [
        {"epoch": i, **{name: nsa.significant(epoch[name]) for name in FIGURES}}
        for i, epoch in enumerate(history, start=1)
        if FIGURES[0] in epoch
    ]


class Recorder:
    """Callback of an encoder: detection by its embedding, and what that is like.

    After the first epoch and then after each `every`-th, `history_` gets FIGURES of the last block,
    averaged over positions, AUROC and accuracies in per cent. The classifiers are fitted on one
    half of the test images and tested on the other.
    """

    def __init__(self, task, normal, every):
        self.task = task
        self.normal = normal
        self.every = every

    def record(self, encoder):
        n_before = len(encoder.history_)
        if n_before and (n_before + 1) % self.every:
            return {}
        layer, task = embedding_of(list(encoder.layer_slices_)), self.task
        train, test = (encoder.transform_blocks(X)[layer] for X in (task.train, task.test))
        figures = {
            f"auroc_{score}": auroc(SCORES[score], train, test, task.is_anomaly)
            for score in ("gde", "k_cos", "c_cos")
        }
        for suffix, rows in ("", test[~task.is_anomaly]), ("_outliers", test[task.is_anomaly]):
            figures[f"concentration{suffix}"] = concentration(rows)
            figures[f"mmd_to_uniform{suffix}"] = mmd_to_uniform(rows)
        halves = test[::2], task.y_test[::2], test[1::2], task.y_test[1::2]
        figures["linear_probe_accuracy"] = 100 * linear_probe_accuracy(*halves)
        for k in 1, 20:
            accuracy = knn_accuracy(*halves, n_neighbors=min(k, len(halves[0])))
            figures[f"knn_accuracy_{k}"] = 100 * accuracy
        return figures
