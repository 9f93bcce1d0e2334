"""A report of scored samples: one HTML page that needs no other file."""

# names that are repeated are for other packages of the project, and not public
from ._figures import bin_scores as bin_scores
from ._pictures import heatmap_colors as heatmap_colors
from ._pictures import overlay
from ._pictures import thumbnail as thumbnail
from ._sections import sum_by_layer as sum_by_layer
from ._write_report import write_report

__all__ = ["overlay", "write_report"]
