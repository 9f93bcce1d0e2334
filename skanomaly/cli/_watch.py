"""skanomaly watch: score the files of a folder as they come."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from typing import Any

from ._inputs import require_pandas
from ._messages import describe_error, say
from ._models import TRUST, detector_of, is_of_images, load_model
from ._options import duration

SUMMARY = "score new images as they come"
DESCRIPTION = f"""\
Score each image that comes into a folder, or into one below it, and print a line: path, score,
p_value and label (1 normal, -1 outlier), separated by tabs.

A file is taken when its size did not change between two looks at the folder, and again when it is
replaced. A file that cannot be read gets a line that says why. Ctrl-C ends the program.

{TRUST}
"""
EXAMPLES = """\
examples:
  skanomaly watch parts.model /mnt/camera
  skanomaly watch parts.model /mnt/camera --json --interval 0.5 >> scores.jsonl
"""
State = tuple[int, int]  # size and time of change


def add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("model", metavar="MODEL", help="file that skanomaly fit has written")
    add("folder", metavar="FOLDER", help="where images come")
    add("--json", action="store_true", help="print a JSON object a line")
    add(
        "--interval",
        type=duration,
        metavar="SECONDS",
        default=1.0,
        help="time between two looks at the folder (default: 1)",
    )
    add("--existing", action="store_true", help="score what is in the folder already, too")


def run(options: argparse.Namespace) -> None:
    if not os.path.isdir(options.folder):
        raise NotADirectoryError(f"{options.folder!r} is no folder; pass one that images come into")
    require_pandas()
    model = load_model(options.model)
    if not is_of_images(model):
        raise ValueError(f"{options.model} was fitted on a table, but watch scores images")
    if not options.json:
        print("path", "score", "p_value", "label", sep="\t", flush=True)
    say(f"watching {options.folder}; Ctrl-C ends it")
    for path in _new_files(options.folder, options.interval, options.existing):
        _print_line(_score(detector_of(model), path), options.json)


def _new_files(folder: str, interval: float, existing: bool) -> Iterator[str]:
    """Files that are new or changed and whose size has settled, for ever."""
    done = {} if existing else _look(folder)
    before: dict[str, State] = {}
    while True:
        now = _look(folder)
        for path, state in now.items():
            if done.get(path) != state and before.get(path) == state:
                done[path] = state
                yield path
        done = {path: state for path, state in done.items() if path in now}
        before = now
        time.sleep(interval)


def _look(folder: str) -> dict[str, State]:
    from ..images import list_images

    states = {}
    for path in list_images(folder):
        try:
            stat = os.stat(path)
        except FileNotFoundError:  # deleted or renamed meanwhile
            continue
        states[path] = (stat.st_size, stat.st_mtime_ns)
    return states


def _score(detector: Any, path: str) -> dict[str, Any]:
    try:
        frame = detector.predict_frame([path])
    except (ValueError, TypeError, OSError) as error:
        return {"path": path, "error": describe_error(error).partition(". Remove them")[0]}
    row = frame.iloc[0]
    return {
        "path": path,
        "score": float(row["score"]),
        "p_value": float(row["p_value"]),
        "label": int(row["label"]),
    }


def _print_line(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(result), flush=True)
    elif "error" in result:
        print(result["path"], f"error: {result['error']}", sep="\t", flush=True)
    else:
        print(*(_short(value) for value in result.values()), sep="\t", flush=True)


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
