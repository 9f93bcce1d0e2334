"""python -m benchmarks report: pages from the result files."""

import importlib

from .records import RESULTS

PAGES = ("report_detection", "report_nsa", "report_nsa_curves", "report_speed", "report_dum_images")


def write_pages(folder=RESULTS):
    """Write the Markdown pages and the plots of a folder of results."""
    for module in PAGES:
        importlib.import_module(f"{__package__}.{module}").write(folder)
