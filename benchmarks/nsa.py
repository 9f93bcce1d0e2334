"""AUROC of the NSA paper's tables, one result file for each trained network or rival.

    python -m benchmarks.nsa --table 11                       # as in the paper; wants a GPU
    python -m benchmarks.nsa --table 11 --small-budget        # for two cores
    python -m benchmarks.nsa --table 11 --small-budget --list # what is done, what is left
    python -m benchmarks.nsa --figures --small-budget         # curves instead of a table
    python -m benchmarks.report                               # docs/results.md, results_curves.md

Started again, it goes on where it was; started several times with the same folder, the processes
share the work. --table says which cells, other options replace its values: --table 11 --dataset
cifar10 --classes 1 --epochs 100; --objective and --methods together say which methods.

The defaults are the paper's recipe: ResNet-18 on 32 x 32 pixels, learning rate 1e-4, batches of
512, 500 epochs of SimCLR and 4,000 of SimSiam and BYOL. (Its Adam is here AdamW with a weight decay
of 1e-4.) For such trainings there is --checkpoints: killed, they go on where they were.

--small-budget takes two classes each of Fashion-MNIST and CIFAR-10, 1,000 training images and 250
test images of each class, SimCLR, SimSiam and BYOL, the compact network, 30 epochs with the
encoder's default batches and learning rate, and two seeds.

--figures trains SimCLR and SimSiam on four classes of CIFAR-10 and records detection and what the
embedding is like along the way, for figures 2 to 8: 5,000 epochs as in the paper, 200 and one seed
with --small-budget. Its results have a folder of their own.
--small is a check in seconds with a few images and one epoch; its results go to a temporary folder.
"""

import argparse
import sys
import tempfile
import traceback
from functools import cache
from pathlib import Path

from . import _cells, _data, _nsa_methods, _report
from ._nsa_methods import METHODS, OBJECTIVES
from ._nsa_plan import plan
from ._nsa_tables import N_CLASSES, NORMALIZE, TABLES

RESULTS = _report.RESULTS / "nsa"
CURVES = _report.RESULTS / "nsa_curves"


def parse(argv):
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.nsa",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    wanted = parser.add_mutually_exclusive_group()
    wanted.add_argument("--table", type=int, choices=TABLES, default=11)
    wanted.add_argument("--figures", action="store_true", help="curves of trainings, see above")
    add("--dataset", nargs="+", choices=N_CLASSES, help="default: the table's")
    add("--classes", type=int, nargs="+", help="which are normal in turn; default: all")
    add("--objective", nargs="+", choices=OBJECTIVES, help="default: the table's")
    rivals = [method for method in METHODS if method not in OBJECTIVES]
    add("--methods", nargs="+", choices=rivals, default=[], help="rivals, default: the table's")
    add("--normalize", nargs="+", choices=[str(n) for n in NORMALIZE], help="default: the table's")
    add("--pollution", type=float, nargs="+", help="shares of outliers; default: the table's")
    add("--epochs", type=int, help="default: the recipe's")
    add("--minutes", type=float, help="of training; without --epochs they alone decide")
    add("--backbone", help="default: the recipe's")
    add("--batch-size", type=int, nargs="+", help="default: the table's or the recipe's")
    add("--learning-rate", type=float)
    add("--seeds", type=int, help="number of repetitions")
    add("--train-images", type=int, help="at most so many of the normal class; default: all")
    add("--test-images", type=int, help="at most so many of each class; default: all")
    add("--image-size", type=int, help="resize images to this height and width")
    add("--data", default="../shared/data", help="folder with a load.py; see _data.py")
    add("--root", help="folder with torchvision's files, if --data does not hold the set")
    add("--results", type=Path, help="folder of the result files")
    add("--checkpoints", action="store_true", help="keep the state of trainings, to go on with")
    add("--list", action="store_true", help="print the cells and run nothing")
    add("--small-budget", action="store_true", help="for two cores, see above")
    add("--small", action="store_true", help="a check in seconds")
    args = parser.parse_args(argv)
    _check(parser, args)
    args.results = args.results or (CURVES if args.figures else RESULTS)
    return args


def _check(parser, args):
    at_least = {"epochs": 0, "seeds": 1, "train_images": 2, "image_size": 8}
    at_least["test_images"] = 2 if args.figures else 1
    for name, least in at_least.items():
        value = getattr(args, name)
        if value is not None and value < least:
            option = name.replace("_", "-")
            parser.error(f"argument --{option}: {value}; pass at least {least}")
    if args.figures and args.methods:
        parser.error("argument --methods: not with --figures, which are of trainings")
    if args.figures and args.minutes is not None:
        parser.error("argument --minutes: not with --figures, whose curves share their epochs")
    for pollution in args.pollution or []:
        if not 0 <= pollution < 1:
            parser.error(f"argument --pollution: {pollution}; pass shares from 0 to below 1")


@cache
def read_splits(dataset, data, root):
    return [_data.read_images(dataset, split, data, root) for split in ("train", "test")]


def check(cells, args):
    """Refuse cells that cannot be computed before the first of them is.

    Raises
    ------
    ValueError, FileNotFoundError
        If data, packages or weights are missing, there are too few outliers, or a result file
        cannot be used.
    """
    for cell in cells:
        _cells.is_done(args.results, cell)
    for cell in {(c.method, c.backbone, c.batch_size): c for c in cells}.values():
        try:
            _nsa_methods.check_method(cell)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"{error}; or pass --objective or --methods without it"
            ) from error
    for cell in {(c.dataset, c.normal, c.pollution, c.train_images): c for c in cells}.values():
        (_, y), (_, y_test) = read_splits(cell.dataset, args.data, args.root)
        if cell.train_images is None and len(y) < _data.N_TRAIN[cell.dataset]:
            raise ValueError(
                f"--data {args.data} has {len(y):,} of {_data.N_TRAIN[cell.dataset]:,} training "
                f"images of {cell.dataset}; pass --train-images, or another --data and the folder "
                "of torchvision's files as --root"
            )
        try:
            _nsa_methods.draw(cell, y, y_test)
        except ValueError as error:
            raise ValueError(f"{cell.dataset}, class {cell.normal}: {error}") from error


def run(cells, args):
    """Compute what nobody has computed or is computing; returns the number of failures."""
    about = _report.describe_run(
        {"pyod"} if any(cell.method in _nsa_methods.PYOD_RIVALS for cell in cells) else ()
    )
    args.results.mkdir(parents=True, exist_ok=True)
    n_failed = n_claimed = 0
    for i, cell in enumerate(cells, start=1):
        if _cells.is_done(args.results, cell):
            continue
        with _cells.claim(args.results, cell) as is_mine:
            if not is_mine or _cells.is_done(args.results, cell):
                n_claimed += not is_mine
                continue
            keeps = args.checkpoints and cell.method in OBJECTIVES
            checkpoint = _cells.checkpoint_path(args.results, cell) if keeps else None
            try:
                splits = read_splits(cell.dataset, args.data, args.root)
                figures = _nsa_methods.compute(cell, splits, checkpoint, args.figures)
                _cells.write_result(args.results, cell, {**figures, **about})
            except Exception:  # the other cells are worth computing
                n_failed += 1
                print(f"{i}/{len(cells)} {cell.name} failed:", flush=True)
                traceback.print_exc()
                continue
            if checkpoint:
                checkpoint.unlink(missing_ok=True)
        print(f"{i}/{len(cells)} {describe(cell, args.results)}", flush=True)
    if n_claimed:
        print(f"{n_claimed} cells are claimed by others; if these are gone, delete the .lock files")
    return n_failed


def describe(cell, folder):
    """One line: the cell, and its main figures or who is at it."""
    path = _cells.result_path(folder, cell)
    if not path.exists():
        lock = _cells.lock_path(folder, cell)
        owner = _cells.owner_of(lock)
        if not lock.exists() or _cells.is_gone(owner):
            return f"{cell.name}: not run"
        return f"{cell.name}: claimed by " + ("{host}, {pid}".format(**owner) if owner else "?")
    result = _cells.read_result(path)
    shown = {n: result["auroc"][n] for n in ("k_cos_mah", "ens", "score") if n in result["auroc"]}
    figures = ", ".join(f"{name} {100 * value:.1f}" for name, value in shown.items())
    return f"{cell.name}: {figures}, {result['seconds']:.0f} s"


def main(argv=None):
    args = parse(argv)
    with tempfile.TemporaryDirectory() as temporary:
        if args.small:
            args.results = Path(temporary)
        try:
            cells = plan(args)
            if not args.list:
                check(cells, args)
                return 1 if run(cells, args) else 0
            for cell in cells:
                print(describe(cell, args.results))
            n_done = sum(_cells.is_done(args.results, cell) for cell in cells)
            print(f"{n_done} of {len(cells)} cells are done")
        except (ValueError, FileNotFoundError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            print("interrupted; the same command goes on with what is not done", file=sys.stderr)
            return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
