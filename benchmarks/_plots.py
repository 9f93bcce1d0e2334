"""Plots are made where matplotlib is."""

import importlib.util


def has_matplotlib():
    """Whether there is matplotlib; says so if not."""
    found = importlib.util.find_spec("matplotlib") is not None
    if not found:
        print("no plot: matplotlib is missing; pip install matplotlib")
    return found
