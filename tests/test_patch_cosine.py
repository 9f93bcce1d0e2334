"""Local scores: angles position by position."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score

from skanomaly import MahalanobisCosine, NSADetector, PatchCosine, SelfSupervisedEncoder
from skanomaly.scorers import _patch_cosine
from skanomaly.scorers._coreset import farthest_points


@pytest.fixture
def maps(rng):
    """30 maps of 3 channels and 5 x 4 positions."""
    return rng.normal(size=(30, 3, 5, 4)) + [[[2]], [[1]], [[0]]]


def reference_angles(queries, maps, size=1, own=None, max_shift=None):
    """Angles (n, h, w) in float64 by brute force."""

    def averaged(X):
        pad = size // 2
        padded = np.pad(X, ((0, 0), (0, 0), (pad, pad), (pad, pad)), mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), (2, 3))
        averages = windows.mean(axis=(4, 5)).transpose(0, 2, 3, 1)
        return averages / np.linalg.norm(averages, axis=-1, keepdims=True)

    u, v = averaged(queries), averaged(maps)
    cosines = np.einsum("nijc,mklc->nijmkl", u, v)
    if own is not None:
        cosines[np.arange(len(u)), :, :, own] = -1
    if max_shift is not None:
        rows, columns = (
            np.abs(np.subtract.outer(np.arange(s), np.arange(s))) for s in u.shape[1:3]
        )
        far = np.maximum(rows[:, None, :, None], columns[None, :, None, :]) > max_shift
        cosines = np.where(far[None, :, :, None], -1, cosines)
    return np.arccos(np.clip(cosines.max(axis=(3, 4, 5)), -1, 1))


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("max_shift", [None, 0, 1])
def test_angles_are_those_to_the_nearest_patches(rng, maps, size, max_shift):
    options = {"neighborhood": size, "max_shift": max_shift, "max_patches": None}
    detector = PatchCosine(**options).fit(maps)
    queries = rng.normal(size=(4, 3, 5, 4)) + 1
    expected = reference_angles(queries, maps, size, None, max_shift)
    assert_allclose(detector.heatmaps(queries), expected, atol=1e-5)
    assert_allclose(detector.score_samples(queries), -expected.mean(axis=(1, 2)), atol=1e-5)
    # training images by the patches of others, also when some are passed again
    own = reference_angles(maps, maps, size, np.arange(30), max_shift)
    assert_allclose(detector.training_scores_, -own.mean(axis=(1, 2)), atol=1e-5)
    assert_allclose(detector.heatmaps(maps[5:7]), own[5:7], atol=1e-5)
    assert_array_equal(detector.score_samples(maps[5:7]), detector.training_scores_[5:7])


@pytest.mark.parametrize("pooling, n_largest", [("max", 1), (0.25, 5), (0.001, 1)])
def test_pooling(rng, maps, pooling, n_largest):
    detector = PatchCosine(pooling=pooling).fit(maps)
    queries = rng.normal(size=(4, 3, 5, 4))
    largest = np.sort(detector.heatmaps(queries).reshape(4, -1), axis=1)[:, -n_largest:]
    assert_allclose(detector.score_samples(queries), -largest.mean(axis=1))


@pytest.mark.parametrize("whiten", [False, True])
def test_rows_of_a_table_are_maps_of_one_position(rng, table, whiten):
    local = PatchCosine(whiten=whiten).fit(table)
    whole = MahalanobisCosine(whiten=whiten).fit(table)
    queries = rng.normal(size=(9, 5))
    assert_allclose(local.score_samples(queries), whole.score_samples(queries), atol=1e-5)
    assert local.heatmaps(queries).shape == (9, 1, 1)


@pytest.mark.parametrize("sampling", ["random", "coreset"])
def test_the_bank_is_bounded_and_spread_over_the_images(maps, sampling):
    detector = PatchCosine(max_patches=45, sampling=sampling).fit(maps)
    assert detector.n_patches_ == 45
    counts = np.bincount(detector._image, minlength=30)
    assert counts.max() <= (2 if sampling == "random" else 20)
    again = PatchCosine(max_patches=45, sampling=sampling).fit(maps)
    assert_array_equal(detector.training_scores_, again.training_scores_)
    assert PatchCosine(max_patches=10**6).fit(maps).n_patches_ == 600


def test_a_coreset_covers_more_than_random_rows(rng):
    rows = np.concatenate([rng.normal(size=(500, 6)) + 5, rng.normal(size=(9, 6)) - 5])
    kept = farthest_points(rows, 20, np.random.RandomState(0))
    assert len(set(kept)) == 20 and (kept >= 500).sum() >= 3
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def radius(chosen):
        return np.arccos(np.clip(units @ units[chosen].T, -1, 1)).min(axis=1).max()

    assert radius(kept) < radius(np.arange(0, 509, 26)[:20])


def test_batches_give_what_one_array_gives(maps, monkeypatch):
    whole = PatchCosine(max_patches=100).fit(maps)
    monkeypatch.setattr(_patch_cosine, "BLOCK_BYTES", 3 * 8 * maps[0].size)
    parts = PatchCosine(max_patches=100).fit(maps)
    assert_allclose(parts.training_scores_, whole.training_scores_, atol=1e-6)


@pytest.mark.parametrize(
    "options, change, message",
    [
        ({}, lambda X: X[0], "(3, 5, 4).*pass maps"),
        ({}, lambda X: X.astype(int), "dtype int64; pass maps of floats"),
        ({}, lambda X: X[:1], "Found 1 sample"),
        ({}, lambda X: np.where(X > 4, np.nan, X), "contains NaN or infinity"),
        ({"neighborhood": 2}, lambda X: X, "neighborhood=2; pass an odd number"),
        ({"max_patches": 1}, lambda X: X, "'max_patches' parameter"),
        ({"max_patches": 3, "max_shift": 0}, lambda X: X, "max_shift=0 leaves position"),
        ({"pooling": 1.0}, lambda X: X, "'pooling' parameter"),
    ],
)
def test_bad_input_is_refused_by_name(maps, options, change, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(").replace(")", r"\)")):
        PatchCosine(**options).fit(change(maps))


def test_maps_of_another_shape_are_refused(maps):
    with pytest.raises(ValueError, match=r"maps of shape \(3, 4, 4\).*fitted on \(3, 5, 4\)"):
        PatchCosine().fit(maps).score_samples(maps[:, :, :4])


def test_a_bank_that_does_not_fit_is_refused():
    with pytest.raises(MemoryError, match=r"max_patches=1000000000000000 needs .* GiB"):
        PatchCosine(max_patches=10**15)._allocate(10**15, 512)


@pytest.fixture(scope="module")
def dotted():
    """40 gray images of 24 x 24 pixels with a grid of bright dots."""
    rng = np.random.default_rng(0)
    X = rng.integers(0, 60, (40, 24, 24), dtype=np.uint8)
    X[:, ::4, ::4] += 150
    return X


@pytest.fixture(scope="module")
def detector(dotted):
    encoder = SelfSupervisedEncoder(max_epochs=1)
    return NSADetector(encoder, PatchCosine(), random_state=0).fit(dotted)


def test_finds_a_defect_and_its_place(detector):
    rng = np.random.default_rng(1)
    normal = rng.integers(0, 60, (20, 24, 24), dtype=np.uint8)
    normal[:, ::4, ::4] += 150
    defective, is_defect = normal.copy(), np.zeros(normal.shape, bool)
    for image, place, (row, column) in zip(
        defective, is_defect, rng.integers(0, 16, (20, 2)), strict=True
    ):
        image[row : row + 8, column : column + 8] = 200
        place[row : row + 8, column : column + 8] = True
    scores = detector.score_samples(np.concatenate([normal, defective]))
    assert roc_auc_score(np.arange(40) < 20, scores) > 0.9
    heatmaps = detector.explain(defective).heatmaps
    assert heatmaps.shape == defective.shape
    assert roc_auc_score(is_defect.ravel(), heatmaps.ravel()) > 0.8


def test_training_images_are_scored_by_others(dotted, detector):
    assert_array_equal(detector.score_samples(dotted[3:5]), detector.training_scores_[3:5])
    explanation = detector.explain(dotted[3:5])
    assert explanation.members == ["PatchCosine"]
    assert_allclose(explanation.contributions[:, 0], -detector.training_scores_[3:5])
    assert (explanation.heatmaps.min(axis=(1, 2)) > 0).all()
    assert ((detector.predict(dotted) == -1).sum()) == 2


def test_needs_maps(table):
    with pytest.raises(ValueError, match="the encoder PCA has no transform_map"):
        NSADetector(PCA(2), PatchCosine()).fit(table)


def test_layer(dotted, detector):
    known = detector.encoder_.network_.backbone.blocks
    sizes = {name: detector.encoder_.transform_map(dotted[:1], name).shape[2] for name in known}
    auto = detector.encoder_.transform_map(dotted[:1]).shape[2]
    assert auto == min(size for size in sizes.values() if size >= 8)
    unknown = NSADetector(detector.encoder, PatchCosine("conv_block_9"))
    with pytest.raises(ValueError, match="layer='conv_block_9' is not a block with positions"):
        unknown.fit(dotted)
