"""How a report compares scores with labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.metrics import (
    average_precision_score,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)

from ._figures import curve


def agreement(labels: np.ndarray, scores: np.ndarray, threshold: float) -> dict[str, Any]:
    """How well labels are told; None for what is not defined with these labels and flags."""
    is_anomaly, flagged = labels == -1, scores < threshold
    precision, recall, false_positive_rate = (
        _share(is_anomaly[flagged]),
        _share(flagged[is_anomaly]),
        _share(flagged[~is_anomaly]),
    )
    result: dict[str, Any] = {
        "n_anomalies": int(is_anomaly.sum()),
        "precision": precision,
        "recall": recall,
        "false_positive_rate": false_positive_rate,
        "auroc": None,
        "average_precision": None,
        "figures": [],
    }
    if recall is None or false_positive_rate is None:
        return result
    false_positives, true_positives, _ = roc_curve(is_anomaly, -scores)
    precisions, recalls, _ = precision_recall_curve(is_anomaly, -scores)
    share = float(is_anomaly.mean())
    roc = curve(
        "ROC curve: recall against the false-positive rate",
        "false-positive rate",
        (false_positives, true_positives),
        chance=(0, 1),
        mark=(false_positive_rate, recall),
    )
    precision_recall = curve(
        "Precision against recall",
        "recall",
        (recalls, precisions),
        chance=(share, share),
        mark=(recall, precision),
    )
    return result | {
        "auroc": roc_auc_score(labels, scores),
        "average_precision": average_precision_score(is_anomaly, -scores),
        "figures": [roc, precision_recall],
    }


def _share(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None
