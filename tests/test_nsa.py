"""NSADetector: composition, leave-one-out scores, searches, caching, persistence."""

import warnings
from concurrent.futures import ProcessPoolExecutor

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skanomaly import (
    FeatureEnsemble,
    MahalanobisCosine,
    NeighborDistance,
    NSADetector,
    OneClassKFold,
    SelfSupervisedEncoder,
)
from skanomaly.datasets import load_fashion_mnist_sample
from tests.registry import identify, make_detectors

ENCODER = SelfSupervisedEncoder(max_epochs=2)


@pytest.fixture
def detector(images):
    return NSADetector(ENCODER, random_state=0).fit(images)


def test_is_the_composition_of_its_parts(images, detector):
    encoder, scorer = detector.encoder_, detector.scorer_
    assert isinstance(scorer, FeatureEnsemble)
    assert scorer.groups_ == encoder.layer_slices_
    new = images[::-1, ::-1]
    expected = scorer.score_samples(encoder.transform(new))
    assert_array_equal(detector.score_samples(new), expected)
    by_hand = FeatureEnsemble("all", groups=encoder.layer_slices_).fit(encoder.transform(images))
    assert_array_equal(detector.training_scores_, by_hand.training_scores_)


def test_defaults(images, table):
    detector = NSADetector(verbose=1)
    assert detector._make_encoder(images[:, None]).get_params() == (
        SelfSupervisedEncoder(verbose=1).get_params()
    )
    assert NSADetector(ENCODER).fit(images).scorer_.scorers == "all"
    last = clone(ENCODER).set_params(layers="last")
    assert NSADetector(last).fit(images).scorer_.scorers == "ens"
    flat = SelfSupervisedEncoder(max_epochs=0, image_shape=(12, 12))
    assert NSADetector(flat).fit(images.reshape(24, -1)).scorer_.scorers == "all"


def test_few_photographs_without_a_pretrained_network(rng):
    photographs = rng.integers(0, 256, (20, 3, 8, 8), dtype=np.uint8)
    with pytest.warns(UserWarning, match="20 colour images are few .*PretrainedEncoder") as found:
        NSADetector(random_state=0).fit(photographs)
    assert found[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        NSADetector(ENCODER).fit(photographs)


def test_tables_are_scored_by_distances(table):
    for X, n_neighbors in ((table, 5), (table[:4], 3)):
        expected = NeighborDistance(n_neighbors).fit(X)
        detector = NSADetector().fit(X)
        assert detector.scorer_.get_params() == expected.get_params()
        assert_allclose(detector.training_scores_, expected.training_scores_)
        assert_allclose(detector.score_samples(X + 0.1), expected.score_samples(X + 0.1))
    assert isinstance(NSADetector(PCA(2)).fit(table).scorer_, NeighborDistance)
    trained = NSADetector(ENCODER, random_state=0).fit(table)
    assert list(trained.scorer_.groups_) == [
        "columns",
        "dense_block_1",
        "dense_block_2",
        "dense_block_3",
    ]
    assert isinstance(trained.scorer_.members_[0][2], NeighborDistance)


@pytest.mark.parametrize("scorer", [None, MahalanobisCosine(), FeatureEnsemble()])
def test_frozen_parts(images, scorer):
    """A trained encoder with another scorer, and a fitted scorer."""
    encoder = clone(ENCODER).set_params(random_state=0).fit(images)
    detector = NSADetector(FrozenEstimator(encoder), scorer).fit(images[:20])
    expected = NSADetector(clone(encoder), scorer).fit(images)
    assert detector.encoder_.estimator is encoder
    frozen = NSADetector(FrozenEstimator(encoder), FrozenEstimator(expected.scorer_))
    scores = frozen.fit(images[:20]).score_samples(images[20:][:, ::-1])
    assert_allclose(scores, expected.score_samples(images[20:][:, ::-1]), atol=1e-5)
    assert len(frozen.training_scores_) == 20


@pytest.mark.parametrize(
    "scorer",
    [
        FeatureEnsemble("all"),
        FeatureEnsemble(groups={"a": slice(0, 300), "b": [400, 500]}),
        FeatureEnsemble(trim=0.1),
        MahalanobisCosine(),
    ],
)
def test_the_same_image_has_one_score(images, scorer):
    """As uint8, divided by 255 as float32 or float64, alone or in a batch, explained or scored."""
    detector = NSADetector(ENCODER, scorer, random_state=0).fit(images)
    scores = detector.score_samples(images)
    for X in (images / 255, (images / 255).astype(np.float32)):
        assert_array_equal(detector.score_samples(X), scores)
        assert_array_equal(detector.score_samples(X[3:4]), scores[3:4])
        explained = detector.explain(X[3:4]).contributions.sum(axis=1)
        assert_allclose(explained, -scores[3:4], rtol=1e-6)
    assert_allclose(detector.explain(images).contributions.sum(axis=1), -scores, rtol=1e-6)


def test_parameters_of_the_default_parts(images):
    with pytest.raises(ValueError, match=r"pass encoder=SelfSupervisedEncoder\(\) to set"):
        NSADetector().set_params(encoder__max_epochs=5)
    with pytest.raises(ValueError, match=r"scorer__trim cannot be set while scorer is None"):
        NSADetector().set_params(scorer__trim=0.1)
    detector = NSADetector().set_params(encoder=SelfSupervisedEncoder(), encoder__max_epochs=5)
    assert detector.encoder.max_epochs == 5


def test_training_samples_have_leave_one_out_scores_in_any_batch(images, detector):
    scores = detector.score_samples(images)
    assert_array_equal(scores, detector.training_scores_)
    assert_array_equal([detector.score_samples(i[None])[0] for i in images], scores)
    doubled = np.concatenate([images[5:], 255 - images[:5]])
    assert_array_equal(detector.score_samples(doubled)[: len(images) - 5], scores[5:])


def test_threshold_and_labels(images):
    detector = NSADetector(ENCODER, contamination=0.25, random_state=0)
    labels = detector.fit_predict(images)
    assert (labels == -1).sum() == 6
    assert_array_equal(labels, detector.predict(images))
    assert_array_equal(
        detector.decision_function(images), detector.score_samples(images) - detector.offset_
    )


def test_any_transformer_and_any_detector(table):
    detector = NSADetector(PCA(2), IsolationForest(), random_state=0).fit(table)
    expected = IsolationForest(random_state=detector.scorer_.random_state)
    expected.fit(detector.encoder_.transform(table))
    queries = table + 0.01
    assert_allclose(
        detector.score_samples(queries),
        expected.score_samples(detector.encoder_.transform(queries)),
    )
    # training samples: by forests that have not seen them
    held_out = np.empty(len(table))
    for train, test in KFold(5, shuffle=True, random_state=0).split(table):
        features = detector.encoder_.transform(table)
        held_out[test] = expected.fit(features[train]).score_samples(features[test])
    assert_allclose(detector.training_scores_, held_out, atol=0.05)
    assert np.corrcoef(detector.training_scores_, held_out)[0, 1] > 0.98
    NSADetector(StandardScaler(), LocalOutlierFactor(novelty=True)).fit(table).predict(table)


def test_seed_reaches_the_parts_that_have_none(images):
    scores = [NSADetector(ENCODER, random_state=s).fit(images).training_scores_ for s in (0, 0, 1)]
    assert_array_equal(scores[0], scores[1])
    assert not np.array_equal(scores[0], scores[2])
    own = clone(ENCODER).set_params(random_state=7)
    scores = [NSADetector(own, random_state=s).fit(images).training_scores_ for s in (0, 1)]
    assert_array_equal(*scores)
    assert ENCODER.random_state is None


def test_parameters_reach_into_the_parts():
    detector = NSADetector(SelfSupervisedEncoder(), MahalanobisCosine())
    detector.set_params(encoder__objective="simsiam", scorer__n_neighbors=3)
    copy = clone(detector)
    assert copy.encoder.objective == "simsiam" and copy.scorer.n_neighbors == 3
    assert copy.encoder is not detector.encoder


def test_works_as_a_pipeline_of_frames(table):
    X = pd.DataFrame(table, columns=list("abcde"))
    pipeline = make_pipeline(
        SelfSupervisedEncoder(max_epochs=2, random_state=0).set_output(transform="pandas"),
        FeatureEnsemble(),
    ).fit(X)
    assert list(pipeline[-1].groups_) == list(pipeline[0].layer_slices_)
    encoder = SelfSupervisedEncoder(max_epochs=2, random_state=0)
    detector = NSADetector(encoder, FeatureEnsemble()).fit(X)
    assert_allclose(pipeline.score_samples(X), detector.score_samples(X))
    assert detector.feature_names_in_.tolist() == list("abcde")


def test_polars_frames(table):
    X = pl.DataFrame(table, schema=list("abcde"))
    detector = NSADetector(ENCODER, random_state=0).fit(X)
    if hasattr(StandardScaler().fit(X), "feature_names_in_"):  # not with every pair of versions
        assert detector.feature_names_in_.tolist() == list("abcde")
    assert_allclose(
        detector.score_samples(X),
        NSADetector(ENCODER, random_state=0).fit(table).score_samples(table),
    )


class CountingEncoder(SelfSupervisedEncoder):
    """Writes a line to a file for every training."""

    log = None

    def fit(self, X, y=None):
        with open(type(self).log, "a") as stream:
            stream.write("trained\n")
        return super().fit(X, y)


def test_grid_search_over_the_scorer_trains_each_fold_once(rng, table, tmp_path):
    CountingEncoder.log = str(tmp_path / "log")
    X = np.concatenate([table, rng.normal(size=(15, 5)) * 5])
    y = np.repeat([1, -1], [60, 15])
    search = GridSearchCV(
        NSADetector(CountingEncoder(max_epochs=1), memory=str(tmp_path / "cache"), random_state=0),
        {
            "scorer": [MahalanobisCosine()],
            "scorer__n_neighbors": [1, 2, 4],
            "scorer__whiten": [True, False],
        },
        cv=OneClassKFold(3),
        scoring="roc_auc",
        refit=False,
    ).fit(X, y)
    assert (tmp_path / "log").read_text().count("trained") == 3  # 18 fits
    assert search.best_score_ > 0.8
    search.set_params(param_grid={"encoder__normalize": ["both", None]}).fit(X, y)
    assert (tmp_path / "log").read_text().count("trained") == 3 + 3  # "both" is in the cache


def test_pipeline_with_memory(table, tmp_path):
    pipeline = make_pipeline(
        SelfSupervisedEncoder(max_epochs=1, layers="last", random_state=0),
        MahalanobisCosine(),
        memory=str(tmp_path),
    )
    scores = pipeline.fit(table).score_samples(table)
    assert_array_equal(clone(pipeline).fit(table).score_samples(table), scores)


def load_and_score(files, X):
    return [joblib.load(file).score_samples(X) for file in files]


def test_joblib_in_a_new_process(processes, table, tmp_path):
    """All of them in one, which loads each from a file of its own."""
    expected, files = {}, []
    for detector in make_detectors():
        fitted = clone(detector).fit(table)
        expected[f"{len(files)} {identify(detector)}"] = fitted.score_samples(table + 0.01)
        files.append(tmp_path / f"{len(files)}.joblib")
        joblib.dump(fitted, files[-1])
    with ProcessPoolExecutor(1, processes) as pool:
        scores = pool.submit(load_and_score, files, table + 0.01).result()
    for (name, wanted), found in zip(expected.items(), scores, strict=True):
        assert_array_equal(found, wanted, err_msg=name)


@pytest.mark.parametrize("detector", make_detectors(), ids=identify)
def test_read_only_memmap(detector, table, tmp_path):
    np.save(tmp_path / "X.npy", table)
    X = np.load(tmp_path / "X.npy", mmap_mode="r")
    detector = clone(detector)
    if "random_state" in detector.get_params():
        detector.set_params(random_state=0)
    assert_array_equal(detector.fit(X).predict(X), clone(detector).fit(table).predict(table))


def test_read_only_memmap_of_images(images, tmp_path):
    np.save(tmp_path / "X.npy", images)
    X = np.load(tmp_path / "X.npy", mmap_mode="r")
    scores = NSADetector(ENCODER, random_state=0).fit(X).score_samples(X)
    assert_array_equal(scores, NSADetector(ENCODER, random_state=0).fit(images).training_scores_)


def test_training_beats_the_untrained_encoder():
    """200 T-shirts, 500 clothes of all kinds from the bundled sample, one seed."""
    data = load_fashion_mnist_sample("t-shirt")
    auc = {}
    for epochs in (0, 12):
        encoder = SelfSupervisedEncoder(layers="last", max_epochs=epochs)
        detector = NSADetector(encoder, MahalanobisCosine(), random_state=0)
        scores = detector.fit(data.X_train[:200]).score_samples(data.X_test[::5])
        auc[epochs] = roc_auc_score(data.y_test[::5], scores)
    assert auc[12] > auc[0] + 0.02, auc
    assert auc[12] > 0.8


def test_explain_images(images, detector):
    queries = np.concatenate([255 - images[:3], images[:2]])
    explanation = detector.explain(queries)
    assert_allclose(explanation.contributions.sum(axis=1), -detector.score_samples(queries))
    assert explanation.contributions.shape == (5, len(explanation.members))
    scores = ["k_cos", "k_cos_mah", "c_cos", "c_cos_mah"]
    assert explanation.members[:4] == [f"conv_block_1/{score}" for score in scores]
    for angles, indices in explanation.neighbors.values():
        assert angles.shape == indices.shape == (5, 1)
        assert (indices[3:, 0] != [0, 1]).all()  # training images are not their own neighbours
        assert (angles[3:] > 1e-4).all()


def test_heatmap_points_at_the_defect(images, detector):
    rng = np.random.default_rng(1)
    defective = images[:6].copy()
    for i, (row, column) in enumerate(rng.integers(0, 8, (6, 2))):
        defective[i, row : row + 4, column : column + 4] = rng.integers(0, 256, (4, 4))
    heatmaps = detector.explain(defective).heatmaps
    assert heatmaps.shape == (6, 12, 12)
    changed = defective != images[:6]
    assert roc_auc_score(changed.ravel(), heatmaps.ravel()) > 0.7
    # a training image is compared with the others
    own = detector.explain(images[:2]).heatmaps
    assert (own.reshape(2, -1).max(axis=1) > 0.01).all()
    coarse = detector.explain(images[:2], layer="conv_block_2").heatmaps
    assert coarse.shape == own.shape and not np.allclose(coarse, own)
    with pytest.raises(ValueError, match="'head_layer_1' is not a block with positions; pass"):
        detector.explain(images[:2], layer="head_layer_1")


def test_explain_with_other_parts(images, table):
    nearest = NSADetector(ENCODER, MahalanobisCosine(2), random_state=0).fit(images)
    explanation = nearest.explain(images[:4])
    assert_allclose(explanation.contributions[:, 0], -nearest.training_scores_[:4])
    assert explanation.members == ["MahalanobisCosine"]
    _, indices = explanation.neighbors["MahalanobisCosine"]
    assert indices.shape == (4, 2) and not (indices == np.arange(4)[:, None]).any()
    grouped = NSADetector(PCA(2), FeatureEnsemble(groups={"a": [0], "b": [1]})).fit(table)
    explanation = grouped.explain(table + 0.1)
    assert explanation.members == ["a/k_cos", "a/k_cos_mah", "b/k_cos", "b/k_cos_mah"]
    assert_allclose(explanation.contributions.sum(axis=1), -grouped.score_samples(table + 0.1))
    other = NSADetector(PCA(2), IsolationForest(), random_state=0).fit(table)
    explanation = other.explain(table + 0.1)
    assert explanation.neighbors == {} and explanation.heatmaps is None
    assert_allclose(explanation.contributions[:, 0], -other.score_samples(table + 0.1))


def test_trimmed_images_are_explained_too(images):
    polluted = np.concatenate([images, 255 - images[:2]])
    detector = NSADetector(ENCODER, FeatureEnsemble(trim=0.1), random_state=0).fit(polluted)
    explanation = detector.explain(polluted)
    assert_allclose(explanation.contributions.sum(axis=1), -detector.training_scores_, atol=1e-4)


def test_p_values_of_images(images, detector):
    p = detector.p_values(images)
    assert_allclose(np.sort(p), np.arange(2, len(images) + 2) / (len(images) + 1))
