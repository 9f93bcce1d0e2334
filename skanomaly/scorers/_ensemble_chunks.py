"""Ensembles that are fitted to Dask arrays."""

from __future__ import annotations

from typing import Any

from sklearn.base import clone

from .._array_api import Array
from .._training_rows import TrainingRows
from ._block_scorer import BlockScorer
from ._chunks import ChunkedGroup, checked_chunks, fit_groups, refuse_trim
from ._groups import resolve_groups


def fit_members_to_chunks(ensemble: Any, X: Any) -> tuple[Array, TrainingRows]:
    """Fit the members of a FeatureEnsemble; the anomaly scores (n, members) of the rows."""
    _refuse_members(ensemble)
    chunks = checked_chunks(ensemble, X)
    names = getattr(ensemble, "feature_names_in_", None)
    ensemble.groups_ = resolve_groups(ensemble.groups, names, ensemble.n_features_in_)
    ensemble._check_scored_groups()

    def group_of(name: str, columns: Any) -> ChunkedGroup:
        def scorers_of(n_rows: int) -> list:
            return [clone(scorer) for _, scorer in ensemble._scorers_of(name, n_rows)]

        return ChunkedGroup(f"group {name!r}: ", columns, scorers_of)

    groups = [group_of(name, columns) for name, columns in ensemble.groups_.items()]
    anomaly, fitted, known = fit_groups(chunks, groups)
    ensemble.members_ = [
        (group, name, scorer)
        for group, scorers in zip(ensemble.groups_, fitted, strict=True)
        for (name, _), scorer in zip(
            ensemble._scorers_of(group, len(anomaly)), scorers, strict=True
        )
    ]
    return anomaly, known


def _refuse_members(ensemble: Any) -> None:
    refuse_trim(ensemble)
    for name, scorer, *_ in [] if isinstance(ensemble.scorers, str) else ensemble.scorers:
        if not isinstance(scorer, BlockScorer):
            raise TypeError(
                f"scorer {name!r} is {type(scorer).__name__}, which cannot be fitted to a Dask "
                "array; pass MahalanobisCosine, CenterCosine or NeighborDistance, or fit to a "
                "sample in memory"
            )
        try:
            refuse_trim(scorer)
        except ValueError as error:
            raise ValueError(f"scorer {name!r}: {error}") from error
