"""Full-size cells of the NSA paper's tables in parts of minutes, for GPUs that are lent."""

import io
import time
import traceback
from pathlib import Path

import numpy as np
from PIL import Image

from . import nsa, nsa_cells
from .data import TILE, read_images

# what is most valuable first; the paper trains SimSiam eight times as long as "paper-short"
STEPS = (
    {"budget": "paper", "method": "simclr", "normalize": "both", "pollution": 0.0},
    {"budget": "paper", "method": "simclr", "normalize": "both", "pollution": 0.1},
    {"budget": "paper", "method": "simclr", "normalize": "none", "pollution": 0.0},
    {"budget": "paper", "method": "simclr", "normalize": "none", "pollution": 0.1},
    {"budget": "paper-short", "method": "simsiam", "normalize": "both", "pollution": 0.0},
    {"budget": "paper-short", "method": "simsiam", "normalize": "both", "pollution": 0.1},
)
SETS = ("cifar10", "fashion_mnist")
SHEET_WIDTH = 50  # images


class OutOfTime(Exception):
    """The minutes are over."""


class Deadline:
    """Callback that ends a training at a time by an exception, so that its checkpoint can go on."""

    def __init__(self, seconds):
        self.end = time.monotonic() + seconds

    @property
    def seconds_left(self):
        return self.end - time.monotonic()

    def __call__(self, history):
        if self.seconds_left < 0:
            raise OutOfTime


def gpu(options, records):
    """The next cells of Tables 9 and 11 with the budget "paper" that fit into --minutes (9).

    Rows in the results folder say what is done. A training that does not end in time keeps a
    checkpoint in results/checkpoints, and the next call goes on with it. Needs CIFAR-10 and
    Fashion-MNIST, or what --pack writes of them; and a GPU, unless --small.

    --pack FOLDER computes nothing: it writes there what the next --cells (6) need.
    """
    cells = [cell for cell in planned_cells(options.small) if not records.has(**cell.columns())]
    if options.pack:
        return pack(cells[: options.cells or 6], options.data, Path(options.pack))
    total = 60 * (options.minutes or 9)
    deadline, status = Deadline(total), 0
    checkpoints = records.folder / "checkpoints"
    checkpoints.mkdir(parents=True, exist_ok=True)
    for i, cell in enumerate(cells):
        # too late to reach a checkpoint that is worth going on with
        if deadline.seconds_left < total / 20:
            break
        path = checkpoints / ("-".join(map(str, cell)) + ".checkpoint")
        task = nsa_cells.make_task(cell, nsa_cells.read_splits(cell.set, options.data))
        try:
            rows = compute(cell, task, path, deadline, seconds_of_scoring(records, total))
        except OutOfTime:
            print(f"out of time in {cell}: the next call goes on with it", flush=True)
            break
        except Exception:  # the other cells are worth computing
            print(f"{cell} failed:", flush=True)
            traceback.print_exc()
            status = 1
            continue
        records.add_all([cell.columns() | row for row in rows])
        path.unlink()
        print(f"{len(cells) - i - 1} cells are left", flush=True)
    return status


def planned_cells(small=False):
    """All cells in the order of their value, sets by turns; if small, few with a tiny budget."""
    steps = [{**step, "budget": "check"} for step in STEPS[::5]] if small else STEPS
    return [
        nsa_cells.make_cell(**step, set=name, normal=normal, seed=0)
        for step in steps
        for normal in range(1 if small else 10)
        for name in SETS
    ]


def compute(cell, task, checkpoint, deadline, seconds_of_scoring):
    """Rows of a cell, whose training goes on from its checkpoint.

    Raises
    ------
    OutOfTime
        If training or scoring would not end in time. The checkpoint has the training.
    """
    encoder = nsa.make_encoder(cell).set_params(checkpoint=checkpoint, callbacks=[deadline])
    nsa.fit(encoder, task.train)
    if deadline.seconds_left < seconds_of_scoring:
        raise OutOfTime
    return nsa.score(encoder, task)


def seconds_of_scoring(records, total):
    """What scoring takes, by the cells that are done, with a margin; a guess before the first."""
    rows = records.rows
    if rows.empty:
        return total / 5
    seconds = 1.25 * (rows["seconds"] - rows["fit_seconds"]).max()
    return min(seconds, 0.8 * total)  # what is trained must be scored some time


def pack(cells, source, folder):
    """Write the test images, and those training images that cells draw, with all labels."""
    for name in dict.fromkeys(cell.set for cell in cells):
        (X, y), (X_test, y_test) = (read_images(name, split, source) for split in ("train", "test"))
        drawn = [nsa_cells.draw(cell, y, y_test)[0] for cell in cells if cell.set == name]
        index = np.unique(np.concatenate(drawn))
        (folder / name).mkdir(parents=True, exist_ok=True)
        np.savez_compressed(folder / name / "test_0.npz", **compress(X_test), y=y_test)
        np.savez_compressed(
            folder / name / "train_0.npz", **compress(X[index]), index=index.astype(np.int32), y=y
        )
    size = sum(path.stat().st_size for path in folder.glob("*/*.npz")) / 2**20
    print(*cells, f"{size:.1f} MiB in {folder}", sep="\n")


def compress(images):
    """Arrays of a file: coloured images as lossless sheets."""
    if images.ndim == 3:
        return {"x": images}
    n_rows = -(-len(images) // SHEET_WIDTH)
    padded = np.zeros((n_rows * SHEET_WIDTH, *images.shape[1:]), np.uint8)
    padded[: len(images)] = images
    tiles = padded.reshape(n_rows, SHEET_WIDTH, TILE, TILE, 3).swapaxes(1, 2)
    arrays = {}
    for i in range(0, n_rows, 20):
        sheet = np.ascontiguousarray(tiles[i : i + 20]).reshape(-1, SHEET_WIDTH * TILE, 3)
        file = io.BytesIO()
        Image.fromarray(sheet).save(file, "webp", lossless=True)
        arrays[f"webp{i:04d}"] = np.frombuffer(file.getvalue(), np.uint8)
    return arrays
