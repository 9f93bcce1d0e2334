"""Colours, line styles, and new axes."""

from __future__ import annotations

from numbers import Integral
from typing import Any

# of Okabe and Ito, told apart by the colour-blind; yellow is too pale for lines on white
BLUE, VERMILION, GREEN = "#0072B2", "#D55E00", "#009E73"
LINE_COLORS = [BLUE, VERMILION, GREEN, "#E69F00", "#CC79A7", "#56B4E9"]
# as many as have no divisor in common with the colours, so that 30 lines differ
LINE_STYLES: list[Any] = ["-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1))]


def line_style(i: int) -> dict[str, Any]:
    """Colour and dashes of the i-th line; neighbours differ in both."""
    return {
        "color": LINE_COLORS[i % len(LINE_COLORS)],
        "linestyle": LINE_STYLES[i % len(LINE_STYLES)],
    }


def import_pyplot() -> Any:
    """matplotlib.pyplot, which is imported when something is first drawn."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("plots need matplotlib: pip install 'skanomaly[plot]'") from error
    return plt


def new_axes(ax: Any, **options: Any) -> Any:
    """The axes that were passed, or those of a new figure with these options."""
    if ax is not None:
        return ax
    return import_pyplot().subplots(layout="constrained", **options)[1]


def check_option(name: str, value: Any, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name}={value!r}; pass one of {known}")


def check_count(name: str, value: Any) -> None:
    if not isinstance(value, Integral) or value < 1:
        raise ValueError(f"{name}={value!r}; pass an int of at least 1")
