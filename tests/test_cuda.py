"""Training and scoring on a GPU, where there is one."""

import os
import pickle
import subprocess
import sys

import joblib
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context

from skanomaly import (
    CenterCosine,
    FeatureEnsemble,
    MahalanobisCosine,
    NSADetector,
    SelfSupervisedEncoder,
)

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.fixture
def detector(images):
    encoder = SelfSupervisedEncoder(max_epochs=3, device="cuda")
    return NSADetector(encoder, random_state=0).fit(images)


def test_network_is_kept_on_the_cpu(detector):
    devices = {p.device.type for p in detector.encoder_.network_.parameters()}
    assert devices == {"cpu"}


def test_detector_trained_on_cuda_loads_without_cuda(detector, images, tmp_path):
    joblib.dump(detector, tmp_path / "detector")
    detector.save(tmp_path / "detector.skanomaly")
    np.save(tmp_path / "images.npy", images)
    code = (
        "import joblib, numpy, torch, skanomaly; assert not torch.cuda.is_available();"
        "det, X = joblib.load('detector'), numpy.load('images.npy');"
        "same = skanomaly.load('detector.skanomaly');"
        "assert (same.score_samples(255 - X) == det.score_samples(255 - X)).all();"
        "joblib.dump((det.score_samples(X), det.score_samples(255 - X)), 'scores')"
    )
    hidden = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=hidden, check=True)
    known, new = joblib.load(tmp_path / "scores")
    assert_array_equal(known, detector.training_scores_)
    assert_allclose(new, detector.score_samples(255 - images), rtol=0.05)


def test_same_seed_same_scores_on_one_device(detector, images):
    encoder = SelfSupervisedEncoder(max_epochs=3, device="cuda")
    again = NSADetector(encoder, random_state=0).fit(images)
    assert_allclose(again.training_scores_, detector.training_scores_, rtol=1e-3)


@pytest.mark.parametrize("detector", [MahalanobisCosine(3), CenterCosine(), FeatureEnsemble()])
def test_scorers_compute_where_the_tensors_are(table, detector):
    X, queries = (torch.asarray(values, device="cuda") for values in (table, table + 0.1))
    expected = detector.fit(table).score_samples(table + 0.1)
    with config_context(array_api_dispatch=True):
        scores = detector.fit(X).score_samples(queries)
        assert scores.device.type == detector.training_scores_.device.type == "cuda"
        assert_allclose(scores.cpu(), expected, atol=1e-9)
    loaded = pickle.loads(pickle.dumps(detector))
    assert_allclose(loaded.score_samples(table + 0.1), expected, atol=1e-9)


@pytest.mark.parametrize("precision", ["high", "medium"])
def test_products_of_few_digits_find_the_same_neighbours(rng, precision):
    X, queries = rng.normal(size=(2000, 32)), rng.normal(size=(500, 32))
    expected = MahalanobisCosine(5).fit(X).score_samples(queries)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        with config_context(array_api_dispatch=True):
            detector = MahalanobisCosine(5).fit(torch.asarray(X, device="cuda"))
            scores = detector.score_samples(torch.asarray(queries, device="cuda"))
    finally:
        torch.set_float32_matmul_precision(before)
    assert_allclose(scores.cpu(), expected, atol=1e-9)


@pytest.mark.parametrize("objective", ["simclr", "simclr-shifted", "simsiam", "byol"])
def test_objectives_train_on_cuda(images, objective):
    encoder = SelfSupervisedEncoder(objective, max_epochs=10, device="cuda", random_state=0)
    losses = [epoch["loss"] for epoch in encoder.fit(images).history_]
    assert np.mean(losses[-3:]) < np.mean(losses[:3])


def test_streamed_samples_train_as_resident_ones(images, monkeypatch):
    encoder = SelfSupervisedEncoder(max_epochs=2, device="cuda", random_state=0)
    resident = encoder.fit(images).transform(images)
    monkeypatch.setattr("skanomaly._training._sample_store.DEVICE_SHARE", 0.0)
    assert_allclose(encoder.fit(images).transform(images), resident, rtol=1e-2, atol=1e-3)


def test_checkpoint_of_cuda_resumes(images, tmp_path):
    def interrupt(history):
        if len(history) == 2 and not interrupted:
            interrupted.append(True)
            raise KeyboardInterrupt

    interrupted = []
    options = {"max_epochs": 4, "device": "cuda", "random_state": 0}
    encoder = SelfSupervisedEncoder(callbacks=[interrupt], checkpoint=tmp_path / "a", **options)
    with pytest.warns(match="training was interrupted"):
        encoder.fit(images)
    plain = SelfSupervisedEncoder(**options).fit(images)
    resumed = encoder.fit(images)
    assert len(resumed.history_) == 4
    assert_allclose(resumed.transform(images), plain.transform(images), rtol=1e-2, atol=1e-3)


def test_batches_that_do_not_fit_are_split(rng):
    X = rng.integers(0, 256, (512, 64, 64, 3), dtype=np.uint8)
    free, total = torch.cuda.mem_get_info()
    torch.cuda.set_per_process_memory_fraction((total - free + 3 * 2**30) / total)
    try:
        encoder = SelfSupervisedEncoder(
            "simsiam", backbone="resnet18", batch_size=512, max_epochs=1, device="cuda"
        )
        with pytest.warns(UserWarning, match="out of memory with 512 samples at once"):
            encoder.fit(X)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert np.isfinite(encoder.transform(X[:4])).all()
