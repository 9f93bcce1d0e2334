"""The parser of all commands, and what becomes of errors, warnings and interruptions."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
import warnings
from collections.abc import Sequence

from .. import _version
from . import _fit, _info, _report, _score, _watch
from ._messages import describe_error, one_line, say

DESCRIPTION = """\
Find anomalies in images and tables.

Train a detector on a folder of normal images, or on a CSV file of normal rows, then score others.
No labels are needed. A score is higher for more normal samples; the label is -1 for outliers.
"""
EXAMPLES = """\
the whole way:
  skanomaly fit photos/good -o parts.model --pretrained resnet18 --local
  skanomaly score parts.model photos/new -o scores.csv --copy-worst 20 worst
  skanomaly report parts.model photos/new -o report.html

skanomaly COMMAND --help describes a command. Messages go to stderr, results to stdout.
Exit codes: 0 done, 1 an error that the message names, 2 wrong usage, 130 interrupted.
"""
USERS_MISTAKES = (ValueError, TypeError, OSError, ImportError, FloatingPointError, MemoryError)
INTERRUPTED = 130  # as shells report a program that Ctrl-C ended


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    arguments : list of str, optional
        What follows the program's name; by default what it was called with.

    Returns
    -------
    exit_code : int
        0, or 1 after an error, or 130 after an interruption. Wrong usage raises SystemExit(2).
    """
    options = _make_parser().parse_args(arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("default", UserWarning)
        # an encoder keeps what it has learned until then, but a command should end
        warnings.filterwarnings("error", "training was interrupted")
        warnings.showwarning = _show_warning
        return _run(options)


def _run(options: argparse.Namespace) -> int:
    try:
        options.run(options)
        sys.stdout.flush()
    except (KeyboardInterrupt, UserWarning):
        say("interrupted; nothing was left half-written")
        return INTERRUPTED
    except BrokenPipeError:  # as in `skanomaly score ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except USERS_MISTAKES as error:
        if options.traceback:
            traceback.print_exc()
        say(f"error: {describe_error(error)}")
        return 1
    return 0


def _show_warning(message, category, filename, lineno, file=None, line=None) -> None:
    say(f"warning: {one_line(message)}")


def _make_parser() -> argparse.ArgumentParser:
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="skanomaly", description=DESCRIPTION, epilog=EXAMPLES, formatter_class=layout
    )
    parser.add_argument("--version", action="version", version=f"skanomaly {_version.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for module in (_fit, _score, _report, _info, _watch):
        name = module.__name__.rpartition("._")[2]
        command = commands.add_parser(
            name,
            help=module.SUMMARY,
            description=module.DESCRIPTION,
            epilog=module.EXAMPLES,
            formatter_class=layout,
        )
        module.add_options(command)
        command.add_argument(
            "--traceback", action="store_true", help="show where in the code an error was raised"
        )
        command.set_defaults(run=module.run, wrong_usage=command.error)
    return parser
