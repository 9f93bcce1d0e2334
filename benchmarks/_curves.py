"""What a training does to embeddings: the curves of the NSA paper's figures 2 to 8."""

from skanomaly.diagnostics import (
    concentration,
    knn_accuracy,
    linear_probe_accuracy,
    mmd_to_uniform,
)

from ._scores import SCORES, auroc_of

CURVES = (
    *("auroc_gde", "auroc_k_cos", "auroc_c_cos"),
    *("concentration", "concentration_outliers", "mmd_to_uniform", "mmd_to_uniform_outliers"),
    *("linear_probe_accuracy", "knn_accuracy_1", "knn_accuracy_20"),
)
N_POINTS = 25


class CurveRecorder:
    """Callback of an encoder: detection by its embedding, which is described too.

    After the first epoch and then after each `every`-th, `history_` gets CURVES of the last block,
    averaged over positions.

    Parameters
    ----------
    train, test : images
        Those that the encoder is trained on, and test images of all classes. The classifiers are
        fitted on one half of the test images and tested on the other.
    y_test : array
        Classes of the test images.
    normal : int
        The class that is no anomaly.
    every : int
        Number of epochs.
    """

    def __init__(self, train, test, y_test, normal, every):
        self.train = train
        self.test = test
        self.y_test = y_test
        self.normal = normal
        self.every = every

    def record(self, encoder):
        n_before = len(encoder.history_)
        if n_before and (n_before + 1) % self.every:
            return {}
        layer = embedding_of(encoder)
        train, test = (encoder.transform_blocks(X)[layer] for X in (self.train, self.test))
        is_anomaly = self.y_test != self.normal
        figures = {
            f"auroc_{score}": auroc_of(SCORES[score], train, test, is_anomaly)
            for score in ("gde", "k_cos", "c_cos")
        }
        for suffix, rows in ("", test[~is_anomaly]), ("_outliers", test[is_anomaly]):
            figures[f"concentration{suffix}"] = concentration(rows)
            figures[f"mmd_to_uniform{suffix}"] = mmd_to_uniform(rows)
        halves = test[::2], self.y_test[::2], test[1::2], self.y_test[1::2]
        figures["linear_probe_accuracy"] = linear_probe_accuracy(*halves)
        for k in 1, 20:
            figures[f"knn_accuracy_{k}"] = knn_accuracy(*halves, n_neighbors=min(k, len(halves[0])))
        return figures


def embedding_of(encoder):
    """Name of the last block's averaged layer, of a fitted encoder that returns all layers."""
    return [name for name in encoder.layer_slices_ if name.endswith("(1x1)")][-1]


def curves_of(history):
    """Numbers of the epochs that were recorded, and values of each curve."""
    recorded = [(i, epoch) for i, epoch in enumerate(history, start=1) if CURVES[0] in epoch]
    curves = {name: [round(float(epoch[name]), 5) for _, epoch in recorded] for name in CURVES}
    return {"epoch": [i for i, _ in recorded], **curves}
