"""Options that commands share, and numbers in them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any


def add_model_and_source(parser: argparse.ArgumentParser) -> None:
    """The model, and what it scores."""
    parser.add_argument("model", metavar="MODEL", help="file that skanomaly fit has written")
    parser.add_argument("source", metavar="FOLDER_OR_CSV", help="images, or a table")


def add_on_error(parser: argparse.ArgumentParser) -> None:
    """What becomes of files that are no images."""
    parser.add_argument(
        "--on-error",
        choices=("raise", "skip"),
        default="raise",
        help="end at images that cannot be read (default), or leave them out and say so",
    )


def number(kind: type, is_valid: Callable[[Any], bool], wanted: str) -> Callable[[str], Any]:
    """A type of argparse: a number that is valid, or a message that says what is wanted."""

    def parse(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not is_valid(value):
            raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}")
        return value

    return parse


def share(text: str) -> str | float:
    """A type of argparse: "auto" or a float in (0, 0.5]."""
    is_share = number(float, lambda value: 0 < value <= 0.5, "above 0 and at most 0.5, or auto")
    return text if text == "auto" else is_share(text)


count = number(int, lambda value: value > 0, "a whole number above 0")
size = number(int, lambda value: value >= 8, "a whole number of at least 8")  # as networks need
duration = number(float, lambda value: 0 < value < float("inf"), "a number above 0")
seed = number(int, lambda value: 0 <= value < 2**32, "a whole number from 0 to 4294967295")
