"""Fitted scores by angles as a torch module, to be exported to ONNX with the encoder."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from ._array_api import to_numpy
from ._whitening import Whitening
from .scorers import CenterCosine, MahalanobisCosine, terms_of


class AngularScores(nn.Module):
    """``score_samples`` of features (n, n_features), as of new samples.

    Parameters
    ----------
    scorer : FeatureEnsemble, MahalanobisCosine or CenterCosine
        Fitted. Members of an ensemble are scores by angles, too.

    Raises
    ------
    ValueError
        If it is another scorer.
    """

    def __init__(self, scorer: Any):
        super().__init__()
        self.terms = terms_of(scorer)
        for term in self.terms:
            _refuse_others(term.scorer)
        self.angles = nn.ModuleList(_make_angle(term.scorer) for term in self.terms)
        # scores of a block share a whitening
        whitenings = {
            id(s.whitening_): _Whitening(s.whitening_, s.mean_)
            for s in (term.scorer for term in self.terms)
            if s.whitening_ is not None
        }
        self.whitenings = nn.ModuleList(whitenings.values())
        position = {key: i for i, key in enumerate(whitenings)}
        self.whitening_of = [position.get(id(term.scorer.whitening_)) for term in self.terms]

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        whitened: dict[int, torch.Tensor] = {}
        total: Any = 0.0
        for term, angle, i in zip(self.terms, self.angles, self.whitening_of, strict=True):
            x = features[:, _as_index(term.columns)].double()
            if i is not None:
                if i not in whitened:
                    whitened[i] = self.whitenings[i](x)
                x = whitened[i]
            total = total + (angle(x) - term.low) / term.span
        return -total


class _Whitening(nn.Module):
    """`Whitening.transform` for numbers that are not extreme."""

    basis: torch.Tensor
    scale: torch.Tensor

    def __init__(self, whitening: Whitening, mean: Any):
        super().__init__()
        self.unit = whitening.unit_
        self.mean = torch.tensor(to_numpy(mean)) / self.unit if whitening.center else None
        self.register_buffer("basis", torch.tensor(to_numpy(whitening.basis_)))
        self.register_buffer("scale", torch.tensor(to_numpy(whitening.scale_)))
        n_features, n_kept = whitening.basis_.shape
        self.scale_outside = 0.0 if n_kept == n_features else whitening.scale_outside_

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x / self.unit
        if self.mean is not None:
            x = x - self.mean
        inside = x @ self.basis
        if self.scale_outside == 0.0:
            outside = 0.0 * inside[:, :1]
        else:
            outside = _norm(x - inside @ self.basis.T) * self.scale_outside
        return torch.cat([inside * self.scale, outside], dim=1)


class _CenterAngle(nn.Module):
    """Angle to the centre of the training samples."""

    center: torch.Tensor

    def __init__(self, scorer: CenterCosine):
        super().__init__()
        center = scorer.mean_ if scorer.whitening_ is None else scorer.whitening_.mean_
        self.register_buffer("center", _unit_rows(torch.tensor(to_numpy(center))[None]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = _unit_rows(x)
        return 2 * _arctan(_norm(x - self.center), _norm(x + self.center))[:, 0]


class _NearestAngle(nn.Module):
    """Mean angle to the nearest of the stored rows, found as `NearestRows` finds them."""

    origin: torch.Tensor
    rows: torch.Tensor
    squares: torch.Tensor

    def __init__(self, scorer: MahalanobisCosine):
        super().__init__()
        self.k = scorer.n_neighbors
        is_centred = scorer.center and scorer.whitening_ is None
        self.mean = torch.tensor(to_numpy(scorer.mean_)) if is_centred else None
        origin, rows = scorer.stored_vectors()
        self.register_buffer("origin", torch.tensor(origin))
        self.register_buffer("rows", torch.tensor(rows))
        self.register_buffer("squares", (self.rows.double() ** 2).sum(dim=1).to(self.rows) / 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        units = _unit_rows(x if self.mean is None else x - self.mean)
        is_zero = (units == 0).all(dim=1, keepdim=True)
        relative = torch.cat([units, is_zero.double()], dim=1) - self.origin
        relative = relative.to(self.rows.dtype)
        nearest = (relative @ self.rows.T - self.squares).topk(self.k, dim=1).indices
        # measured again, since the product has lost digits
        chords = _norm((relative[:, None, :] - self.rows[nearest]).double())[..., 0]
        return (2 * _arctan(chords, (4 - chords**2).clip(min=0).sqrt())).mean(dim=1)


def _make_angle(scorer: Any) -> nn.Module:
    return _CenterAngle(scorer) if isinstance(scorer, CenterCosine) else _NearestAngle(scorer)


def _refuse_others(scorer: Any) -> None:
    if type(scorer) not in (MahalanobisCosine, CenterCosine):
        raise ValueError(
            f"the scorer {type(scorer).__name__} cannot be exported to ONNX, only "
            "MahalanobisCosine and CenterCosine, alone or in a FeatureEnsemble; pass scores=False "
            "to export the encoder alone"
        )
    if getattr(scorer, "index", "exact") != "exact":
        raise ValueError(
            f"a MahalanobisCosine with index={scorer.index!r} cannot be exported to ONNX; fit one "
            "with index='exact', or pass scores=False to export the encoder alone"
        )


def _as_index(columns: Any) -> Any:
    return torch.from_numpy(columns) if isinstance(columns, np.ndarray) else columns


def _norm(x: torch.Tensor) -> torch.Tensor:
    return (x * x).sum(dim=-1, keepdim=True).sqrt()


def _unit_rows(x: torch.Tensor) -> torch.Tensor:
    norms = _norm(x)
    return x / (norms + (norms == 0).double())


def _arctan(y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Of y / x, neither negative, as float64; onnxruntime has that of float32 alone."""
    return (y / x).float().atan().double()
