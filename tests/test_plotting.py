"""Displays: what is drawn is what the estimators say, in the axes that were passed."""

import inspect
import re
import sys

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import (
    average_precision_score,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skanomaly import (
    DUMDetector,
    FeatureEnsemble,
    MahalanobisCosine,
    NeighborDistance,
    NSADetector,
    PatchCosine,
    PretrainedEncoder,
    SelfSupervisedEncoder,
    plotting,
)
from skanomaly.encoders import COLLAPSED, draw_views
from skanomaly.plotting import (
    ContributionDisplay,
    ExtremeImagesDisplay,
    HeatmapDisplay,
    LayerCurveDisplay,
    ScoreDisplay,
    ShiftDisplay,
    TrainingDisplay,
    ViewDisplay,
)
from skanomaly.report import overlay, thumbnail

from .registry import SHORT, AnyWidth, identify, make_detectors

mpl.use("Agg")
import matplotlib.pyplot as plt


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture
def ax():
    return plt.subplots()[1]


def make_images(seed, n):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 40, (n, 12, 12), dtype=np.uint8)
    for image, (row, column) in zip(images, rng.integers(1, 7, (n, 2)), strict=True):
        image[row : row + 4, column : column + 4] += 180
    return images


@pytest.fixture(scope="module")
def training_images():
    return make_images(0, 24)


@pytest.fixture(scope="module")
def detector(training_images):
    encoder = SelfSupervisedEncoder(max_epochs=2, augment="digits")
    return NSADetector(encoder, random_state=0).fit(training_images)


@pytest.fixture(scope="module")
def mixed():
    """12 normal images, 4 negatives of such images, and the labels."""
    images = make_images(1, 16)
    images[12:] = 255 - images[12:]
    return images, np.repeat([1, -1], [12, 4])


@pytest.fixture(scope="module")
def uncertainty():
    X = np.random.default_rng(0).normal(size=(200, 4))
    return DUMDetector(max_epochs=20, n_estimators=4, random_state=0).fit(X)


@pytest.fixture(scope="module")
def stream():
    """It shifts after 100 of 230 samples."""
    stream = np.random.default_rng(1).normal(size=(230, 4))
    stream[100:] += 4
    return stream


@pytest.fixture(scope="module")
def image_uncertainty(detector, training_images):
    encoder = FrozenEstimator(detector.encoder_)
    return DUMDetector(encoder, **SHORT, random_state=0).fit(training_images)


@pytest.fixture
def ensemble(table):
    return FeatureEnsemble("all", groups={"left": [0, 1], "right": [2, 3, 4]}).fit(table)


@pytest.fixture
def labelled(table):
    X = np.concatenate([table + 0.1, table[:20] * [1, -1, 1, -1, 1]])
    return X, np.repeat([1, -1], [60, 20])


def legend_of(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def assert_shown(artists, images):
    for artist, image in zip(artists, images, strict=True):
        np.testing.assert_array_equal(artist.get_array(), np.asarray(thumbnail(image)))


class TestScoreDisplay:
    def test_distributions_and_threshold(self, labelled, table):
        X, y = labelled
        detector = NeighborDistance().fit(table)
        display = ScoreDisplay.from_estimator(detector, X, pd.Series(y), n_bins=20)
        scores = detector.score_samples(X)
        sets = {
            "training samples": detector.training_scores_,
            "normal samples": scores[y == 1],
            "anomalies": scores[y == -1],
        }
        assert list(display.distributions_) == list(sets)
        for name, expected in sets.items():
            heights, edges, _ = display.distributions_[name].get_data()
            assert len(heights) == 20 and edges[0] <= expected.min() and heights.sum() == 1
            np.testing.assert_allclose(heights * len(expected), np.histogram(expected, edges)[0])
        assert display.threshold_line_.get_xdata() == [detector.offset_] * 2
        assert legend_of(display.ax_) == [*sets, "threshold"]
        np.testing.assert_array_equal(display.scores, scores)
        np.testing.assert_array_equal(display.y, y)
        assert display.threshold == detector.offset_

    @pytest.mark.parametrize("detector", make_detectors(), ids=identify)
    def test_every_detector(self, detector, table):
        display = ScoreDisplay.from_estimator(detector.fit(table), table + 0.1)
        assert list(display.distributions_) == ["training samples", "samples"]

    def test_training_samples_alone(self, table):
        display = ScoreDisplay.from_estimator(NeighborDistance().fit(table))
        assert list(display.distributions_) == ["training samples"]

    def test_scores_far_away_are_counted_at_the_end(self, table):
        X = np.concatenate([table + 0.1, table[:1] + 1e6])
        display = ScoreDisplay.from_estimator(NeighborDistance().fit(table), X)
        heights, edges, _ = display.distributions_["samples"].get_data()
        assert heights[0] == pytest.approx(1 / 61) and edges[0] > -100
        assert "counted at its ends" in display.ax_.get_xlabel()

    def test_others_detectors_and_pipelines(self, table):
        forest = IsolationForest(random_state=0).fit(table)
        display = ScoreDisplay.from_estimator(forest, table)
        assert list(display.distributions_) == ["samples"] and display.threshold == forest.offset_
        display = ScoreDisplay.from_estimator(KernelDensity().fit(table), table)
        assert display.threshold_line_ is None
        pipeline = make_pipeline(StandardScaler(), NeighborDistance()).fit(table)
        display = ScoreDisplay.from_estimator(pipeline, table + 0.1)
        np.testing.assert_array_equal(display.training_scores, pipeline[-1].training_scores_)
        np.testing.assert_array_equal(display.scores, pipeline.score_samples(table + 0.1))

    def test_predictions_are_those_of_the_estimator(self, table, ax):
        detector = NeighborDistance().fit(table)
        display = ScoreDisplay.from_predictions(
            list(detector.score_samples(table + 1)), threshold=-1.0, ax=ax
        )
        assert display.ax_ is ax and display.figure_ is ax.figure
        assert legend_of(ax) == ["samples", "threshold"]
        assert display.threshold_line_.get_xdata() == [-1.0, -1.0]

    def test_errors(self, table):
        with pytest.raises(NotFittedError):
            ScoreDisplay.from_estimator(NeighborDistance(), table)
        with pytest.raises(
            TypeError, match="estimator is StandardScaler, which has no score_samples"
        ):
            ScoreDisplay.from_estimator(StandardScaler().fit(table), table)
        detector = NeighborDistance().fit(table)
        with pytest.raises(ValueError, match="y are labels of samples, but there are none"):
            ScoreDisplay.from_estimator(detector, y=[1])
        with pytest.raises(ValueError, match=r"y has the label 0.0; pass \+1"):
            ScoreDisplay.from_estimator(detector, table, np.zeros(60))
        with pytest.raises(ValueError, match="no scores to draw"):
            ScoreDisplay.from_predictions([])


class TestLayerCurveDisplay:
    @pytest.mark.parametrize("by", ["layer", "member"])
    def test_roc(self, ensemble, labelled, by, ax):
        X, y = labelled
        display = LayerCurveDisplay.from_estimator(ensemble, X, y, by=by, ax=ax)
        explanation = ensemble.explain(X)
        scores = dict(zip(explanation.members, explanation.contributions.T, strict=True))
        if by == "layer":
            layers = {"left": slice(0, 4), "right": slice(4, 8)}
            scores = {k: explanation.contributions[:, s].sum(axis=1) for k, s in layers.items()}
        scores["total"] = -ensemble.score_samples(X)
        assert list(display.lines_) == list(display.areas) == list(scores)
        for name, values in scores.items():
            x, height = display.lines_[name].get_data()
            expected = roc_curve(y == -1, values)
            # rounding of the sum may tell apart what was equal
            np.testing.assert_allclose(x, expected[0])
            np.testing.assert_allclose(height, expected[1])
            assert display.areas[name] == pytest.approx(roc_auc_score(y, -values))
        assert f"total (AUC = {display.areas['total']:.2f})" in legend_of(ax)
        looks = {(line.get_color(), line.get_linestyle()) for line in display.lines_.values()}
        assert len(looks) == len(scores) and display.figure_ is ax.figure
        assert min(display.areas.values()) < max(display.areas.values())

    def test_precision_recall(self, ensemble, labelled):
        X, y = labelled
        display = LayerCurveDisplay.from_estimator(ensemble, X, y, kind="precision_recall")
        total = -ensemble.score_samples(X)
        precision, recall, _ = precision_recall_curve(y == -1, total)
        np.testing.assert_allclose(display.lines_["total"].get_data(), [recall, precision])
        assert display.areas["total"] == pytest.approx(average_precision_score(y == -1, total))
        assert list(display.chance_line_.get_ydata()) == [0.25, 0.25]
        assert display.ax_.get_xlabel() == "recall"

    def test_layers_of_an_encoder(self, detector, mixed, monkeypatch):
        def refuse(*arguments):
            raise AssertionError("heatmaps are not needed")

        monkeypatch.setattr(NSADetector, "_heatmaps", refuse)
        display = LayerCurveDisplay.from_estimator(detector, *mixed)
        assert list(display.areas) == [*detector.encoder_.layer_slices_, "total"]
        images, y = mixed
        total = roc_auc_score(y, detector.score_samples(images))
        assert display.areas["total"] == pytest.approx(total)

    def test_30_lines_differ(self):
        from skanomaly.plotting._style import line_style

        assert len({str(line_style(i)) for i in range(30)}) == 30

    def test_errors(self, ensemble, labelled, table):
        X, y = labelled
        with pytest.raises(ValueError, match=r"all labels in y are normal samples, \+1; pass"):
            LayerCurveDisplay.from_estimator(ensemble, X[:60], y[:60])
        with pytest.raises(ValueError, match=r"all labels in y are anomalies, -1; pass"):
            LayerCurveDisplay.from_estimator(ensemble, X[60:], y[60:])
        with pytest.raises(ValueError, match="y has shape"):
            LayerCurveDisplay.from_estimator(ensemble, X, y[:60])
        with pytest.raises(ValueError, match=r"kind='pr'; pass one of \('roc', 'precision_recall"):
            LayerCurveDisplay.from_estimator(ensemble, X, y, kind="pr")
        with pytest.raises(ValueError, match="by='score'; pass one of"):
            LayerCurveDisplay.from_estimator(ensemble, X, y, by="score")
        with pytest.raises(TypeError, match="is NeighborDistance; pass a fitted NSADetector or F"):
            LayerCurveDisplay.from_estimator(NeighborDistance().fit(table), X, y)
        with pytest.raises(NotFittedError):
            LayerCurveDisplay.from_estimator(FeatureEnsemble(), X, y)


class TestContributionDisplay:
    @pytest.mark.parametrize("by", ["layer", "member"])
    def test_bars(self, detector, mixed, by, ax):
        images, _ = mixed
        display = ContributionDisplay.from_estimator(detector, images, index=13, by=by, ax=ax)
        explanation = detector.explain(images[13:14])
        widths = [bar.get_width() for bar in display.bars_]
        np.testing.assert_array_equal(widths, display.contributions)
        assert [tick.get_text() for tick in ax.get_yticklabels()] == display.names
        if by == "member":
            assert display.names == explanation.members
            np.testing.assert_allclose(widths, explanation.contributions[0])
        else:
            assert display.names == list(detector.encoder_.layer_slices_)
            first = explanation.contributions[0, :4].sum()
            assert widths[0] == pytest.approx(first)
        score = detector.score_samples(images[13:14])[0]
        assert sum(widths) == pytest.approx(-score) and display.ax_ is ax
        assert f"{-score:.2f}" in ax.get_xlabel()
        tops = [bar.get_y() for bar in display.bars_]
        assert tops == sorted(tops) and ax.yaxis_inverted()  # the first layer is on top

    def test_blocks_and_frames(self, table):
        blocks = {"a": table[:, :2], "b": table[:, 2:]}
        display = ContributionDisplay.from_estimator(FeatureEnsemble().fit(blocks), blocks)
        assert display.names == ["a", "b"]
        frame = pd.DataFrame(table).add_prefix("x")
        detector = NSADetector().fit(frame)
        assert ContributionDisplay.from_estimator(detector, frame).names == ["NeighborDistance"]

    def test_errors(self, ensemble, table):
        with pytest.raises(ValueError, match="index=60, but X has 60 samples"):
            ContributionDisplay.from_estimator(ensemble, table, index=60)
        with pytest.raises(TypeError, match="is NeighborDistance; pass a fitted NSADetector or F"):
            ContributionDisplay.from_estimator(NeighborDistance().fit(table), table)
        with pytest.raises(NotFittedError):
            ContributionDisplay.from_estimator(NSADetector(), table)


class TestHeatmapDisplay:
    def test_images_above_their_overlays(self, detector, mixed, ax):
        images = mixed[0][10:14]
        display = HeatmapDisplay.from_estimator(detector, images, layer="conv_block_1", ax=ax)
        heatmaps = detector.explain(images, layer="conv_block_1").heatmaps
        np.testing.assert_array_equal(display.heatmaps, heatmaps)
        assert_shown(display.images_[0], images)
        scale = heatmaps.min(), heatmaps.max()
        for artist, image, heatmap in zip(display.images_[1], images, heatmaps, strict=True):
            expected = overlay(thumbnail(image), heatmap, *scale)
            np.testing.assert_array_equal(artist.get_array(), np.asarray(expected))
        places = np.array([[a.get_extent() for a in row] for row in display.images_])
        assert (np.diff(places[:, :, 0], axis=1) > 1).all()  # side by side
        assert (places[1, :, 3] > places[0, :, 2]).all()  # y points downwards
        assert display.colorbar_.mappable.get_clim() == pytest.approx(scale)
        texts = [text.get_text() for text in ax.texts if text.get_text().startswith("-")]
        assert texts == [f"{score:.3g}" for score in detector.score_samples(images)]

    def test_patches_of_colour_images(self, mixed):
        images = mixed[0][:6, :, :, None] * np.array([1, 0, 0], np.uint8)
        encoder = PretrainedEncoder("mobilenet_v3_small", weights=None, image_size=32)
        detector = NSADetector(encoder, PatchCosine(), random_state=0).fit(images)
        display = HeatmapDisplay.from_estimator(detector, images[:2], colorbar=False)
        assert_shown(display.images_[0], images[:2])
        assert display.colorbar_ is None and display.images_[0, 0].get_array()[..., 1].max() == 0

    def test_errors(self, detector, mixed, table, image_uncertainty):
        with pytest.raises(TypeError, match="is DUMDetector; pass an NSADetector fitted on im"):
            HeatmapDisplay.from_estimator(image_uncertainty, mixed[0])
        with pytest.raises(ValueError, match="has no heatmaps; fit an NSADetector with a convol"):
            HeatmapDisplay.from_estimator(NSADetector().fit(table), table)
        with pytest.raises(ValueError, match=r"has no heatmaps.*and pass a layer"):
            HeatmapDisplay.from_estimator(detector, mixed[0][:2], layer=None)
        with pytest.raises(NotFittedError):
            HeatmapDisplay.from_estimator(NSADetector(), mixed[0])


class TestExtremeImagesDisplay:
    def test_images_in_order_and_nearest_ones_beneath(self, detector, mixed, training_images, ax):
        images, _ = mixed
        display = ExtremeImagesDisplay.from_estimator(
            detector, images, n_images=3, X_train=training_images, ax=ax
        )
        frame = detector.predict_frame(images)
        order = np.argsort(frame.score)
        expected = np.array([order[:3], order[:-4:-1]])
        np.testing.assert_array_equal(display.index, expected)
        np.testing.assert_array_equal(display.scores, frame.score.to_numpy()[expected])
        np.testing.assert_array_equal(display.nearest, frame.nearest.to_numpy()[expected])
        for row in 0, 1:
            assert_shown(display.images_[2 * row], images[expected[row]])
            nearest = frame.nearest.to_numpy()[expected[row]]
            assert_shown(display.images_[2 * row + 1], training_images[nearest])
        assert display.ax_ is ax and display.images_.shape == (4, 3)
        assert {"least normal", "most normal"} < {text.get_text() for text in ax.texts}

    def test_training_images_from_files(self, training_images, tmp_path):
        for i, image in enumerate(training_images):
            Image.fromarray(image).save(tmp_path / f"{i:02}.png")
        encoder = SelfSupervisedEncoder(max_epochs=0)
        detector = NSADetector(encoder, random_state=0, image_size=10).fit(str(tmp_path))
        files = [str(tmp_path / f"{i:02}.png") for i in range(5)]
        display = ExtremeImagesDisplay.from_estimator(detector, files, n_images=2)
        nearest = detector.predict_frame(files).nearest.to_numpy()[display.index]
        names = [[f"{i:02}.png" for i in row] for row in display.nearest]
        assert [[path.rsplit("/", 1)[1] for path in row] for row in nearest] == names
        assert display.nearest_images.shape == display.images.shape == (2, 2, 10, 10)
        assert_shown(display.images_[1], display.nearest_images[0])
        shown = ExtremeImagesDisplay.from_estimator(
            detector, files, n_images=2, X_train=training_images
        )
        np.testing.assert_array_equal(shown.nearest_images, display.nearest_images)

    def test_without_nearest_images(self, detector, image_uncertainty, mixed):
        images, _ = mixed
        display = ExtremeImagesDisplay.from_estimator(detector, images, n_images=99)
        assert display.images_.shape == (2, 8) and display.nearest is not None
        display = ExtremeImagesDisplay.from_estimator(image_uncertainty, images, n_images=3)
        certain = image_uncertainty.rank_certainty(images)
        np.testing.assert_array_equal(display.index, [certain[:-4:-1], certain[:3]])
        assert_shown(display.images_[1], images[certain[:3]])

    def test_errors(self, detector, image_uncertainty, mixed, table):
        images, _ = mixed
        draw = ExtremeImagesDisplay.from_estimator
        with pytest.raises(ValueError, match="X_train has 16 images, but 24 were fitted"):
            draw(detector, images, X_train=images)
        with pytest.raises(ValueError, match="DUMDetector finds no nearest training images here"):
            draw(image_uncertainty, images, X_train=images)
        with pytest.raises(ValueError, match=r"X has 1 image\(s\); pass at least 2"):
            draw(detector, images[:1])
        with pytest.raises(ValueError, match="n_images=0; pass an int of at least 1"):
            draw(detector, images, n_images=0)
        with pytest.raises(ValueError, match="the detector was not fitted on images"):
            draw(NeighborDistance().fit(table), table)
        with pytest.raises(TypeError, match="estimator is IsolationForest; pass an NSADetector"):
            draw(IsolationForest().fit(table), table)
        with pytest.raises(NotFittedError):
            draw(NSADetector(), images)


class TestViewDisplay:
    def test_views_of_an_encoder(self, mixed, ax):
        images = mixed[0][:3]
        encoder = SelfSupervisedEncoder(augment=lambda batch: batch.flip(2))
        display = ViewDisplay.from_estimator(encoder, images, n_views=2, ax=ax)
        assert display.images_.shape == (3, 3) and display.scores is None
        assert_shown(display.images_[:, 0], images)
        for column in 1, 2:
            assert_shown(display.images_[:, column], images[:, ::-1])
        assert display.ax_ is ax and not hasattr(encoder, "sample_shape_")

    def test_setting_is_that_of_the_encoder(self, detector, mixed):
        images = mixed[0][:2]
        options = {"n_views": 3, "random_state": 0}
        views = ViewDisplay.from_estimator(detector.encoder_, images, **options).views
        seed = np.random.RandomState(0).randint(np.iinfo(np.int32).max)
        expected = np.stack(next(draw_views(images[:, None], "digits", 3, seed)), axis=1)
        np.testing.assert_array_equal(views, expected[:, :, 0])
        encoder = SelfSupervisedEncoder()
        again = ViewDisplay.from_estimator(encoder, images, augment="digits", **options)
        np.testing.assert_array_equal(again.views, views)
        other = ViewDisplay.from_estimator(encoder, images, **options)
        assert np.abs(other.views - views).max() > 0.1

    def test_views_are_seeded_and_leave_the_generators_alone(self, mixed):
        import torch

        images = np.repeat(mixed[0][:2, :, :, None], 3, axis=3)
        before = torch.get_rng_state(), np.random.get_state()[1].copy()
        encoder = SelfSupervisedEncoder()
        first, second, other = (
            ViewDisplay.from_estimator(encoder, images, n_views=2, random_state=seed).views
            for seed in (0, 0, 1)
        )
        np.testing.assert_array_equal(first, second)
        assert np.abs(first - other).max() > 0.1 and first.shape == (2, 2, 12, 12, 3)
        assert torch.equal(before[0], torch.get_rng_state())
        np.testing.assert_array_equal(before[1], np.random.get_state()[1])

    def test_detectors_order_the_views(self, image_uncertainty, detector, mixed):
        image = mixed[0][:1]
        options = {"n_views": 6, "random_state": 0}
        drawn = ViewDisplay.from_estimator(detector.encoder_, image, **options).views[0]
        for scorer in image_uncertainty, detector:
            display = ViewDisplay.from_estimator(scorer, image, **options)
            scores = scorer.score_samples(drawn)
            rank = np.argsort(-scores)
            np.testing.assert_allclose(display.scores, [scores[rank]])
            assert_shown(display.images_[0, 1:], drawn[rank])
            assert display.scores[0, 0] > display.scores[0, -1]
        rank = image_uncertainty.rank_certainty(drawn)
        display = ViewDisplay.from_estimator(image_uncertainty, image, **options)
        np.testing.assert_array_equal(display.views[0], drawn[rank])

    def test_errors(self, mixed, table):
        with pytest.raises(ValueError, match=r"X is a table of shape \(60, 5\); pass images"):
            ViewDisplay.from_estimator(SelfSupervisedEncoder(), table)
        with pytest.raises(ValueError, match="n_views=0; pass an int of at least 1"):
            ViewDisplay.from_estimator(SelfSupervisedEncoder(), mixed[0], n_views=0)
        with pytest.raises(NotFittedError):
            ViewDisplay.from_estimator(DUMDetector(), mixed[0])


class TestTrainingDisplay:
    def test_history_of_an_encoder(self, detector):
        display = TrainingDisplay.from_estimator(detector)
        history = detector.encoder_.history_
        assert display.metrics == ["loss", "embedding_std", "kappa"]
        for name, line in display.lines_.items():
            epochs, values = line.get_data()
            assert list(epochs) == [1, 2] and list(values) == [record[name] for record in history]
        assert list(display.collapse_line_.get_ydata()) == [COLLAPSED, COLLAPSED]
        assert display.collapse_line_.axes is display.axes_[1]
        assert [axes.get_ylabel() for axes in display.axes_] == display.metrics
        assert display.history is history and display.ax_ is display.axes_[0]
        other = TrainingDisplay.from_estimator(detector.encoder_)
        assert other.history is history

    def test_history_of_a_dum_detector(self, uncertainty, ax):
        display = TrainingDisplay.from_estimator(uncertainty)
        assert display.metrics == ["loss", "log_variance"] and display.collapse_line_ is None
        display = TrainingDisplay.from_estimator(uncertainty, metrics="learning_rate", ax=ax)
        rates = [record["learning_rate"] for record in uncertainty.history_]
        assert display.ax_ is ax and list(display.lines_["learning_rate"].get_ydata()) == rates

    def test_axes(self, uncertainty):
        axes = plt.subplots(2)[1]
        display = TrainingDisplay.from_estimator(uncertainty, ax=axes)
        assert list(display.axes_) == list(axes) and display.figure_ is axes[0].figure
        with pytest.raises(ValueError, match="ax has 1 axes, but there are 2 metrics"):
            TrainingDisplay.from_estimator(uncertainty, ax=axes[0])

    def test_errors(self, table):
        draw = TrainingDisplay.from_estimator
        with pytest.raises(NotFittedError):
            draw(SelfSupervisedEncoder())
        encoder = SelfSupervisedEncoder(max_epochs=0, random_state=0).fit(table)
        with pytest.raises(ValueError, match="history_ is empty; fit with max_epochs of at least"):
            draw(encoder)
        for other in NSADetector(PretrainedEncoder(AnyWidth())), MahalanobisCosine():
            with pytest.raises(TypeError, match=f"{type(other).__name__} has no history_; pass"):
                draw(other.fit(table))
        encoder = SelfSupervisedEncoder(max_epochs=1).fit(table)
        with pytest.raises(ValueError, match=r"metrics=\['auroc'\]; pass some of \['loss', "):
            draw(encoder, metrics="auroc")


class TestShiftDisplay:
    def test_effect_sizes(self, uncertainty, stream, ax):
        display = ShiftDisplay.from_estimator(uncertainty, stream, window=50, ax=ax)
        result = uncertainty.shift_test(stream, window=50)
        seen, values = display.line_.get_data()
        assert list(seen) == [50, 100, 150, 200] and display.ax_ is ax
        np.testing.assert_array_equal(values, result.effect_size)
        np.testing.assert_array_equal(display.p_value, result.p_value)
        assert list(display.shifted_.get_xdata()) == [150, 200]
        assert [line.get_ydata()[0] for line in display.level_lines_] == [0.5, -0.5]

    def test_p_values(self, uncertainty, stream):
        reference = np.random.default_rng(2).normal(size=(100, 4))
        display = ShiftDisplay.from_estimator(
            uncertainty, stream, window=50, reference=reference, kind="p_value", level=1e-3
        )
        result = uncertainty.shift_test(stream, window=50, reference=reference)
        np.testing.assert_allclose(display.line_.get_ydata(), -np.log10(result.p_value))
        assert [line.get_ydata()[0] for line in display.level_lines_] == pytest.approx([3])
        beyond = display.shifted_.get_ydata()
        assert len(beyond) == (result.p_value < 1e-3).sum() == 2 and min(beyond) > 3

    def test_p_value_of_zero_is_drawn(self):
        display = ShiftDisplay(window=2, effect_size=np.ones(2), p_value=np.array([1, 0.0]))
        values = display.plot(kind="p_value").line_.get_ydata()
        assert values[0] == 0 and 300 < values[1] < np.inf

    def test_errors(self, uncertainty, stream, table):
        with pytest.raises(TypeError, match="is NeighborDistance, which has no shift_test"):
            ShiftDisplay.from_estimator(NeighborDistance().fit(table), table, window=10)
        with pytest.raises(ValueError, match="kind='statistic'; pass one of"):
            ShiftDisplay.from_estimator(uncertainty, stream, window=50, kind="statistic")
        with pytest.raises(ValueError, match="level=0; pass a number above 0"):
            ShiftDisplay.from_estimator(uncertainty, stream, window=50, level=0)
        with pytest.raises(ValueError, match="window=500"):
            ShiftDisplay.from_estimator(uncertainty, stream, window=500)
        with pytest.raises(NotFittedError):
            ShiftDisplay.from_estimator(DUMDetector(), stream, window=50)


def test_tensors(labelled, table):
    import torch

    groups = {"left": [0, 1], "right": [2, 3, 4]}
    X, y = labelled
    on_arrays, on_tensors = (
        LayerCurveDisplay.from_estimator(
            FeatureEnsemble(groups=groups).fit(convert(table)), convert(X), y
        )
        for convert in (np.asarray, torch.as_tensor)
    )
    assert on_tensors.areas == pytest.approx(on_arrays.areas)
    ensemble, tensor = FeatureEnsemble(groups=groups).fit(torch.as_tensor(table)), torch.tensor(X)
    display = ContributionDisplay.from_estimator(ensemble, tensor, index=70)
    assert display.contributions.sum() == pytest.approx(-float(ensemble.score_samples(tensor)[70]))
    display = ScoreDisplay.from_estimator(ensemble, tensor, torch.tensor(y))
    assert list(display.distributions_)[1:] == ["normal samples", "anomalies"]


def test_plot_again_in_other_axes(detector, mixed, ax):
    display = HeatmapDisplay.from_estimator(detector, mixed[0][:2])
    first = display.figure_
    assert display.plot(ax) is display
    assert display.ax_ is ax and display.figure_ is ax.figure is not first


def test_axes_that_are_passed_make_no_figure(ensemble, labelled, uncertainty, mixed, detector):
    figure, axes = plt.subplots(2, 3)
    before = plt.get_fignums()
    ScoreDisplay.from_estimator(ensemble, labelled[0], ax=axes[0, 0])
    LayerCurveDisplay.from_estimator(ensemble, *labelled, ax=axes[0, 1])
    ContributionDisplay.from_estimator(ensemble, labelled[0], ax=axes[0, 2])
    ViewDisplay.from_estimator(detector.encoder_, mixed[0][:2], ax=axes[1, 0])
    ShiftDisplay.from_estimator(uncertainty, labelled[0][:, :4], window=20, ax=axes[1, 1])
    ExtremeImagesDisplay.from_estimator(detector, mixed[0], ax=axes[1, 2])
    figure.canvas.draw()
    assert plt.get_fignums() == before


def test_matplotlib_is_missing(monkeypatch, table):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    detector = NeighborDistance().fit(table)
    with pytest.raises(ImportError, match=r"plots need matplotlib: pip install 'skanomaly\[plot"):
        ScoreDisplay.from_estimator(detector, table)


@pytest.mark.parametrize("name", plotting.__all__)
def test_parameters_are_attributes_and_documented(name):
    display = getattr(plotting, name)
    parameters = list(inspect.signature(display).parameters)
    made = display(**dict.fromkeys(parameters, 0))
    assert vars(made) == dict.fromkeys(parameters, 0)
    for parameter in parameters:
        assert re.search(rf"^    {parameter} : ", display.__doc__, re.M), parameter
    for method in "from_estimator", "from_predictions", "plot":
        if hasattr(display, method):
            function = getattr(display, method)
            for parameter in set(inspect.signature(function).parameters) - {"self"}:
                assert re.search(rf"^        {parameter} : ", function.__doc__, re.M), parameter
