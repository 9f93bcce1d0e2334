"""scikit-learn's callbacks, from 1.9 on."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skanomaly import NSADetector, SelfSupervisedEncoder

callback = pytest.importorskip("sklearn.callback")


class Recorder:
    """Writes down what is called, and wants to stop after some epochs."""

    max_propagation_depth = None

    def __init__(self, stop_after=99):
        self.stop_after = stop_after
        self.events, self.features = [], []

    def setup(self, estimator, context):
        self.events.append("setup")

    def teardown(self, estimator, context):
        self.events.append("teardown")

    def on_fit_task_begin(self, estimator, context, *, X=None):
        self.events.append(f"begin {context.task_name}")

    def on_fit_task_end(self, estimator, context, *, X=None, fitted_estimator=None):
        self.events.append(f"end {context.task_name}")
        if context.task_name == "epoch":
            self.features.append(fitted_estimator.transform(X))
        return context.task_name == "epoch" and context.task_id + 1 >= self.stop_after


def epochs(n):
    return ["begin epoch", "end epoch"] * n


def test_each_epoch_is_a_task(images):
    recorder = Recorder()
    encoder = SelfSupervisedEncoder(max_epochs=2, random_state=0).set_callbacks(recorder)
    features = encoder.fit(images).transform(images)
    assert recorder.events == ["setup", "begin fit", *epochs(2), "end fit", "teardown"]
    assert_allclose(recorder.features[1], features, atol=1e-5)
    assert np.abs(recorder.features[0] - features).max() > 1e-3
    assert not [name for name in vars(encoder) if "callback_fit" in name]


def test_callback_ends_training(table):
    recorder = Recorder(stop_after=2)
    encoder = SelfSupervisedEncoder(max_epochs=9, random_state=0).set_callbacks(recorder)
    assert len(encoder.fit(table).history_) == 2
    assert_allclose(recorder.features[1], encoder.transform(table), atol=1e-9)
    assert recorder.events == ["setup", "begin fit", *epochs(2), "end fit", "teardown"]


def test_every_task_that_begins_ends(images, tmp_path):
    def stop(history):
        return len(history) == 2

    recorder = Recorder()
    options = {"callbacks": [stop], "checkpoint": tmp_path / "a", "random_state": 0}
    encoder = SelfSupervisedEncoder(**options).set_callbacks(recorder)
    encoder.fit(images)
    assert recorder.events == ["setup", "begin fit", *epochs(2), "end fit", "teardown"]
    recorder.events.clear()
    encoder.fit(images)  # is loaded
    assert recorder.events == ["setup", "begin fit", "end fit", "teardown"]


def test_unlimited_epochs_and_resumed_training(images, tmp_path):
    recorder = Recorder(stop_after=3)
    encoder = SelfSupervisedEncoder(max_epochs=None, max_time=600, checkpoint=tmp_path / "a")
    encoder.set_params(random_state=0).set_callbacks(recorder)
    assert len(encoder.fit(images).history_) == 3
    again = clone(encoder).set_callbacks(other := Recorder())
    assert len(again.fit(images).history_) == 3
    assert other.events[-2:] == ["end fit", "teardown"]


def test_teardown_after_an_error(images):
    recorder = Recorder()
    encoder = SelfSupervisedEncoder(layers=["nothing"]).set_callbacks(recorder)
    with pytest.raises(ValueError, match="is not known"):
        encoder.fit(images)

    def fail(history):
        raise OSError("disk on fire")

    encoder = SelfSupervisedEncoder(callbacks=[fail]).set_callbacks(recorder)
    with pytest.raises(OSError, match="on fire"):
        encoder.fit(images)
    assert recorder.events[0] == "setup" and recorder.events[-1] == "teardown"


def test_detector_passes_its_callbacks_on(images):
    recorder = Recorder()
    detector = NSADetector(SelfSupervisedEncoder(max_epochs=2), random_state=0)
    detector.set_callbacks(recorder).fit(images)
    assert recorder.events.count("end epoch") == 2
    assert recorder.events[0] == "setup" and recorder.events[-1] == "teardown"
    assert not hasattr(detector.encoder_, "_parent_callback_ctx")


def test_progress_bar_of_a_pipeline(table, capsys):
    pytest.importorskip("rich")
    pipeline = make_pipeline(
        StandardScaler(), NSADetector(SelfSupervisedEncoder(max_epochs=2), random_state=0)
    )
    pipeline.set_callbacks(callback.ProgressBar(max_propagation_depth=2)).fit(table)
    *_, bar = capsys.readouterr().out.splitlines()
    assert "fit-encoder | SelfSupervisedEncoder" in bar and "100%" in bar
