"""Training of variance networks as the parameters of a detector say."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from .._training import Recipe, seeded, train
from ..encoders._row_views import RowViews
from ._embedding import embed_views
from ._row_sampling import bounds, draw_columns, draw_rows
from ._uncertainty_task import UncertaintyTask
from ._variance_networks import VarianceNetworks


def fit_networks(
    detector: Any,
    X: np.ndarray,
    scaled: np.ndarray,
    scale: Callable[[np.ndarray], np.ndarray],
    *,
    device: torch.device,
    seed: int,
) -> tuple[VarianceNetworks, np.ndarray, list[dict[str, float]]]:
    """Train the networks of a DUMDetector.

    Parameters
    ----------
    detector : DUMDetector
        Its ``fit`` is running.
    X : array
        The training samples.
    scaled : array (n, n_features)
        Their scaled embeddings.
    scale : callable
        Returns those of other samples.
    device : torch.device
        Where.
    seed : int
        Of everything that is random.

    Returns
    -------
    networks : VarianceNetworks
        On the CPU.
    rows : int array (n_estimators, size)
        Indices of the samples that each was trained on.
    history : list of dict
    """
    random_state = np.random.RandomState(seed)
    n_networks = detector.n_estimators
    rows = draw_rows(len(X), n_networks, detector.max_samples, random_state)
    columns = draw_columns(scaled.shape[1], n_networks, detector.max_features, random_state)
    low, high = bounds(scaled)

    def take(embeddings, index):  # (n, n_views, n_features), (size, n_networks)
        taken = [embeddings[index[:, i]][..., own] for i, own in enumerate(columns)]
        limits = low[columns][:, None], high[columns][:, None]
        return np.stack(taken, axis=1).clip(*limits).astype(np.float32)

    with seeded(seed, device):
        n_outputs = columns.shape[1] if detector.covariance == "diag" else 1
        networks = VarianceNetworks(
            torch.from_numpy(columns),
            torch.from_numpy(low.astype(np.float32)),
            torch.from_numpy(high.astype(np.float32)),
            detector.hidden_layers,
            n_outputs,
        )
        samples = take(scaled[:, None], rows.T)
        if detector.augment is not None:
            used, place = np.unique(rows.T, return_inverse=True)
            views = embed_views(X[used], detector.augment, scale, seed)
            samples = np.concatenate([samples, take(views, place.reshape(rows.T.shape))], axis=2)
        history = train(
            detector,
            _make_task(detector, networks, device),
            samples,
            X,
            recipe=replace(Recipe.of(detector), optimizer="adam", weight_decay=0.0),
            device=device,
            seed=seed,
            fitted_attributes=lambda task: {"networks_": _ready(copy.deepcopy(task.networks))},
        )
    return _ready(networks), rows, history


def _make_task(detector: Any, networks: VarianceNetworks, device: torch.device) -> UncertaintyTask:
    views = detector.views
    if isinstance(views, str):
        low, high = (limit[networks.columns] for limit in (networks.low, networks.high))
        views = RowViews(views, low[:, None].to(device), high[:, None].to(device))
    return UncertaintyTask(
        networks,
        views,
        objective=detector.objective,
        bag_size=detector.bag_size,
        trim=detector.trim,
        norm=detector.norm,
        sampled=detector.expectation == "sampled",
    ).to(device)


def _ready(networks: VarianceNetworks) -> VarianceNetworks:
    return networks.cpu().eval()
