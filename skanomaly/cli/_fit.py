"""skanomaly fit: train a detector, and write it to a file."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from ._inputs import check_source, describe_images, is_table, read_table
from ._messages import say
from ._models import TRUST, save_model
from ._options import add_on_error, count, duration, seed, share, size
from ._outputs import check_file

SUMMARY = "train a detector on normal images or rows"
DESCRIPTION = f"""\
Train a detector on a folder of images, or on a CSV or Parquet file, that are mostly normal.

Images are read from the folder and those below it. Without --pretrained a network is trained on
them, which takes thousands of images of one kind; with it, some hundred photographs suffice.
Tables are scored by the nearest rows, and nothing is trained.

{TRUST}
"""
EXAMPLES = """\
examples:
  skanomaly fit photos/good -o parts.model --pretrained resnet18
  skanomaly fit photos/good -o parts.model --pretrained resnet18 --local      # small defects
  skanomaly fit shirts/ -o shirts.model --minutes 10
  skanomaly fit normal.csv -o table.model --contamination 0.01
"""
FOR_IMAGES = ("local", "pretrained", "weights", "minutes", "epochs", "image_size", "resize")
COMPACT_SIZE, PRETRAINED_SIZE = 64, 224  # to which the networks would reduce images themselves
MAX_EPOCHS = 100


def add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("source", metavar="FOLDER_OR_CSV", help="normal images, or a table of normal rows")
    add("-o", "--output", metavar="MODEL", type=Path, required=True, help="file to write")
    add("--local", action="store_true", help="compare images position by position: for defects")
    add(
        "--pretrained",
        metavar="NAME",
        help="take the features of a network of torchvision, such as resnet18, or of timm, such as "
        "timm:vit_small_patch14_dinov2.lvd142m; its weights are downloaded once",
    )
    add("--weights", metavar="FILE", help="file with the weights of --pretrained, not a download")
    add("--minutes", type=duration, metavar="M", help="train for this long instead of by epochs")
    add(
        "--epochs",
        type=count,
        metavar="N",
        help=f"passes over the images at most (default: {MAX_EPOCHS}; no limit with --minutes)",
    )
    add(
        "--contamination",
        type=share,
        metavar="C",
        default="auto",
        help="share of the training samples beyond the threshold (default: 0.05)",
    )
    add(
        "--image-size",
        type=size,
        metavar="N",
        help="resize images to N x N pixels; default: as they are if they have one size of at most "
        f"{COMPACT_SIZE} pixels ({PRETRAINED_SIZE} with --pretrained), else to that",
    )
    add(
        "--resize",
        choices=("pad", "crop", "stretch"),
        help="keep all of an image and fill up, cut off, or change the proportions (default: pad)",
    )
    add_on_error(parser)
    add("--seed", type=seed, metavar="S", default=0, help="of random numbers (default: 0)")


def run(options: argparse.Namespace) -> None:
    _check_combination(options)
    check_source(options.source)
    if options.weights is not None:
        check_source(options.weights)
    check_file(options.output)
    start = time.perf_counter()
    model = _fit_table(options) if is_table(options.source) else _fit_images(options)
    save_model(model, options.output)
    say(f"{options.output} written after {time.perf_counter() - start:.0f} s")


def _fit_table(options: argparse.Namespace) -> Any:
    table = read_table(options.source)
    say(f"{options.source}: {len(table)} rows of {table.shape[1]} columns")
    from ..nsa import NSADetector

    detector = NSADetector(contamination=options.contamination, random_state=options.seed)
    numbers = table.select_dtypes(["number", "bool"])
    if numbers.shape[1] == table.shape[1] and not table.isna().any(axis=None):
        return detector.fit(table)
    say("columns of strings or dates, or with gaps, are encoded as numbers")
    from ..tables import make_table_pipeline

    return make_table_pipeline(detector).fit(table)


def _fit_images(options: argparse.Namespace) -> Any:
    from ..images import read_images

    size = {
        "image_size": options.image_size or _choose_size(options),
        "resize": options.resize or "pad",
    }
    images = read_images(options.source, **size, on_error=options.on_error)
    describe_images(images, options.source)
    from ..nsa import NSADetector
    from ..scorers import PatchCosine

    detector = NSADetector(
        _make_encoder(options, images),
        PatchCosine() if options.local else None,
        **size,
        contamination=options.contamination,
        random_state=options.seed,
    ).fit(images)
    history = getattr(detector.encoder_, "history_", None)
    if history:
        say(f"trained for {len(history)} epochs, to a loss of {history[-1]['loss']:.4g}")
    return detector


def _check_combination(options: argparse.Namespace) -> None:
    given = [name for name in FOR_IMAGES if getattr(options, name) not in (None, False)]
    if is_table(options.source) and given:
        option = given[0].replace("_", "-")
        options.wrong_usage(f"--{option} is for images, but {options.source} is a table")
    if options.pretrained is None and options.weights is not None:
        options.wrong_usage("--weights are those of --pretrained NAME; pass that too")
    for name in ("minutes", "epochs"):
        if options.pretrained is not None and getattr(options, name) is not None:
            options.wrong_usage(f"--{name} limits a training, but --pretrained trains nothing")


def _choose_size(options: argparse.Namespace) -> int | tuple[int, int]:
    """The images' own size if it is one that the network does not reduce."""
    from ..images import count_sizes

    largest = COMPACT_SIZE if options.pretrained is None else PRETRAINED_SIZE
    sizes = count_sizes(options.source)
    if len(sizes) == 1 and max(next(iter(sizes))) <= largest:
        return next(iter(sizes))
    found = f"{len(sizes)} sizes" if len(sizes) > 1 else "larger images"
    say(f"{options.source}: {found}, resized to {largest} pixels; --image-size sets another size")
    return largest


def _make_encoder(options: argparse.Namespace, images: Any) -> Any:
    from ..encoders import PretrainedEncoder, SelfSupervisedEncoder
    from ..nsa import FEW_PHOTOGRAPHS

    if options.pretrained is not None:
        weights = options.weights or "DEFAULT"
        return PretrainedEncoder(options.pretrained, weights)
    if options.local or (len(images.shape) == 4 and len(images) < FEW_PHOTOGRAPHS):
        reason = "small defects" if options.local else f"{len(images)} photographs"
        say(f"hint: for {reason} --pretrained resnet18 usually detects better")
    epochs, minutes = options.epochs, options.minutes
    if epochs is None and minutes is None:
        epochs = MAX_EPOCHS
    limits = [f"{epochs} epochs"] if epochs is not None else []
    limits += [f"{minutes:g} minutes"] if minutes is not None else []
    say(f"training a network for {' or '.join(limits)}")
    return SelfSupervisedEncoder(
        max_epochs=epochs,
        max_time=None if minutes is None else 60 * minutes,
        verbose=int(sys.stderr.isatty()),
    )
