"""What verbose trainings show in terminals, notebooks and logs."""

import sys
from types import SimpleNamespace

import pytest
from tqdm.notebook import tqdm as notebook_tqdm

from skanomaly import SelfSupervisedEncoder
from skanomaly._training import _progress
from skanomaly._training._progress import Progress


def train(X, **options):
    return SelfSupervisedEncoder(verbose=1, **options).fit(X)


def pretend_notebook(monkeypatch, *, has_widgets):
    shell = SimpleNamespace(config={"IPKernelApp": {}})
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setattr(_progress, "find_spec", lambda name: name if has_widgets else None)


def test_one_bar_in_a_terminal(table, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    train(table, max_epochs=2)
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    assert "training: 100%" in captured.err and "loss=" in captured.err


def test_lines_in_a_log(table, capsys):
    train(table, max_epochs=3)
    captured = capsys.readouterr()
    assert captured.out == "" and "\r" not in captured.err
    lines = captured.err.splitlines()
    assert [line.split(", loss")[0] for line in lines] == [
        "training: 33%, epoch 1",
        "training: 67%, epoch 2",
        "training: 100%, epoch 3",
    ]


@pytest.mark.parametrize("n_epochs, n_lines", [(1000, 11), (10, 10), (1, 1)])
def test_long_trainings_write_few_lines(capsys, n_epochs, n_lines):
    with Progress(0, n_epochs, is_shown=True) as progress:
        for epoch in range(1, n_epochs + 1):
            progress.show(epoch, {"loss": 1.0, "samples_per_second": 5.0}, epoch / n_epochs)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == n_lines
    assert lines[-1] == f"training: 100%, epoch {n_epochs}, loss 1.0000, samples 5/s"


def test_a_training_that_ends_early_writes_its_last_epoch(table, capsys):
    def stop_after_7(history):
        return len(history) == 7

    train(table, max_epochs=100, callbacks=[stop_after_7])
    first, last = capsys.readouterr().err.splitlines()
    assert first.startswith("training: 1%, epoch 1,")
    assert last.startswith("training: 7%, epoch 7,")


def test_a_notebook_without_widgets_shows_characters(table, capsys, monkeypatch):
    pretend_notebook(monkeypatch, has_widgets=False)
    train(table, max_epochs=1)
    assert "\rtraining: 100%" in capsys.readouterr().err


def test_a_notebook_shows_widgets(monkeypatch):
    pretend_notebook(monkeypatch, has_widgets=True)
    assert _progress._notebook_bar() is notebook_tqdm
