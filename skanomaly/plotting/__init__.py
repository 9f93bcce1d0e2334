"""Displays in scikit-learn's style, drawn by matplotlib: ``pip install 'skanomaly[plot]'``."""

from ._contribution_bars import ContributionDisplay
from ._extremes_plot import ExtremeImagesDisplay
from ._heatmap_plot import HeatmapDisplay
from ._layer_curves import LayerCurveDisplay
from ._score_plot import ScoreDisplay
from ._stream_plot import ShiftDisplay
from ._training_plot import TrainingDisplay
from ._view_plot import ViewDisplay

__all__ = [
    "ContributionDisplay",
    "ExtremeImagesDisplay",
    "HeatmapDisplay",
    "LayerCurveDisplay",
    "ScoreDisplay",
    "ShiftDisplay",
    "TrainingDisplay",
    "ViewDisplay",
]
