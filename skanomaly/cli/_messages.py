"""Lines on stderr, in the words of the command line."""

from __future__ import annotations

import sys

# what the library advises in Python, and the option that does it
ADVICE = {
    "pass read_images(..., on_error='skip') as X": "pass --on-error skip",
    "resize them with the image_size of read_images or NSADetector": "fit with --image-size",
    "encode such columns by skanomaly.make_table_pipeline(detector)": (
        "fit on a table with such columns"
    ),
    "impute them first, for example by skanomaly.make_table_pipeline(detector)": (
        "fit on a table with gaps"
    ),
    "pass a smaller image_size": "fit with a smaller --image-size",
}


def say(message: str) -> None:
    """A line on stderr."""
    print(f"skanomaly: {message}", file=sys.stderr, flush=True)


def one_line(message: object) -> str:
    """A message without line breaks, whose advice names options."""
    text = " ".join(str(message).split())
    for python, option in ADVICE.items():
        text = text.replace(python, option)
    return text


def describe_error(error: BaseException) -> str:
    """What an error says, in one line."""
    if isinstance(error, OSError) and error.strerror:
        # the library's messages are sentences of their own
        name = f"{error.filename}: " if error.filename else ""
        return one_line(f"{name}{error.strerror}")
    return one_line(error) or type(error).__name__
