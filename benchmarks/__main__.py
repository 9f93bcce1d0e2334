"""python -m benchmarks list | run NAME | report: see README.md beside this file."""

import argparse
import importlib
import shlex
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from .records import RESULTS, Records, changed_files


class Experiment(NamedTuple):
    """A function of the options and the records, and which options it has."""

    function: str  # module:name
    options: tuple
    summary: str


FILTERS = ("sets", "methods", "seeds")
EXPERIMENTS = {
    "sample": Experiment(
        "detection:sample", ("seeds",), "NSA on the bundled sample: the README's table (15 min)"
    ),
    "embeddings": Experiment(
        "detection:embeddings", FILTERS, "angular scores on pretrained features (5 min)"
    ),
    "tables": Experiment(
        "detection:tables", FILTERS, "NSA on tables with clean training rows (2 min)"
    ),
    "frames": Experiment(
        "frames:frames", ("seeds",), "frames with strings, dates and gaps, made up (1 min)"
    ),
    "defects": Experiment("defects:defects", FILTERS, "defects in photographs with masks (40 min)"),
    "situations": Experiment(
        "situations:situations", FILTERS, "which detector suits which images (2 h)"
    ),
    "pollution": Experiment(
        "pollution:pollution",
        ("sets", "classes", "seeds", "cache"),
        "what tolerates outliers among the training images (30 min)",
    ),
    "projection": Experiment(
        "projection:projection", ("sets", "seeds"), "what projecting wide maps costs (20 min)"
    ),
    "nsa": Experiment(
        "nsa:nsa", (*FILTERS, "classes", "table", "budget"), "a table of the NSA paper (1.5 h)"
    ),
    "nsa-curves": Experiment(
        "nsa_curves:nsa_curves", (*FILTERS, "classes", "budget"), "its figures 2 to 8 (1.5 h)"
    ),
    "gpu": Experiment(
        "gpu:gpu", ("minutes", "pack", "cells"), "the next of its cells in full size (9 min)"
    ),
    "dum-tables": Experiment(
        "detection:dum_tables", FILTERS, "DUM's Table 2: tables with their anomalies (1 h)"
    ),
    "dum-whole-tables": Experiment(
        "detection:dum_whole_tables", FILTERS, "the same on all rows of two large tables (5 min)"
    ),
    "dum-embeddings": Experiment(
        "detection:dum_embeddings", FILTERS, "the same of pretrained features (20 min)"
    ),
    "dum-study": Experiment(
        "detection:dum_study", FILTERS, "what DUM's variance is best learned from (2 h)"
    ),
    "training-speed": Experiment(
        "training:training_speed", (), "images per second beside lightly (10 min)"
    ),
    "training-time": Experiment(
        "training:training_time", ("sets", "seeds"), "AUROC against seconds (30 min)"
    ),
    "neighbors": Experiment(
        "speed:neighbors", (), "exact search beside faiss and scikit-learn (4 min)"
    ),
    "scoring": Experiment("speed:scoring", (), "scoring beside the forward pass (5 min)"),
    "models": Experiment(
        "models:models", ("methods",), "size of models, and seconds for one image (5 min)"
    ),
    "pretrained-speed": Experiment(
        "pretrained:pretrained_speed", (), "a pretrained network beside its module (1 min)"
    ),
    "serving": Experiment("serving:serving", (), "requests a second of the example server (5 min)"),
    "growth": Experiment(
        "growth:growth", ("methods",), "seconds and memory by rows and features (30 min)"
    ),
    "dask": Experiment(
        "clusters:dask_cluster", ("methods",), "a Dask cluster on this machine (20 min)"
    ),
    "files": Experiment(
        "files:files", (), "folders beside arrays and torchvision's loader (10 min)"
    ),
    "files-memory": Experiment(
        "files:files_memory", ("methods",), "memory of large folders and mapped files (1 h)"
    ),
    "memory": Experiment("growth:memory", (), "peak memory of 60,000 images (40 min)"),
    "dum-images": Experiment(
        "dum_images:dum_images", FILTERS, "DUM's Tables 1 and 3 in small (30 min)"
    ),
    "dum-certainty": Experiment(
        "dum_images:dum_certainty", ("seeds",), "DUM's figure 1 in small (5 min)"
    ),
}
HELP = {
    "sets": "names of sets; default: all",
    "classes": "numbers of the classes that are normal in turn; default: all",
    "methods": "names of methods; default: all",
    "seeds": "number of repetitions",
    "minutes": "stop before a measurement that would take longer",
    "table": "number of a table of the paper",
    "budget": "how to train: paper, small, or another of nsa.py",
    "cache": "folder that keeps trained encoders; default: none",
    "pack": "write into this folder what the next cells need, and stop",
    "cells": "number of cells to pack",
}
KINDS = {
    "seeds": int,
    "table": int,
    "cells": int,
    "minutes": float,
    "budget": str,
    "pack": str,
    "cache": str,
}


def make_parser():
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="print the experiments")
    commands.add_parser("report", help="write results/*.md from results/*.csv")
    experiments = commands.add_parser("run", help="run an experiment").add_subparsers(
        dest="name", required=True, metavar="NAME"
    )
    for name, experiment in EXPERIMENTS.items():
        add = experiments.add_parser(name, help=experiment.summary).add_argument
        add("--data", type=Path, default=Path("data"), help="folder of data, see data.py")
        add("--results", type=Path, default=RESULTS, help="folder of result files")
        add("--small", action="store_true", help="a check in seconds that keeps nothing")
        for option in experiment.options:
            kind = KINDS.get(option)
            how = {"type": kind} if kind else {"nargs": "+"}
            add(f"--{option}", **how, help=HELP[option])
    return parser


def run(options):
    """Run an experiment; its records go to a temporary folder if it is a check.

    Returns something true if a part of it failed.
    """
    module, function = EXPERIMENTS[options.name].function.split(":")
    experiment = getattr(importlib.import_module(f"{__package__}.{module}"), function)
    if options.small:
        with tempfile.TemporaryDirectory() as folder:
            return experiment(options, Records(options.name, folder))
    changed = changed_files()
    if changed and options.results == RESULTS:
        raise ValueError(
            f"{', '.join(changed[:3])} changed since the last commit, to which results refer; "
            "commit first, or pass --results FOLDER or --small"
        )
    given = ((name, getattr(options, name)) for name in EXPERIMENTS[options.name].options)
    asked = [
        f"--{name} {_join(value)}"
        for name, value in given
        if value is not None and name != "cache"  # a path of a machine
    ]
    return experiment(options, Records(options.name, options.results, " ".join(asked)))


def _join(value):
    return shlex.join(value) if isinstance(value, list) else value


def main(argv=None):
    options = make_parser().parse_args(argv)
    try:
        if options.command == "list":
            for name, experiment in EXPERIMENTS.items():
                print(f"{name:15s} {experiment.summary}")
        elif options.command == "report":
            importlib.import_module(f"{__package__}.report").write_pages()
        elif run(options):
            return 1
    except (ValueError, OSError, ModuleNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on with what is missing", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
