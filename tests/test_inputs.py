"""What X may be: accepted layouts, and what is said of everything else."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_array_equal
from sklearn.base import BaseEstimator, clone

from skanomaly import NSADetector, SelfSupervisedEncoder
from skanomaly._validation import check_samples
from tests.registry import identify, make_detectors, make_estimators

GRAY = np.arange(2 * 8 * 9, dtype=np.uint8).reshape(2, 8, 9)
COLOR = np.arange(2 * 3 * 8 * 9).astype(np.uint8).reshape(2, 3, 8, 9)


class Blank(BaseEstimator):
    """Stands for an estimator that is being fitted."""


def fit_samples(X, **options):
    return check_samples(Blank(), X, reset=True, **options)


@pytest.mark.parametrize(
    "X, expected",
    [
        (GRAY, GRAY[:, None]),
        (GRAY[..., None], GRAY[:, None]),
        (GRAY[:, None], GRAY[:, None]),
        (COLOR, COLOR),
        (COLOR.transpose(0, 2, 3, 1), COLOR),
        (list(GRAY), GRAY[:, None]),
        (torch.tensor(GRAY), GRAY[:, None]),
        (torch.tensor(GRAY / 255.0, requires_grad=True), (GRAY[:, None] / 255).astype("float32")),
        (GRAY.astype(np.float64) / 255, (GRAY[:, None] / 255).astype("float32")),
        (GRAY.reshape(2, -1), GRAY.reshape(2, -1)),
        (torch.tensor(GRAY.reshape(2, -1)), GRAY.reshape(2, -1)),
    ],
)
def test_layouts(X, expected):
    samples = fit_samples(X)
    assert_array_equal(samples, expected)
    assert samples.dtype == expected.dtype


def test_flattened_images():
    flat = COLOR.transpose(0, 2, 3, 1).reshape(2, -1)
    assert_array_equal(fit_samples(flat, image_shape=(8, 9, 3)), COLOR)
    assert_array_equal(fit_samples(GRAY.reshape(2, -1), image_shape=(8, 9)), GRAY[:, None])


def assert_fit_refuses(estimator, X, error, message):
    """fit raises, and leaves the estimator as it was."""
    before = vars(estimator).copy()
    with pytest.raises(error, match=message):
        estimator.fit(X)
    assert vars(estimator) == before


def bad_float(value):
    X = GRAY / 255.0
    X[1, 2, 3] = value
    return X


BAD_IMAGES = [
    (bad_float(np.nan), ValueError, r"NaN or infinity: image 1 has a pixel nan"),
    (bad_float(np.inf), ValueError, r"NaN or infinity: image 1 has a pixel inf"),
    (bad_float(1.5), ValueError, r"image 1 is not \(X spans 0 to 1.5\); divide .* or pass uint8"),
    (bad_float(-0.1), ValueError, r"between 0 and 1, but image 1 is not"),
    (GRAY.astype(np.float32), ValueError, r"X spans 0 to 143\); divide by the maximum"),
    (GRAY.astype(np.int64), TypeError, r"images have dtype int64; pass uint8, or float"),
    (GRAY.astype(object), TypeError, r"images have dtype object; pass uint8"),
    (GRAY.astype(str), TypeError, r"images have dtype <U\d+; pass uint8"),
    (GRAY[:0], ValueError, r"Found 0 sample\(s\), a minimum of 2"),
    (GRAY[:1], ValueError, r"Found 1 sample\(s\), a minimum of 2"),
    (np.stack([GRAY[0]] * 3), ValueError, "all 3 images are equal, there is nothing to learn"),
    (
        np.full((3, 8, 8), 7, np.uint8) + np.arange(3, dtype=np.uint8)[:, None, None],
        ValueError,
        "each of the 3 images is constant",
    ),
    (COLOR[:, :2], ValueError, r"shape \(2, 2, 8, 9\) has no axis of \(1, 3\) channels"),
    (np.zeros((2, 3, 8, 3), np.uint8), ValueError, "could have its channels first or last"),
    (COLOR[None], ValueError, r"X has 5 dimensions, shape \(1, 2, 3, 8, 9\); pass a table"),
    ([GRAY[0], GRAY[1][:5]], ValueError, "the samples of X differ in shape; pass a table"),
    (GRAY[:, :7, :7], ValueError, "images of 7 x 7 pixels are too small"),
]


@pytest.mark.parametrize("X, error, message", BAD_IMAGES)
@pytest.mark.parametrize("estimator", [NSADetector(), SelfSupervisedEncoder()], ids=identify)
def test_bad_images(estimator, X, error, message):
    assert_fit_refuses(clone(estimator), X, error, message)


TABLE = np.random.default_rng(0).normal(size=(30, 4)) + 3


def bad_table(value):
    X = TABLE.copy()
    X[3, 2] = value
    return X


BAD_TABLES = [
    (bad_table(np.nan), ValueError, r"NaN or infinity: X\[3, 2\] is nan; drop .* or impute"),
    (bad_table(-np.inf), ValueError, r"NaN or infinity: X\[3, 2\] is -inf"),
    (TABLE[:0], ValueError, r"0 sample\(s\)"),
    (TABLE[:1], ValueError, r"1 sample\(s\)"),
    (TABLE[:, :0], ValueError, r"0 feature\(s\)"),
    (TABLE[0], ValueError, "Expected 2D array, got 1D array"),
    (np.array([["a", "b"], ["c", "d"]]), ValueError, "(string to float|arrays of .*strings)"),
    (np.array([[{}, {}], [{}, {}]], dtype=object), TypeError, "argument must be .* not 'dict'"),
]


@pytest.mark.parametrize("X, error, message", BAD_TABLES)
@pytest.mark.parametrize("estimator", make_estimators(), ids=identify)
def test_bad_tables(estimator, X, error, message):
    assert_fit_refuses(clone(estimator), X, error, message)


@pytest.mark.parametrize("estimator", make_estimators(), ids=identify)
def test_a_failed_refit_changes_nothing(estimator):
    estimator = clone(estimator).fit(pd.DataFrame(TABLE, columns=list("abcd")))
    assert_fit_refuses(estimator, np.full((20, 9), np.nan), ValueError, "NaN")


@pytest.mark.parametrize("contamination", [0, -0.1, 0.6, np.nan, "most", None])
@pytest.mark.parametrize("detector", make_detectors(), ids=identify)
def test_contamination_out_of_range(detector, contamination):
    with pytest.raises(ValueError, match=r"'contamination' parameter .* range \(0\.?0?, 0\.5\]"):
        clone(detector).set_params(contamination=contamination).fit(TABLE)


@pytest.fixture(scope="module")
def fitted():
    X = np.random.default_rng(0).integers(0, 256, (12, 8, 9), dtype=np.uint8)
    return NSADetector(SelfSupervisedEncoder(max_epochs=1), random_state=0).fit(X)


@pytest.mark.parametrize(
    "X, error, message",
    [
        (GRAY[:, :, :8], ValueError, "images of 8 x 8 pixels .* fitted on images of 8 x 9 pixels"),
        (COLOR, ValueError, r"with 3 channel\(s\), but NSADetector was fitted on .* 1 channel"),
        (GRAY.reshape(2, -1), ValueError, "X has 72 features, but NSADetector was fitted on image"),
        (TABLE, ValueError, "X has 4 features, but NSADetector is expecting 72"),
        (bad_float(np.nan), ValueError, "image 1 has a pixel nan"),
        (bad_float(3.0), ValueError, "between 0 and 1"),
        (GRAY[:0], ValueError, r"Found 0 sample\(s\)"),
        (GRAY[0], ValueError, "X has 9 features"),
    ],
)
@pytest.mark.parametrize("method", ["score_samples", "decision_function", "predict"])
def test_bad_queries(fitted, method, X, error, message):
    before = vars(fitted).copy()
    with pytest.raises(error, match=message):
        getattr(fitted, method)(X)
    assert vars(fitted) == before


def test_constant_images_are_scored(fitted):
    assert np.isfinite(fitted.score_samples(np.zeros((1, 8, 9), np.uint8))).all()


def halve(batch, generator):
    return batch[::2]


class Tuple(torch.nn.Module):
    def forward(self, x):
        return x, x


@pytest.mark.parametrize(
    "parameters, X, message",
    [
        (
            {"backbone": "resnet19"},
            GRAY,
            "'resnet19' is none of torchvision's classifiers; pass 'resnet18', an",
        ),
        ({"backbone": "mlp"}, GRAY, "'mlp' does not take images; pass 'compact' or 'resnet18'"),
        ({"backbone": "compact"}, TABLE, "'compact' does not take tables; pass 'mlp', or"),
        (
            {"backbone": torch.nn.Linear(3, 2)},
            TABLE,
            "backbone Linear does not take a batch of .*4",
        ),
        (
            {"backbone": torch.nn.Linear(3, 2)},
            GRAY,
            r"Linear does not take .* 1 channel\(s\) of 8 x 9 pixels: ",
        ),
        ({"backbone": torch.nn.Flatten(0)}, GRAY, r"Flatten returns \(144,\) for a batch of 2"),
        ({"backbone": Tuple()}, GRAY, "Tuple returns tuple for a batch of 2"),
        ({"layers": ["conv_block_9"]}, GRAY, r"\['conv_block_9'\] is not known; .*'conv_block_1'"),
        ({"layers": []}, GRAY, r"layers=\[\] is not known; pass some of"),
        ({"objective": "simsim"}, GRAY, "'objective' parameter .*'simclr'"),
        ({"device": "abacus"}, GRAY, "device='abacus' cannot be used here; pass 'auto', 'cpu'"),
        ({"image_shape": (8, 8)}, TABLE, r"image_shape=\(8, 8\) has 64 values, .* 4 features"),
        ({"image_shape": (4,)}, TABLE, r"image_shape=\(4,\); pass \(height, width\) or"),
        ({"image_shape": (-2, -2)}, TABLE, r"image_shape=\(-2, -2\); pass"),
        ({"image_shape": (2, 2)}, TABLE, "float images must be between 0 and 1"),
        ({"objective": "simclr-shifted"}, GRAY, "by 90 degrees, but X is images of 8 x 9 pixels"),
        ({"objective": "simclr-shifted"}, TABLE, "by 90 degrees, but X is a table; pass square"),
        ({"augment": "colour"}, GRAY, "'augment' parameter .*'color'"),
        ({"augment": "color"}, TABLE, "augment='color' is for images; pass None or a callable"),
        ({}, TABLE * [1, 1e160, 1, 1], "column 1 of X has values up to .*e.160, whose squares ov"),
        ({}, TABLE * [1, 1, 1e-300, 1], "column 2 of X has values up to .*, whose squares underfl"),
        ({"augment": halve}, GRAY, "augment returned 2 views of 4 samples; return one of each"),
        ({"learning_rate": 0}, GRAY, "'learning_rate' parameter"),
        ({"learning_rate": np.inf}, GRAY, "'learning_rate' parameter"),
        ({"learning_rate": np.nan}, GRAY, "'learning_rate' parameter"),
        ({"max_time": 0}, GRAY, "'max_time' parameter"),
        ({"max_epochs": None}, GRAY, "max_epochs and max_time are both None; pass one of them"),
        ({"warmup": 1.0}, GRAY, "'warmup' parameter"),
        ({"optimizer": "lars"}, GRAY, "'optimizer' parameter .*'adamw'"),
        ({"precision": "float16"}, GRAY, "'precision' parameter .*'bfloat16'"),
        ({"accumulation_steps": 0}, GRAY, "'accumulation_steps' parameter"),
        ({"callbacks": len}, GRAY, "'callbacks' parameter"),
        ({}, GRAY[:, :7, :7], "images of 7 x 7 pixels are too small .*; enlarge them to 8 pixels"),
        ({}, GRAY[:1], r"Found 1 sample\(s\), a minimum of 2"),
        ({"batch_size": 1}, GRAY, "'batch_size' parameter"),
    ],
)
def test_bad_encoder_parameters(parameters, X, message):
    with pytest.raises(ValueError, match=message):
        SelfSupervisedEncoder(**parameters).fit(X)


def test_checks_of_a_memmap_read_it_in_blocks(tmp_path, rng):
    """Peak memory stays far below the size of the file; float32 in [0, 1] is not copied."""
    shape = (4000, 32, 32)
    X = np.lib.format.open_memmap(tmp_path / "X.npy", "w+", np.float32, shape)
    X[:] = rng.random((1, 32, 32), dtype=np.float32)
    X[-1] = 0.5
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    tracemalloc.start()
    checked = check_samples(BaseEstimator(), mapped, reset=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.shares_memory(checked, mapped) and peak < X.nbytes / 2
