"""Which samples each network is trained on, and within which bounds."""

from __future__ import annotations

import numpy as np
from sklearn.utils.random import sample_without_replacement

HELD_OUT = 0.2  # share of few samples that each network does not see
MAX_DEVIATIONS = 10.0  # of the box in which networks are trained, if columns are standardised
MARGIN = 0.1  # of the box, beyond the samples, so that it is known what lies outside of them


def draw_rows(
    n_samples: int, n_networks: int, max_samples: int | None, random_state: np.random.RandomState
) -> np.ndarray:
    """Indices (n_networks, size) of the samples that each network is trained on.

    All of them if `max_samples` is None, else at most that many and at most four fifths.
    """
    if max_samples is None:
        return np.tile(np.arange(n_samples), (n_networks, 1))
    size = max(2, min(max_samples, int((1 - HELD_OUT) * n_samples)))
    draws = [
        sample_without_replacement(n_samples, size, random_state=random_state)
        for _ in range(n_networks)
    ]
    return np.stack(draws)


def draw_columns(
    n_features: int, n_networks: int, max_features: int | None, random_state: np.random.RandomState
) -> np.ndarray:
    """Indices (n_networks, n_columns) of the coordinates that each network sees.

    All of them if `max_features` is None, else at most that many, unless more are needed for each
    coordinate to be seen.
    """
    if max_features is None or n_features <= max_features:
        return np.tile(np.arange(n_features), (n_networks, 1))
    size = max(max_features, -(-n_features // n_networks))
    n_rounds = -(-n_networks * size // n_features)
    # permutations one after the other, dealt to the networks; one that gets a coordinate twice
    # swaps with it a random one that it lacks
    dealt = np.concatenate([random_state.permutation(n_features) for _ in range(n_rounds)])
    columns = dealt[: n_networks * size].reshape(n_networks, size)
    for own in columns:
        repeated = np.setdiff1d(np.arange(size), np.unique(own, return_index=True)[1])
        others = np.setdiff1d(np.arange(n_features), own)
        own[repeated] = random_state.choice(others, len(repeated), replace=False)
    return np.sort(columns, axis=1)


def held_out_mask(rows: np.ndarray, n_samples: int) -> np.ndarray:
    """Which networks were not trained on each sample, bool (n_samples, n_networks)."""
    mask = np.ones((n_samples, len(rows)), dtype=bool)
    mask[rows, np.arange(len(rows))[:, None]] = False
    return mask


def bounds(scaled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The box that holds the scaled training samples, without those that are far away."""
    low, high = (
        np.clip(limit, -MAX_DEVIATIONS, MAX_DEVIATIONS)
        for limit in (scaled.min(axis=0), scaled.max(axis=0))
    )
    margin = MARGIN * (high - low)
    return low - margin, high + margin
