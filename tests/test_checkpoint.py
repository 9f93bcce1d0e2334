"""Checkpoints: resuming after kill -9, damaged and foreign files, full disks."""

import copy
import errno
import os
import signal
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from skanomaly import EarlyStopping, PretrainedEncoder, SelfSupervisedEncoder
from skanomaly._training import Checkpoint
from skanomaly._training import _checkpoint as checkpoint_module
from skanomaly._training._checkpoint_identity import _describe
from skanomaly.encoders import ColumnCorruption, ImageAugmentation

EPOCHS = 8


def train(X, checkpoint, name):
    """Weights and losses are written to the checkpoint's folder."""
    encoder = SelfSupervisedEncoder("byol", max_epochs=EPOCHS, batch_size=8, random_state=0)
    encoder.set_params(checkpoint=checkpoint).fit(X)
    losses = [epoch["loss"] for epoch in encoder.history_]
    torch.save((losses, encoder.network_.state_dict()), name)


def train_slowly(X, folder, name, signs):
    """Tell when the state is written, after each epoch."""
    write = Checkpoint._write

    def write_slowly(self, state):
        # half a file first, so that processes are killed in the middle of writing too
        self._partial.write_bytes(b"half")
        signs.send_bytes(b".")
        time.sleep(0.02)
        write(self, state)

    torch.set_num_threads(1)
    checkpoint_module.SAVING_SHARE = 1e9
    Checkpoint._write = write_slowly
    train(X, folder / "state", folder / name)


def test_killed_training_resumes_and_ends_bit_identical(processes, images, tmp_path):
    def start(name):
        signs, sending = processes.Pipe(duplex=False)
        process = processes.Process(target=train_slowly, args=(images, tmp_path, name, sending))
        process.start()
        sending.close()
        return process, signs

    for n_writes, wait in [(1, 0.005), (3, 0.01)]:
        process, signs = start("killed")
        for _ in range(n_writes):
            assert signs.recv_bytes() == b"."
        time.sleep(wait)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        signs.close()
    assert not (tmp_path / "killed").exists()
    process, signs = start("resumed")
    process.join()
    n_writes = 0
    while signs.poll():
        try:
            n_writes += signs.recv_bytes() == b"."
        except EOFError:
            break
    assert 0 < n_writes < EPOCHS  # one more, at the end, without the state
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    train(images, None, tmp_path / "whole")
    torch.set_num_threads(n_threads)
    (losses, resumed), (expected, whole) = (
        torch.load(tmp_path / name, weights_only=True) for name in ("resumed", "whole")
    )
    for name, values in whole.items():
        assert_array_equal(resumed[name], values, err_msg=name)
    assert len(losses) == EPOCHS and losses == expected


def fit(images, path, **options):
    options = {"max_epochs": 2, "random_state": 0, **options}
    return SelfSupervisedEncoder(checkpoint=path, **options).fit(images)


def test_finished_training_is_loaded(images, tmp_path):
    path = tmp_path / "state"
    first = fit(images, path, random_state=None)
    saved = path.read_bytes()
    second = fit(images, str(path), random_state=None)
    assert second.history_ == first.history_ and path.read_bytes() == saved
    assert_array_equal(first.transform(images), second.transform(images))
    assert os.listdir(tmp_path) == ["state"]


def test_checkpoint_changes_nothing(images, tmp_path):
    plain = SelfSupervisedEncoder(max_epochs=2, random_state=0).fit(images)
    assert_array_equal(fit(images, tmp_path / "a").transform(images), plain.transform(images))


def test_resumed_training_stops_where_it_would_have_stopped(images, tmp_path):
    stop = EarlyStopping(patience=1, tolerance=10)
    first = fit(images, tmp_path / "a", max_epochs=9, callbacks=[stop])
    again = fit(images, tmp_path / "a", max_epochs=9, callbacks=[stop])
    assert len(first.history_) == len(again.history_) == 2


def test_interrupted_training_resumes(images, tmp_path):
    def interrupt(history):
        if len(history) == 2 and not interrupted:
            interrupted.append(True)
            raise KeyboardInterrupt

    interrupted = []
    options = {"max_epochs": 4, "callbacks": [interrupt]}
    with pytest.warns(match="training was interrupted"):
        fit(images, tmp_path / "a", **options)
    resumed = fit(images, tmp_path / "a", **options)
    assert len(resumed.history_) == 4
    plain = SelfSupervisedEncoder(max_epochs=4, random_state=0).fit(images)
    assert_array_equal(resumed.transform(images), plain.transform(images))


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04 not really", b"some text", "cut", "other", "pickle"]
)
def test_damaged_checkpoint_is_refused_and_kept(images, tmp_path, content):
    path = tmp_path / "state"
    if content == "cut":
        fit(images, path)
        content = path.read_bytes()[:-1000]
    if content == "other":
        torch.save({"weights": torch.zeros(2)}, path)
    elif content == "pickle":
        torch.save({"format": os.system}, path)
    else:
        path.write_bytes(content)
    before = path.read_bytes()
    encoder = SelfSupervisedEncoder(checkpoint=path, max_epochs=1)
    with pytest.raises(ValueError, match=r"checkpoint='.*state' is .*pass another path, or delete"):
        encoder.fit(images)
    assert path.read_bytes() == before and not hasattr(encoder, "network_")


@pytest.mark.parametrize(
    "change, message",
    [
        ({"temperature": 0.3}, "temperature is 0.3, not 0.2"),
        ({"max_epochs": 3}, "max_epochs is 3, not 2"),
        ({"random_state": 1}, "random_state is 1, not 0"),
        ({"objective": "byol"}, "objective is 'byol', not 'simclr'"),
        ({"augment": np.negative}, "augment is numpy.negative|augment is .*ufunc"),
        ({"backbone": torch.nn.Flatten()}, "backbone is Flatten .* with weights .*, not 'auto'"),
    ],
)
def test_foreign_checkpoint_is_refused(images, tmp_path, change, message):
    path = tmp_path / "state"
    fit(images, path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=rf"belongs to another training: .*{message}"):
        fit(images, path, **change)
    assert path.read_bytes() == before


def linear(scale=1.0, frozen=False, then=torch.nn.ReLU):
    layer = torch.nn.Linear(144, 8)
    torch.nn.init.constant_(layer.weight, scale)
    torch.nn.init.zeros_(layer.bias)
    layer.weight.requires_grad = not frozen
    return torch.nn.Sequential(torch.nn.Flatten(), layer, then())


class Scaled:
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, batch, generator):
        return batch * self.factor

    def method(self, batch, generator):
        return batch * self.factor


def scale(batch, generator, factor=1.0):
    return batch * factor


def make_scale(factor):
    return lambda batch, generator: batch * factor


class Flipped(ImageAugmentation):
    """Of the parameters of its base class, and does something else."""

    def __call__(self, images, generator):
        return super().__call__(images, generator).flip(2)


TWINS = {
    "parameters of a module": (torch.nn.Dropout(0.1), torch.nn.Dropout(0.9)),
    "objects": (Scaled(0.5), Scaled(0.9)),
    "methods": (Scaled(0.5).method, Scaled(0.9).method),
    "lambdas": (lambda b, g: b, lambda b, g: b / 2),
    "closures": (make_scale(0.5), make_scale(0.9)),
    "partials": (partial(scale, factor=0.5), partial(scale, factor=0.9)),
    "subclasses": (ImageAugmentation(), Flipped()),
    "corruption": (ColumnCorruption(0.1), ColumnCorruption(0.2)),
    "weights": (linear(), linear(0.5)),
    "frozen": (linear(), linear(frozen=True)),
    "structure": (linear(), linear(then=torch.nn.Tanh)),
    "half precision": (linear().bfloat16(), linear(0.5).bfloat16()),
    "lists": ([1, (2, {"a": 3})], [1, (2, {"a": 4})]),
    "arrays": (np.arange(3), np.arange(1, 4)),
    "paths": (Path("a"), Path("b")),
    "encoders": (PretrainedEncoder(linear()), PretrainedEncoder(linear(0.5))),
}


@pytest.mark.parametrize("name", TWINS)
def test_identity_tells_twins_apart(name):
    first, second = TWINS[name]
    assert _describe(first) != _describe(second)
    assert _describe(first) == _describe(first)
    if name not in ("lambdas", "closures", "methods"):
        assert _describe(first) == _describe(copy.deepcopy(first))


def describe_all():
    return str([_describe(twins) for twins in TWINS.values()])


def test_identity_is_the_same_in_a_new_process(processes):
    with ProcessPoolExecutor(1, processes) as pool:
        described = pool.submit(describe_all).result()
    assert described == describe_all() and "0x" not in described


def test_checkpoint_of_other_samples_is_refused(images, tmp_path):
    fit(images, tmp_path / "state")
    with pytest.raises(ValueError, match="hash of X is"):
        fit(images[::-1], tmp_path / "state")
    with pytest.raises(ValueError, match="hash of X is"):
        fit(np.concatenate([images[:-1], images[:1]]), tmp_path / "state")
    with pytest.raises(ValueError, match="shape of X is 20 x 1 x 12 x 12, not 24 x"):
        fit(images[:20], tmp_path / "state")


def test_what_does_not_matter_may_differ(images, tmp_path):
    first = fit(images, tmp_path / "state")
    again = fit(images, tmp_path / "state", device="cpu", callbacks=[len], verbose=0)
    assert again.history_ == first.history_  # with the times: it was loaded


def test_going_on_has_a_checkpoint_of_its_own(images, tmp_path):
    encoder = fit(images, tmp_path / "state", warm_start=True)
    with pytest.raises(ValueError, match=r"initial weights is .*, not None"):
        encoder.fit(images)
    before = encoder.transform(images)
    after = encoder.set_params(checkpoint=tmp_path / "next").fit(images).transform(images)
    assert (tmp_path / "next").exists() and not np.allclose(after, before)


def test_folder_that_is_missing(images, tmp_path):
    with pytest.raises(OSError, match=r"cannot be written: .*Pass a path in a folder that exists"):
        fit(images, tmp_path / "missing" / "state")


def test_path_inside_a_file(images, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot be written"):
        fit(images, tmp_path / "file" / "state")


def test_callbacks_cannot_spoil_the_checkpoint(images, tmp_path):
    def annotate(history):
        history[-1]["note"] = np.float64(1)

    first = fit(images, tmp_path / "state", callbacks=[annotate])
    assert fit(images, tmp_path / "state").history_ == first.history_


def test_checkpoint_of_another_kind_of_device(images, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint_module, "SAVING_SHARE", 1e9)

    def interrupt(history):
        raise KeyboardInterrupt

    with pytest.warns(match="training was interrupted"):
        fit(images, tmp_path / "state", max_epochs=3, callbacks=[interrupt])
    load = Checkpoint.load

    def load_from_elsewhere(self):
        generator = torch.zeros(16, dtype=torch.uint8)
        return load(self) | {"device": "cuda", "generator": generator}

    monkeypatch.setattr(Checkpoint, "load", load_from_elsewhere)
    assert len(fit(images, tmp_path / "state", max_epochs=3).history_) == 3


def test_every_flipped_byte_is_noticed(images, tmp_path):
    path = tmp_path / "state"
    fit(images, path, objective="simsiam", backbone=linear())
    saved = path.read_bytes()
    digits = saved.index(b"\n") + 1, saved.index(b"\n") + 40
    for place in [0, 5, *digits, *range(100, len(saved), len(saved) // 40), len(saved) - 1]:
        damaged = bytearray(saved)
        damaged[place] ^= 0x7F
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"is damaged or no checkpoint.*pass another path"):
            fit(images, path, objective="simsiam", backbone=linear())
        assert path.read_bytes() == damaged
    path.write_bytes(saved)
    intact = fit(images, path, objective="simsiam", backbone=linear())
    assert path.read_bytes() == saved and len(intact.history_) == 2


def test_disk_that_is_full(images, tmp_path, monkeypatch):
    def fail(file):
        raise OSError(errno.ENOSPC, "No space left")

    monkeypatch.setattr(checkpoint_module.os, "fsync", fail)
    with pytest.raises(OSError, match="cannot be written"):
        fit(images, tmp_path / "state")
    assert os.listdir(tmp_path) == []


def test_disk_that_becomes_full(images, tmp_path, monkeypatch):
    calls = []

    def fail_later(file):
        calls.append(1)
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, "No space left")

    monkeypatch.setattr(checkpoint_module.os, "fsync", fail_later)
    monkeypatch.setattr(checkpoint_module, "SAVING_SHARE", 1e9)
    with pytest.warns(UserWarning, match="can no longer be written") as seen:
        encoder = fit(images, tmp_path / "state", max_epochs=3)
    assert len(seen) == 1 and len(encoder.history_) == 3 and len(calls) == 4
    monkeypatch.undo()
    assert os.listdir(tmp_path) == ["state"]  # nothing half-written is left
    resumed = fit(images, tmp_path / "state", max_epochs=3)
    assert_array_equal(resumed.transform(images), encoder.transform(images))


def test_saving_takes_a_small_share_of_the_time(images, tmp_path, monkeypatch):
    now, writes = [0.0], []

    def look():
        now[0] += 0.5  # an epoch's worth
        return now[0]

    def write(self, state):
        writes.append(len(state["history"]))
        now[0] += 1.0

    monkeypatch.setattr(checkpoint_module, "time", SimpleNamespace(monotonic=look))
    monkeypatch.setattr(Checkpoint, "_write", write)
    options = {"objective": "simsiam", "backbone": linear()}
    fit(images, tmp_path / "state", max_epochs=100, **options)
    # a write costs 1.5 seconds, and so may happen every 30 seconds or 60 epochs
    assert writes[0] == 0 and writes[-1] == 100 and len(writes) == 3
