"""Objectives by name, and those that users pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from ._byol import BYOL
from ._mean_shifted import MeanShifted
from ._objective import Objective
from ._simclr import ShiftedSimCLR, SimCLR
from ._simsiam import SimSiam

OBJECTIVES: dict[str, type[Objective]] = {
    "simclr": SimCLR,
    "simclr-shifted": ShiftedSimCLR,
    "simsiam": SimSiam,
    "byol": BYOL,
    "mean-shifted": MeanShifted,
}


def make_objective(
    objective: str | Callable, embedding_dim: int, normalize: str | None, temperature: float
) -> Objective:
    """The objective for embeddings of a width.

    Parameters
    ----------
    objective : str or callable
        A name, or what is called with the width and the two normalisations.
    embedding_dim : int
        Width of the backbone's embedding.
    normalize : {"both", "embedding", "projection"} or None
        Which of the two are on.
    temperature : float
        For SimCLR and MeanShifted.

    Raises
    ------
    TypeError
        If the objective is not a callable that returns an :class:`Objective`.
    """
    options: dict[str, Any] = {
        "normalize_embedding": normalize in ("both", "embedding"),
        "normalize_projection": normalize in ("both", "projection"),
    }
    if isinstance(objective, nn.Module):
        raise TypeError(
            f"objective is a {type(objective).__name__} that is built already; pass the class, or "
            "a function of the embedding's width that returns it"
        )
    if not isinstance(objective, str):
        made = objective(embedding_dim, **options)
        if not isinstance(made, Objective):
            raise TypeError(
                f"objective={objective!r} returned {type(made).__name__}; pass a callable that "
                "returns a skanomaly.encoders.Objective"
            )
        return made
    if objective in ("simclr", "simclr-shifted", "mean-shifted"):
        options["temperature"] = temperature
    made = OBJECTIVES[objective](embedding_dim, **options)
    made.source = {
        "objective": objective,
        "embedding_dim": embedding_dim,
        "normalize": normalize,
        "temperature": temperature,
    }
    return made
