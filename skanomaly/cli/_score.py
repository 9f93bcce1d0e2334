"""skanomaly score: scores, p-values and labels of images or rows as CSV."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._files import replacing_file
from ._inputs import (
    check_source,
    describe_images,
    is_table,
    match_columns,
    read_pictures,
    read_table,
    require_pandas,
)
from ._messages import say
from ._models import TRUST, check_kind, detector_of, features_of, load_model
from ._options import add_model_and_source, add_on_error
from ._outputs import check_file, check_folder, replacing_folder

if TYPE_CHECKING:
    import pandas as pd

    from ..images import Images

SUMMARY = "score images or rows"
DESCRIPTION = f"""\
Score images or rows with a model, in the order of the files' names or of the rows.

The columns are path (of images) or row (from 0), score (higher is more normal), p_value (small for
outliers), label (1 normal, -1 outlier) and nearest, the nearest training image or row, if the
detector looks for it.

Columns of a table are found by their names. One that is missing is an error; one that the model
does not know is left out, with a warning.

{TRUST}
"""
EXAMPLES = """\
examples:
  skanomaly score parts.model photos/new -o scores.csv
  skanomaly score parts.model photos/new -o scores.csv --copy-worst 20 worst --heatmaps maps
  skanomaly score table.model new.csv | sort -t, -k2 -g | head
"""
HEATMAP_BATCH = 16  # images


def add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add_model_and_source(parser)
    add("-o", "--output", metavar="CSV", type=Path, help="file to write (default: stdout)")
    add(
        "--copy-worst",
        nargs=2,
        metavar=("N", "DIR"),
        help="copy the N most anomalous images to a new folder, with their rank in the name",
    )
    add(
        "--heatmaps",
        type=Path,
        metavar="DIR",
        help="write to a new folder where each image is unlike normal ones, as PNG",
    )
    add_on_error(parser)


def run(options: argparse.Namespace) -> None:
    n_worst, worst_folder = _parse_worst(options)
    folders = [folder for folder in (worst_folder, options.heatmaps) if folder is not None]
    is_of_rows = is_table(options.source)
    if folders and is_of_rows:
        options.wrong_usage(f"{options.source} is a table; --copy-worst and --heatmaps need images")
    if len(folders) > 1 and worst_folder == options.heatmaps:
        options.wrong_usage("--copy-worst and --heatmaps name the same folder; pass two")
    check_source(options.source)
    if options.output is not None:
        check_file(options.output)
    for folder in folders:
        check_folder(folder, options.source)
    require_pandas()
    model = load_model(options.model)
    check_kind(model, options.source, is_of_rows)
    if is_of_rows:
        _write_scores(_score_table(model, options.source), options.output)
        return
    images = read_pictures(options.source, model, options.on_error)
    describe_images(images, options.source)
    paths = images.paths or []
    if folders and not paths:
        raise ValueError(f"--copy-worst and --heatmaps need files; {options.source} is an array")
    frame = model.predict_frame(images)
    _write_scores(frame, options.output)
    order = frame["score"].argsort(kind="stable").tolist()
    if worst_folder is not None:
        _copy_worst([paths[i] for i in order[:n_worst]], worst_folder)
    if options.heatmaps is not None:
        _write_heatmaps(model, images, order, options.source, options.heatmaps)


def _parse_worst(options: argparse.Namespace) -> tuple[int, Path | None]:
    if options.copy_worst is None:
        return 0, None
    number, folder = options.copy_worst
    if not number.isdecimal() or int(number) < 1:
        options.wrong_usage(f"--copy-worst: {number!r} is not a whole number above 0")
    return int(number), Path(folder)


def _score_table(model: Any, source: str) -> pd.DataFrame:
    """A row for each row of a file, which begins with its number."""
    table = match_columns(read_table(source), model, source)
    frame = detector_of(model).predict_frame(features_of(model, table))
    frame.insert(0, "row", range(len(frame)))
    return frame


def _write_scores(frame: pd.DataFrame, path: Path | None) -> None:
    n_outliers = int((frame["label"] == -1).sum())
    if path is None:
        frame.to_csv(sys.stdout, index=False)
    else:
        with replacing_file(path) as partial:
            frame.to_csv(partial, index=False)
    written = "" if path is None else f"{path} written: "
    say(f"{written}{len(frame)} scores, {n_outliers} outliers")


def _copy_worst(paths: list[str], folder: Path) -> None:
    digits = len(str(len(paths)))
    with replacing_folder(folder) as partial:
        for rank, path in enumerate(paths, start=1):
            shutil.copyfile(path, partial / f"{rank:0{digits}}_{os.path.basename(path)}")
    say(f"{folder} has copies of the {len(paths)} most anomalous images")


def _write_heatmaps(
    model: Any, images: Images, order: list[int], source: str, folder: Path
) -> None:
    """Heatmaps over all images, in colours of one scale."""
    from tqdm import tqdm

    from ..report import overlay

    low, high = _heatmap_scale(model, images, order)
    paths = images.paths or []
    root = source
    if not os.path.isdir(source):
        root = os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in paths])
    with replacing_folder(folder) as partial:
        batches = range(0, len(images), HEATMAP_BATCH)
        for start in tqdm(batches, desc="heatmaps", disable=not sys.stderr.isatty()):
            heatmaps = model.explain(images[start : start + HEATMAP_BATCH]).heatmaps
            for i, heatmap in enumerate(heatmaps, start):
                # two images may differ in their folder or in their suffix alone
                target = partial / f"{os.path.relpath(paths[i], root)}.png"
                target.parent.mkdir(parents=True, exist_ok=True)
                overlay(_picture(images.pixels[i]), heatmap, low, high).save(target)
    say(f"{folder} has {len(images)} heatmaps, whose colours span {low:.3g} to {high:.3g} radians")


def _heatmap_scale(model: Any, images: Images, order: list[int]) -> tuple[float, float]:
    """Least and largest angle, of the most anomalous and the most normal images alone."""
    ends = sorted({*order[:HEATMAP_BATCH], *order[-HEATMAP_BATCH:]})
    explain = getattr(model, "explain", None)
    heatmaps = explain(images[ends]).heatmaps if explain is not None else None
    if heatmaps is None:
        raise ValueError(
            f"this {type(model).__name__} has no heatmaps, which need a convolutional encoder; "
            "leave --heatmaps out"
        )
    return float(heatmaps.min()), float(heatmaps.max())


def _picture(pixels: Any) -> Any:
    from PIL import Image

    if pixels.dtype.kind == "f":
        pixels = (255 * pixels).round().astype("uint8")
    return Image.fromarray(pixels)
