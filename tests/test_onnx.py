"""ONNX files of encoders and detectors, by onnxruntime alone."""

import sys

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.frozen import FrozenEstimator
from sklearn.neighbors import KernelDensity
from torch import nn

from skanomaly import (
    CenterCosine,
    FeatureEnsemble,
    MahalanobisCosine,
    NeighborDistance,
    NSADetector,
    PatchCosine,
    PretrainedEncoder,
    SelfSupervisedEncoder,
)
from skanomaly.encoders import _onnx_export

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

ENCODER = SelfSupervisedEncoder(max_epochs=1, random_state=0)
NEAREST = ("near", MahalanobisCosine(2))


@pytest.fixture
def new(images):
    """Held-out images, of which some are much like the training images."""
    return np.concatenate([images[:5, ::-1], 255 - images[:2]])


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.onnx"


def as_input(images):
    """Images as the file takes them."""
    images = images[..., None] if images.ndim == 3 else images
    return (images.transpose(0, 3, 1, 2) / 255).astype(np.float32)


def run(path, x):
    session = onnxruntime.InferenceSession(path)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {session.get_inputs()[0].name: x}), strict=True))


def assert_same_scores(detector, path, X, x):
    """For several sizes of batches."""
    detector.export_onnx(path)
    expected = detector.score_samples(X)
    tolerance = 1e-4 * np.abs(expected).max()
    assert np.ptp(expected) > 100 * tolerance
    for n in (len(x), 1, 2):
        scores = run(path, x[:n])["score"]
        assert scores.dtype == np.float64
        assert_allclose(scores, expected[:n], atol=tolerance, rtol=0)


def test_default_detector(images, new, path):
    encoder = SelfSupervisedEncoder(max_epochs=2)
    detector = NSADetector(encoder, random_state=0).fit(images)
    assert len(detector.scorer_.members_) == 24  # of six layers
    assert_same_scores(detector, path, new, as_input(new))
    outputs = run(path, as_input(new))
    blocks = detector.encoder_.transform_blocks(new)
    assert list(outputs) == [*blocks, "score"]
    for name, features in blocks.items():
        assert_allclose(outputs[name], features, atol=1e-4)
    metadata = onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map
    is_outlier = outputs["score"] < float(metadata["offset_"])
    assert_array_equal(is_outlier, detector.predict(new) == -1)
    # a training image has itself for its neighbour in the file
    assert run(path, as_input(images[:1]))["score"] > detector.training_scores_[0] + 0.5


@pytest.mark.parametrize(
    "scorer",
    [
        MahalanobisCosine(),
        MahalanobisCosine(3, center=True),
        MahalanobisCosine(whiten=False, center=True),
        MahalanobisCosine(2, n_components=4, trim=0.1),
        CenterCosine(),
        CenterCosine(whiten=False),
        FeatureEnsemble("robust", trim=0.1),
        FeatureEnsemble(groups={"few": [7, 3, 5], "rest": slice(9, 300)}),  # few have a tree
        FrozenEstimator(CenterCosine()),
    ],
    ids=str,
)
def test_scores(scorer, images, new, path):
    encoder = FrozenEstimator(ENCODER.fit(images))
    if isinstance(scorer, FrozenEstimator):
        scorer.estimator.fit(encoder.transform(images))
    detector = NSADetector(encoder, scorer).fit(images)
    assert_same_scores(detector, path, new, as_input(new))


def test_neighbours_that_float32_confuses(rng, path):
    """Rows in small clusters are stored in float64."""
    X = np.repeat(rng.normal(size=(30, 12)), 2, axis=0) + 5
    X += 1e-9 * rng.normal(size=X.shape)
    encoder = PretrainedEncoder(nn.Identity())
    detector = NSADetector(encoder, MahalanobisCosine(whiten=False)).fit(X)
    _, rows = detector.scorer_.stored_vectors()
    assert rows.dtype == np.float64
    new = X[::7] + 1e-3 * rng.normal(size=(9, 12))
    assert_same_scores(detector, path, new, new)


@pytest.mark.parametrize("engine", ["torch", "onnx"])
def test_pretrained_detector(engine, rng, path):
    """A network that resizes images, with its layers in torch or in onnxruntime."""
    train, new = rng.integers(0, 256, (2, 12, 20, 30, 3), dtype=np.uint8)
    encoder = PretrainedEncoder("resnet18", weights=None, image_size=32, engine=engine)
    detector = NSADetector(encoder, FeatureEnsemble([NEAREST])).fit(train)
    assert_same_scores(detector, path, new, as_input(new))


def test_table(table, path):
    """Columns that are standardised, and two blocks."""
    encoder = SelfSupervisedEncoder(max_epochs=1, layers=["columns", "dense_block_2"])
    detector = NSADetector(encoder, FeatureEnsemble([NEAREST]), random_state=0).fit(table)
    new = table[:9] * [1, 2, 1, -1, 1]
    assert_same_scores(detector, path, new, new)
    far = np.full((1, 5), 1e9)
    columns = detector.encoder_.transform_blocks(far)["columns"]
    assert_allclose(run(path, far)["columns"], columns)


@pytest.mark.parametrize("objective", ["simclr", "byol"])
def test_encoder_with_all_layers(objective, images, new, path):
    encoder = SelfSupervisedEncoder(objective, layers="all", max_epochs=1, max_map_width=64)
    encoder.fit(images).export_onnx(path)
    for n in (len(new), 1):
        outputs = run(path, as_input(new[:n]))
        expected = encoder.transform_blocks(new[:n])
        assert list(outputs) == list(expected)
        assert {"conv_block_1 (1x1)", "head_layer_2"} <= set(outputs)
        for name, features in expected.items():
            assert outputs[name].dtype == np.float32
            assert_allclose(outputs[name], features, atol=1e-4)


def test_encoder_of_a_frame(table, path):
    encoder = SelfSupervisedEncoder(max_epochs=1, layers="all")
    frame = pd.DataFrame(table).add_prefix("x")
    encoder.fit(frame).export_onnx(str(path))
    outputs = run(path, table)
    for name, features in encoder.transform_blocks(frame).items():
        assert_allclose(outputs[name], features, atol=1e-9)


def test_encoder_of_flat_images_and_a_submodule(images, new, path):
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Sequential(nn.ReLU(), nn.Conv2d(4, 6, 3)))
    options = {"layers": ["1.0", "1.1 (1x1)"], "image_shape": (12, 12), "image_size": 10}
    encoder = PretrainedEncoder(network, **options).fit(images.reshape(24, -1) / 255)
    encoder.export_onnx(path)
    outputs = run(path, as_input(new))
    expected = encoder.transform_blocks(new.reshape(7, -1) / 255)
    assert list(outputs) == ["1.0", "1.1 (1x1)"]
    for name, features in expected.items():
        assert_allclose(outputs[name], features, atol=1e-5)


@pytest.mark.parametrize(
    ("scorer", "message"),
    [
        (NeighborDistance(), "scorer NeighborDistance cannot .* pass scores=False"),
        (PatchCosine(), "scorer PatchCosine cannot .* pass scores=False"),
        (FeatureEnsemble([("kde", KernelDensity())]), "scorer KernelDensity cannot"),
        (MahalanobisCosine(index="faiss"), "index='faiss' .* or pass scores=False"),
    ],
    ids=str,
)
def test_scores_that_cannot_be_exported(scorer, message, images, new, path):
    if getattr(scorer, "index", "") == "faiss":
        pytest.importorskip("faiss")
    detector = NSADetector(FrozenEstimator(ENCODER.fit(images)), scorer).fit(images)
    with pytest.raises(ValueError, match=message):
        detector.export_onnx(path)
    assert not path.exists()
    detector.export_onnx(path, scores=False)
    outputs = run(path, as_input(new))
    assert list(outputs) == list(detector.encoder_.layer_slices_)


class FourierTransform(nn.Module):
    def forward(self, x):
        return torch.fft.fft2(x).abs().flatten(1)[:, :8]


class OfTwo(nn.Module):
    """Its output for a sample depends on the batch, which a file cannot know."""

    def forward(self, x):
        return x.flatten(1) * (1 if len(x) == 2 else 2)


def test_what_cannot_be_exported(images, table, path, monkeypatch):
    with pytest.raises(ValueError, match=r"FunctionTransformer cannot be .* pass a SelfSup"):
        NSADetector().fit(table).export_onnx(path)
    networks = {
        nn.Sequential(nn.Conv2d(1, 2, 1), FourierTransform()): "Sequential cannot be exported to",
        OfTwo(): "output 'embedding' is another one",
    }
    for network, message in networks.items():
        encoder = PretrainedEncoder(network, layers=["embedding"]).fit(images)
        with pytest.raises(ValueError, match=message):
            encoder.export_onnx(path)
    detector = NSADetector(ENCODER, MahalanobisCosine()).fit(images)
    monkeypatch.setattr(_onnx_export, "MAX_BYTES", 1000)
    for scores, advice in {True: "2 GiB; pass scores=False", False: "2 GiB$"}.items():
        with pytest.raises(ValueError, match=advice):
            detector.export_onnx(path, scores=scores)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"export_onnx needs .* 'skanomaly\[onnx\]'"):
        detector.export_onnx(path)
    assert not path.exists()
