"""What X may be: accepted layouts, and what is said of everything else."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_array_equal
from sklearn import config_context
from sklearn.base import BaseEstimator, clone

from skanomaly import MahalanobisCosine, NSADetector, PretrainedEncoder, SelfSupervisedEncoder
from skanomaly._validation import check_samples
from tests.registry import identify, make_detectors, make_estimators

GRAY = np.arange(2 * 8 * 9, dtype=np.uint8).reshape(2, 8, 9)
COLOR = np.arange(2 * 3 * 8 * 9).astype(np.uint8).reshape(2, 3, 8, 9)


def as_objects(images):
    """A 1-D array of arrays."""
    objects = np.empty(len(images), dtype=object)
    objects[:] = list(images)
    return objects


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
        (as_objects(GRAY), GRAY[:, None]),
        (pd.Series(list(COLOR)), COLOR),
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
    ([GRAY[0], GRAY[1][:5]], ValueError, r"2 sizes: 1 of 8 x 9 \(image 0\), 1 of 5 x 9"),
    (COLOR[0].transpose(1, 2, 0), ValueError, r"the shape \(8, 9, 3\) of a single image"),
    (np.zeros((2, 8, 9, 4), np.uint8), ValueError, r'shape \(2, 8, 9, 4\) .*\.convert\("RGB"\)'),
    (np.array(GRAY.tolist(), dtype=object), TypeError, r"object; .* such as X.astype\(np.uint8\)"),
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


@pytest.mark.parametrize(
    "detector, contamination",
    [
        *((detector, 0.6) for detector in make_detectors()),
        *((MahalanobisCosine(), value) for value in (0, -0.1, np.nan, "most", None)),
    ],
)
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
        (
            GRAY[:, :, :8],
            ValueError,
            r"X of shape \(2, 8, 8\) has images of 8 x 8 pixels .* fitted on .* of 8 x 9 pixels",
        ),
        (COLOR, ValueError, r"with 3 channel\(s\), but NSADetector was fitted on .* 1 channel"),
        (GRAY.reshape(2, -1), ValueError, "X has 72 features, but NSADetector was fitted on image"),
        (TABLE, ValueError, "X has 4 features, but NSADetector is expecting 72"),
        (bad_float(np.nan), ValueError, "image 1 has a pixel nan"),
        (bad_float(3.0), ValueError, "between 0 and 1"),
        (GRAY[:0], ValueError, r"Found 0 sample\(s\)"),
        (GRAY[0], ValueError, r"the shape \(8, 9\) of a single image; pass X\[None\]"),
        (GRAY[0, :7], ValueError, r"the shape \(7, 9\) of a single image; pass X\[None\]"),
        (GRAY[0][..., None], ValueError, r"shape \(8, 9, 1\) of a single image; pass X\[None\]"),
        (COLOR[0].transpose(1, 2, 0), ValueError, r"\(8, 9, 3\) of a single image; pass X\[None"),
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
        ({"image_shape": (1, 2, 2)}, TABLE, "float images must be between 0 and 1"),
        ({"image_shape": (2, 1, 2)}, TABLE, r"\(2, 1, 2\) has no axis of \(1, 3\) channels"),
        ({"image_shape": (4,)}, TABLE, r"image_shape=\(4,\); pass \(height, width\) or"),
        ({"image_shape": (-2, -2)}, TABLE, r"image_shape=\(-2, -2\); pass"),
        ({"image_shape": (2, 2)}, TABLE, "float images must be between 0 and 1"),
        ({"objective": "simclr-shifted"}, GRAY, "by 90 degrees, but X is images of 8 x 9 pixels"),
        ({"objective": "simclr-shifted"}, TABLE, "by 90 degrees, but X is a table; pass square"),
        ({"tile_size": 7}, GRAY, "'tile_size' parameter"),
        ({"tile_size": 9}, GRAY, "tile_size=9, but the images have 8 x 9 pixels; pass at most 8"),
        ({"tile_size": 8, "layers": ["block1"]}, GRAY, r"\['block1'\] is not known; .* \(1x1\)'"),
        ({"tile_size": 8}, TABLE, "tile_size=8 is for images, but X is a table"),
        (
            {"tile_size": 8, "backbone": PretrainedEncoder()},
            GRAY,
            "tile_size=8, but the backbone resizes images; pass a PretrainedEncoder of a module",
        ),
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


@pytest.mark.parametrize("library", [pd, pytest.importorskip("polars")])
def test_columns_of_frames_are_named(library):
    frame = library.DataFrame(dict(zip("abcd", bad_table(np.nan).T, strict=True)))
    with pytest.raises(ValueError, match="infinity: row 3 of column 'c' is nan; drop"):
        fit_samples(frame)


DIM = np.random.default_rng(0).integers(0, 60, (6, 8, 9), dtype=np.uint8)


@pytest.mark.parametrize("scale", [1, 1 / 255])
def test_images_divided_twice_are_noticed(scale):
    estimator = Blank()
    check_samples(estimator, DIM if scale == 1 else DIM * scale, reset=True)
    with pytest.warns(UserWarning, match=r"but that of the training images was 0\.23; were they"):
        check_samples(estimator, DIM / 255 / 255, reset=False)
    with pytest.warns(UserWarning, match="the maximum of all images is 0.00091, almost black"):
        fit_samples(DIM / 255 / 255)


def test_divided_images_as_uint8_are_noticed():
    estimator = Blank()
    check_samples(estimator, 4 * DIM, reset=True)
    with pytest.warns(UserWarning, match="is 0.0039 .* was 0.93; were they divided by 255 once to"):
        check_samples(estimator, (DIM / DIM.max()).astype(np.uint8), reset=False)


def test_dark_images_are_no_mistake():
    estimator = Blank()
    check_samples(estimator, DIM, reset=True)
    dark = DIM // 16
    for X in (dark, dark / 255, dark[:1], np.concatenate([DIM // 100, DIM]), np.zeros_like(DIM)):
        check_samples(estimator, X, reset=False)
    fit_samples(dark)
    fit_samples(dark / 255)


def test_values_are_not_read_when_they_are_assumed_finite():
    with config_context(assume_finite=True):
        assert np.isnan(fit_samples(bad_float(np.nan))).any()
        assert np.isnan(fit_samples(bad_table(np.nan))).any()
        assert fit_samples(GRAY / 255).dtype == np.float32
        with pytest.raises(TypeError, match="images have dtype int64"):
            fit_samples(GRAY.astype(np.int64))
        with pytest.raises(ValueError, match="has no axis"):
            fit_samples(COLOR[:, :2])


class Counting(np.ndarray):
    """An array that is only read by slices, and counts their samples."""

    n_read = 0

    def __getitem__(self, index):
        found = super().__getitem__(index).view(np.ndarray)
        Counting.n_read += len(found)
        return found

    def __array_ufunc__(self, *args, **options):
        raise AssertionError("read as a whole")

    def min(self, *args, **options):
        raise AssertionError("read as a whole")

    max = astype = min


def test_images_are_read_twice_before_the_first_epoch(rng, monkeypatch):
    """Once for the checks, once for the mean and spread of channels."""
    X = rng.random((300, 1, 8, 8), dtype=np.float32).view(Counting)
    monkeypatch.setattr(Counting, "n_read", 0)
    monkeypatch.setattr("skanomaly._validation.np.asarray", np.asanyarray)
    n_read = []

    def augment(batch, generator):
        n_read.append(Counting.n_read)
        return batch

    SelfSupervisedEncoder(augment=augment, max_epochs=1, batch_size=4).fit(X)
    few = 30  # looked at for the widths of layers, and batches on their way
    assert 2 * 300 <= n_read[0] <= 2 * 300 + few


def test_single_images_of_colours():
    estimator = Blank()
    check_samples(estimator, COLOR, reset=True)
    last = COLOR[0].transpose(1, 2, 0)
    for X in (COLOR[0], last, last[..., :1].repeat(4, axis=2), GRAY[0]):
        with pytest.raises(ValueError, match=r"of a single image; pass X\[None\]"):
            check_samples(estimator, X, reset=False)
    for X in (COLOR[:1], last[None]):
        assert_array_equal(check_samples(estimator, X, reset=False), COLOR[:1])
    check_samples(estimator, GRAY[:, None, :4, :4], reset=True)
    assert len(check_samples(estimator, GRAY[:, :4, :4], reset=False)) == 2
