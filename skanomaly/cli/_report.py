"""skanomaly report: one HTML page of scored images or rows."""

from __future__ import annotations

import argparse
from pathlib import Path

from ._inputs import (
    check_source,
    describe_images,
    is_table,
    match_columns,
    read_pictures,
    read_table,
)
from ._messages import say
from ._models import TRUST, check_kind, detector_of, features_of, load_model
from ._options import add_model_and_source, add_on_error
from ._outputs import check_file

SUMMARY = "write an HTML page of what was found"
DESCRIPTION = f"""\
Score images or rows, and write one HTML page: the distribution of the scores, the most anomalous
and the most normal images with heatmaps and their nearest training image, p-values and settings.

With --labels-from-folders, images in a subfolder named good or normal are normal, and those in
others are anomalies; the page then has the ROC and the precision-recall curve, too.

{TRUST}
"""
EXAMPLES = """\
examples:
  skanomaly report parts.model photos/new -o report.html
  skanomaly report parts.model photos/test -o report.html --labels-from-folders
"""
NORMAL_FOLDERS = {"good", "normal"}


def add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add_model_and_source(parser)
    add("-o", "--output", metavar="HTML", type=Path, required=True, help="file to write")
    add(
        "--labels-from-folders",
        action="store_true",
        help="images in subfolders named good or normal are normal, others are anomalies",
    )
    add_on_error(parser)


def run(options: argparse.Namespace) -> None:
    check_source(options.source)
    if options.labels_from_folders and not Path(options.source).is_dir():
        options.wrong_usage(f"--labels-from-folders needs a folder; {options.source} is none")
    check_file(options.output)
    model = load_model(options.model)
    check_kind(model, options.source, is_table(options.source))
    labels, X = None, None
    if is_table(options.source):
        table = match_columns(read_table(options.source), model, options.source)
        X = features_of(model, table)
    else:
        X = read_pictures(options.source, model, options.on_error)
        describe_images(X, options.source)
        if options.labels_from_folders:
            labels = _labels_of(X.paths or [], options.source)
    from ..report import write_report

    write_report(detector_of(model), X, options.output, y=labels)
    say(f"{options.output} written")


def _labels_of(paths: list[str], source: str) -> list[int]:
    """+1 for files in a folder named good or normal below the source, -1 for others."""
    parents = [Path(path).relative_to(source).parts[:-1] for path in paths]
    labels = [1 if NORMAL_FOLDERS & {part.lower() for part in parts} else -1 for parts in parents]
    if len(set(labels)) == 1:
        which = "all" if labels[0] == 1 else "none"
        raise ValueError(
            f"--labels-from-folders: {which} of the images in {source} are in a subfolder named "
            "good or normal; some must be, and others not"
        )
    return labels
