"""DUMDetector: what it detects, what it refuses, and that it can be kept."""

import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import get_config
from sklearn.decomposition import PCA
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from skanomaly import DUMDetector, OneClassKFold, SelfSupervisedEncoder
from skanomaly._uncertainty import log_norm, log_variances
from skanomaly.datasets import load_fashion_mnist_sample
from skanomaly.encoders import ImageAugmentation

QUICK = {"n_estimators": 3, "max_epochs": 5, "random_state": 0}


@pytest.fixture
def table(rng):
    """Two correlated clusters."""
    X = rng.normal(size=(300, 5)) @ rng.normal(size=(5, 5))
    X[::2] += 6
    return X


def anomalies_of(table, rng):
    """Each column as in the table, but not together."""
    return np.column_stack([rng.permutation(column) for column in table.T])


@pytest.mark.parametrize("covariance", ["diag", "circular"])
def test_detects_better_than_untrained_networks(table, rng, covariance):
    train, test = table[:200], table[200:]
    X = np.r_[test, anomalies_of(test, rng)]
    y = np.r_[np.ones(len(test)), np.zeros(len(test))]
    trained, untrained = (
        DUMDetector(covariance=covariance, max_epochs=epochs, random_state=0).fit(train)
        for epochs in (300, 0)
    )
    auroc = roc_auc_score(y, trained.score_samples(X))
    assert auroc > 0.9 and auroc > roc_auc_score(y, untrained.score_samples(X)) + 0.2
    assert len(trained.history_) == 300
    assert trained.history_[-1]["loss"] < trained.history_[0]["loss"]


def test_threshold_and_p_values_hold_for_new_samples(rng):
    X, new = rng.normal(size=(2, 1000, 4))
    detector = DUMDetector(contamination=0.1, random_state=0).fit(X)
    assert (detector.predict(X) < 0).mean() == 0.1
    assert (detector.predict(new) < 0).mean() == pytest.approx(0.1, abs=0.03)
    assert (detector.p_values(new) <= 0.2).mean() == pytest.approx(0.2, abs=0.04)


def test_score_is_minus_the_mean_log_norm(table, rng):
    detector = DUMDetector(norm=3, **QUICK).fit(table)
    new = table[:9] + 0.1
    scaled = detector.scaler_.transform(new)
    ((_, values),) = log_variances(detector.networks_, scaled, "cpu")
    assert_allclose(detector.score_samples(new), -log_norm(values, 3).mean(0), rtol=1e-12)
    assert_allclose(detector.transform(new), values.mean(0), rtol=1e-12)


def test_training_scores_are_by_networks_that_did_not_see_the_sample(table):
    detector = DUMDetector(**{**QUICK, "n_estimators": 8}).fit(table)
    ((_, values),) = log_variances(detector.networks_, detector.scaler_.transform(table), "cpu")
    norms = log_norm(values, detector.norm).numpy()
    by_all = np.isclose(-detector.training_scores_, norms.mean(axis=0), rtol=1e-9)
    assert_array_equal(by_all, ~detector.held_out_)
    # 1 sample in 0.8 ** -8 was seen by all
    assert 0.7 < detector.held_out_.mean() < 1
    assert_array_equal(detector.score_samples(table), detector.training_scores_)


def test_equal_samples_have_one_score(table):
    X = np.r_[table, table[:50]]
    detector = DUMDetector(**QUICK).fit(X)
    assert_array_equal(detector.training_scores_[:50], detector.training_scores_[300:])


def test_same_seed_same_scores(table):
    first, second, other = (
        DUMDetector(**{**QUICK, "random_state": seed}).fit(table).score_samples(table)
        for seed in (0, 0, 1)
    )
    assert_array_equal(first, second)
    assert not np.allclose(first, other)


def test_scores_fall_without_bounds_outside_the_data(table):
    detector = DUMDetector(**QUICK).fit(table)
    direction = np.array([1.0, -1, 1, -1, 1])
    scores = detector.score_samples(np.array([[1e2], [1e4], [1e9], [1e200]]) * direction)
    assert np.isfinite(scores).all() and (np.diff(scores) < 0).all()
    assert (scores < detector.training_scores_.min()).all()


@pytest.mark.parametrize("covariance", ["diag", "circular"])
def test_awkward_columns(rng, covariance):
    X = rng.normal(size=(100, 6)) * [1e-12, 1e12, 1, 1, 1, 0]
    X[3, 2] = 1e30
    X[:, 3] = X[:, 3] > 0
    X = np.r_[X, X[:20]]
    detector = DUMDetector(covariance=covariance, **QUICK).fit(X)
    assert np.isfinite(detector.training_scores_).all()
    assert np.isfinite(detector.score_samples(rng.normal(size=(9, 6)))).all()


@pytest.mark.parametrize(
    "options",
    [
        {"objective": "dot", "bag_size": 4},
        {"objective": "dot", "bag_size": 4, "expectation": "sampled"},
        {"objective": "cosine", "bag_size": 4},
        {"objective": "distance", "bag_size": 4, "covariance": "circular"},
        {"bag_size": 4},
        {"views": "marginal"},
        {"views": "mask"},
        {"views": lambda rows, generator: rows + torch.randn(rows.shape, generator=generator)},
        {"scaling": "quantile"},
        {"scaling": "whitened"},
        {"max_samples": None, "max_features": 2},
        {"norm": np.inf},
        {"max_epochs": None, "max_time": 0.1},
    ],
)
def test_settings_train_and_score(table, options):
    options = {**QUICK, **options}
    detector = DUMDetector(**options).fit(table)
    start = DUMDetector(**{**options, "max_epochs": 0, "max_time": None}).fit(table)
    for trained, initial in zip(detector.networks_.weights, start.networks_.weights, strict=True):
        assert (trained != initial).any()
    assert np.isfinite(detector.score_samples(table + 1)).all()


def test_wide_embeddings_are_whitened(rng):
    X = rng.normal(size=(120, 5)) @ rng.normal(size=(5, 300)) + 0.01 * rng.normal(size=(120, 300))
    X[:, 7] *= 1e9  # another unit
    detector = DUMDetector(**QUICK).fit(X)
    assert detector.transform(X).shape == (120, 5)
    assert detector.get_feature_names_out().tolist() == [f"log_variance_{i}" for i in range(5)]
    far = X[:2] + np.array([[1e200], [1e308]]) * rng.normal(size=300).clip(-0.9, 0.9)
    assert (detector.score_samples(far) < detector.training_scores_.min()).all()
    narrow = DUMDetector(**{**QUICK, "scaling": "standard"}).fit(X)
    assert narrow.transform(X).shape == (120, 300)
    assert DUMDetector(**QUICK).fit(X[:, :256]).transform(X[:, :256]).shape == (120, 256)
    constant = np.ones((20, 300))
    assert (DUMDetector(**QUICK).fit(constant).predict(constant) == 1).all()


def test_published_setting(table):
    options = {**DUMDetector.PUBLISHED, "hidden_layers": (32, 32, 32), "max_epochs": 3}
    detector = DUMDetector(**options, random_state=0).fit(table)
    assert [len(detector.networks_.weights[0]), len(detector.history_)] == [1, 3]
    assert {epoch["learning_rate"] for epoch in detector.history_} == {1e-3}
    assert not detector.held_out_.any()
    with pytest.raises(ValueError, match="0 samples of the training distribution are held out"):
        detector.shift_test(table)


def test_shift_test(rng):
    X, same, other = rng.normal(size=(3, 400, 4))
    detector = DUMDetector(max_epochs=100, random_state=0).fit(X)
    unchanged, changed = detector.shift_test(same), detector.shift_test(1.5 * other)
    assert unchanged.p_value > 0.01 and abs(unchanged.effect_size) < 0.2
    assert changed.p_value < 1e-6 and changed.effect_size > 0.4 and changed.statistic > 0
    stream = detector.shift_test(np.r_[same, 1.5 * other], window=150)
    assert stream.p_value.shape == (5,) and stream.p_value[-1] < 1e-3 < stream.p_value[0]
    by_hand = detector.shift_test(1.5 * other, reference=same)
    assert by_hand.p_value < 1e-6 and by_hand.p_value != changed.p_value


def test_rank_certainty(table):
    detector = DUMDetector(**QUICK).fit(table)
    ranked = detector.rank_certainty(table)
    assert (np.diff(detector.score_samples(table)[ranked]) <= 0).all()


def test_images_are_embedded_by_their_views(images):
    encoder = SelfSupervisedEncoder(max_epochs=1, layers="last")
    for augment in (None, "grayscale", ImageAugmentation(crop_area=(0.3, 1))):
        detector = DUMDetector(
            encoder, augment=augment, views=None if augment else "uniform", **QUICK
        )
        scores = detector.fit(images).score_samples(images)
        assert scores.shape == (len(images),) and np.isfinite(scores).all()
        assert detector.encoder_.random_state is not None and not hasattr(encoder, "network_")
    views = ImageAugmentation()(
        torch.from_numpy(images[:1]).float()[:, None].expand(5, -1, -1, -1) / 255, torch.Generator()
    )
    assert sorted(detector.rank_certainty(views.numpy())) == [0, 1, 2, 3, 4]


def test_images_without_an_encoder_get_one(images, monkeypatch):
    monkeypatch.setattr(
        SelfSupervisedEncoder.__init__,
        "__kwdefaults__",
        {**SelfSupervisedEncoder.__init__.__kwdefaults__, "max_epochs": 1},
    )
    detector = DUMDetector(**QUICK).fit(images)
    assert detector.encoder_.layers == "last"


def test_a_fitted_encoder_is_not_fitted_again(table):
    encoder = PCA(2).fit(table[:10])
    detector = DUMDetector(FrozenEstimator(encoder), **QUICK).fit(table)
    assert detector.transform(table).shape == (300, 2)
    assert_array_equal(detector.encoder_.components_, encoder.components_)


class Watched(PCA):
    """Writes down whether it was told that its input is finite."""

    def fit(self, X, y):
        self.assumed = [get_config()["assume_finite"]]
        return super().fit(X)

    def transform(self, X):
        self.assumed.append(get_config()["assume_finite"])
        return super().transform(X)


def test_samples_are_checked_once(table):
    detector = DUMDetector(Watched(2), **QUICK).fit(table)
    detector.predict(table)
    assert detector.encoder_.assumed == [True] * 3 and not get_config()["assume_finite"]


def test_checkpoint_goes_on_where_it_was(table, tmp_path):
    def interrupt(history):
        if len(history) == 3 and interrupting:
            interrupting.clear()
            raise KeyboardInterrupt

    interrupting = [True]
    options = {**QUICK, "max_epochs": 6}
    path = tmp_path / "state"
    with pytest.warns(match="training was interrupted"):
        DUMDetector(checkpoint=path, callbacks=[interrupt], **options).fit(table)
    resumed = DUMDetector(checkpoint=path, callbacks=[interrupt], **options).fit(table)
    whole = DUMDetector(**options).fit(table)
    assert len(resumed.history_) == 6
    assert_array_equal(resumed.score_samples(table), whole.score_samples(table))
    with pytest.raises(ValueError, match="another training"):
        DUMDetector(checkpoint=path, **options).fit(table[::-1])


def test_shift_test_sees_corrupted_images():
    """Table 1 of the paper, with an untrained encoder."""
    pytest.importorskip("imagecorruptions", exc_type=ImportError)
    from benchmarks.dum_images import corrupt_images, corruption_names

    train = np.pad(load_fashion_mnist_sample().X_train[:300], ((0, 0), (2, 2), (2, 2)))
    clean, other, images = train[:180], train[180:240], train[240:]
    encoder = SelfSupervisedEncoder(layers="last", max_epochs=0, random_state=0).fit(clean)
    options = {"n_estimators": 4, "random_state": 0}
    detector = DUMDetector(FrozenEstimator(encoder), **options).fit(clean)
    colour = np.repeat(images[..., None], 3, axis=-1)
    for name in ("gaussian_noise", "glass_blur", "fog", "elastic_transform"):
        assert name in corruption_names()
        corrupted = corrupt_images(colour, name, 5, seed=0)[..., 0]
        assert detector.shift_test(corrupted, reference=other).p_value < 0.01
    assert detector.shift_test(images, reference=other).p_value > 0.05


def test_pickle_grid_search_and_pipeline(table, rng):
    detector = DUMDetector(**QUICK).fit(table)
    copy = pickle.loads(pickle.dumps(detector))
    assert_array_equal(copy.score_samples(table + 1), detector.score_samples(table + 1))
    X, y = np.r_[table, anomalies_of(table, rng)], np.repeat([1, -1], 300)
    search = GridSearchCV(
        DUMDetector(**QUICK),
        {"bag_size": [1, 2]},
        cv=OneClassKFold(2),
        scoring="roc_auc",
        refit=False,
    )
    assert np.isfinite(search.fit(X, y).cv_results_["mean_test_score"]).all()
    table[3, 2] = np.nan
    with pytest.raises(ValueError, match="X contains NaN or infinity"):
        DUMDetector(**QUICK).fit(table)
    assert make_pipeline(SimpleImputer(), DUMDetector(**QUICK)).fit(table).predict(table).shape == (
        300,
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objective": "dot"}, "bag_size=1 with objective='dot'.*variance is not in the objective"),
        ({"objective": "dot", "bag_size": 200}, "Found 300 samples, but two bags of bag_size=200"),
        ({"views": None}, "views and augment are both None"),
        ({"max_epochs": None}, "max_epochs and max_time are both None"),
        ({"hidden_layers": (64, 0)}, r"hidden_layers=\(64, 0\)"),
        ({"checkpoint": "state", "random_state": None}, "pass an int as random_state"),
        ({"objective": "triplet"}, "'objective' parameter of DUMDetector"),
        ({"trim": 0.5}, "'trim' parameter of DUMDetector"),
        ({"norm": 0.5}, "'norm' parameter of DUMDetector"),
        ({"augment": "color", "views": None}, "augment is for images, but X is a table"),
        ({"device": "abacus"}, "device='abacus' cannot be used here"),
    ],
)
def test_bad_parameters(table, options, message):
    detector = DUMDetector(**{**QUICK, **options})
    with pytest.raises(ValueError, match=message):
        detector.fit(table)
    assert not hasattr(detector, "networks_")


def test_bad_input(table):
    detector = DUMDetector(**QUICK)
    with pytest.raises(TypeError, match=r"callbacks\[0\] is 3"):
        DUMDetector(callbacks=[3]).fit(table)
    with pytest.raises(ValueError, match=r"column 1 of X has values up to 1e\+300"):
        detector.fit(np.where(np.arange(5) == 1, 1e300, table))
    with pytest.raises(FloatingPointError, match="pass a learning_rate below"):
        DUMDetector(**QUICK, learning_rate=1e30).fit(table)
    assert not hasattr(detector, "networks_")
    detector.fit(table)
    with pytest.raises(ValueError, match="window=1; a test needs at least 2 samples"):
        detector.shift_test(table, window=1)
    with pytest.raises(ValueError, match="X has 4 features"):
        detector.score_samples(table[:, :4])
    assert DUMDetector(**QUICK).fit(table[:2]).predict(table[:2]).shape == (2,)
