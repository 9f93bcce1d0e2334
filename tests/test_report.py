"""The page of write_report: what is on it is what the detector says, and nothing is left behind."""

import base64
import html
import io
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.stats import false_discovery_control
from sklearn.metrics import (
    auc,
    average_precision_score,
    precision_score,
    recall_score,
    roc_auc_score,
)

from skanomaly import (
    CenterCosine,
    DUMDetector,
    FeatureEnsemble,
    Images,
    MahalanobisCosine,
    NeighborDistance,
    NSADetector,
    PatchCosine,
    SelfSupervisedEncoder,
    write_report,
)
from skanomaly.report._figures import histogram
from skanomaly.report._pictures import overlay, thumbnail

from .registry import SHORT, identify, make_detectors


class Page(HTMLParser):
    """A page as lists of its elements, with their attributes and all the text that they hold."""

    VOID = {"meta", "img", "br", "link"}

    def __init__(self, path):
        super().__init__()
        self.source = path.read_text()
        self.elements, self._open = [], []
        self.feed(self.source)
        assert not self._open

    def handle_starttag(self, tag, attributes):
        element = {"tag": tag, "text": "", **dict(attributes)}
        self.elements.append(element)
        if tag not in self.VOID:
            self._open.append(element)

    def handle_startendtag(self, tag, attributes):
        self.elements.append({"tag": tag, "text": "", **dict(attributes)})

    def handle_endtag(self, tag):
        assert self._open.pop()["tag"] == tag

    def handle_data(self, data):
        for element in self._open:
            element["text"] += data

    def all(self, tag, **attributes):
        found = [e for e in self.elements if e["tag"] == tag]
        return [e for e in found if all(e.get(k) == v for k, v in attributes.items())]

    def texts(self, tag, **attributes):
        return [" ".join(e["text"].split()) for e in self.all(tag, **attributes)]

    @property
    def facts(self):
        return dict(zip(self.texts("dt"), self.texts("dd"), strict=True))

    @property
    def rows(self):
        """Texts of the cells of all rows of tables."""
        rows = []
        for element in self.elements:
            if element["tag"] == "tr":
                rows.append([])
            elif element["tag"] in ("td", "th"):
                rows[-1].append(" ".join(element["text"].split()))
        return rows

    def pictures(self):
        found = []
        for image in self.all("img"):
            kind, _, content = image["src"].partition(";base64,")
            assert kind == "data:image/jpeg"
            found.append(Image.open(io.BytesIO(base64.b64decode(content, validate=True))))
        return found


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Images in a folder for training and one to score, with names that need care."""
    folder = tmp_path_factory.mktemp("tiles")
    rng = np.random.default_rng(0)
    for i in range(30):
        pixels = rng.integers(0, 40, (16, 16), dtype=np.uint8)
        row, column = rng.integers(1, 10, 2)
        pixels[row : row + 4, column : column + 4] += 180
        split = "train" if i < 20 else "test"
        (folder / split).mkdir(exist_ok=True)
        Image.fromarray(255 - pixels if i > 26 else pixels).save(folder / split / f"{i:02}.png")
    (folder / "test" / "29.png").rename(folder / "test" / '29 <b> & "c".png')
    return folder


@pytest.fixture(scope="module")
def detector(files):
    encoder = SelfSupervisedEncoder(max_epochs=1, layers="all")
    return NSADetector(encoder, image_size=16, random_state=0).fit(str(files / "train"))


@pytest.fixture(scope="module")
def page(files, detector, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_report(detector, str(files / "test"), path, n_images=3, y=[1] * 7 + [-1] * 3)
    return Page(path)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "report.html"


@pytest.fixture
def shifted(rng):
    """60 normal samples, then 20 far away, and their labels."""
    X = np.concatenate([rng.normal(size=(60, 5)), rng.normal(size=(20, 5)) + 3])
    return X + [5, 4, 3, 2, 1], np.repeat([1, -1], [60, 20])


def test_page_needs_nothing_else(page):
    assert not re.findall(r"https?:|<script|<link|@import|url\(|\son\w+=", page.source)
    assert all(e["src"].startswith("data:") for e in page.elements if "src" in e)
    assert not [e for e in page.elements if "href" in e]
    assert "prefers-color-scheme: dark" in page.source
    assert page.source.startswith("<!doctype html>")


def test_images_are_in_the_order_of_their_scores(page, files, detector):
    frame = detector.predict_frame(str(files / "test")).sort_values("score", ignore_index=True)
    shown = frame.iloc[[0, 1, 2, 9, 8, 7]]
    names = [f"{1 + i % 3}. test/{p.rsplit('/', 1)[1]}" for i, p in enumerate(shown.path)]
    assert page.texts("h3") == names
    assert f"Paths are below {files}." in page.texts("p")
    cards = [text for text in page.texts("p") if text.startswith("score")]
    for card, (_, row) in zip(cards, shown.iterrows(), strict=True):
        assert card.startswith(f"score {row.score:.4g}, p = {row.p_value:.4g}")
        assert ("flagged" in card) == (row.label == -1)
        assert ("anomaly" in card) == (row.path.rsplit("/", 1)[1] >= "27")
    nearest = [text for text in page.texts("p") if text.startswith("nearest normal: ")]
    assert nearest == [f"nearest normal: train/{p.rsplit('/', 1)[1]}" for p in shown.nearest]


def test_names_are_escaped(page):
    assert [text for text in page.texts("h3") if text.endswith('29 <b> & "c".png')]
    assert not page.all("b")
    assert html.escape('29 <b> & "c".png').replace("&quot;", "&#34;") in page.source


def test_pictures_are_the_images_their_heatmaps_and_nearest_images(page, files, detector):
    pictures = page.pictures()
    assert [p.size for p in pictures] == [(16, 16)] * 18
    order = np.argsort(detector.score_samples(str(files / "test")))
    paths = np.array(sorted(map(str, (files / "test").iterdir())))
    nearest = detector.predict_frame(str(files / "test")).nearest
    for card, i in enumerate([*order[:3], *order[:-4:-1]]):
        original, heatmap, normal = (np.asarray(p).astype(int) for p in pictures[3 * card :][:3])
        for shown, path in ((original, paths[i]), (normal, nearest[i])):
            expected = np.asarray(Image.open(path))[:, :, None]
            assert np.abs(shown - expected).mean() < 8  # JPEG
        assert np.ptp(original, axis=2).max() < 8 < np.ptp(heatmap, axis=2).max()


def test_heatmaps_have_one_scale_on_the_page(page, files, detector):
    order = np.argsort(detector.score_samples(str(files / "test")))
    paths = np.array(sorted(map(str, (files / "test").iterdir())))
    heatmaps = detector.explain(list(paths[[*order[:3], *order[:-4:-1]]])).heatmaps
    scale = f"{heatmaps.min():.4g} {heatmaps.max():.4g} radians"
    assert page.texts("p", **{"class": "scale"}) == [scale, scale]
    pictures = page.pictures()
    for original, shown, heatmap in zip(pictures[::3], pictures[1::3], heatmaps, strict=True):
        expected = overlay(original, heatmap, heatmaps.min(), heatmaps.max())
        assert np.abs(np.asarray(shown).astype(int) - np.asarray(expected)).mean() < 5  # JPEG


def test_contributions_sum_to_the_score(page, files, detector):
    frame = detector.predict_frame(str(files / "test")).sort_values("score", ignore_index=True)
    headers = [i for i, row in enumerate(page.rows) if row[1:] == ["1", "2", "3", "most normal"]]
    assert [page.rows[i][0] for i in headers] == ["layer", "member"]
    n_members = len(detector.scorer_.members_)
    n_layers = len(detector.encoder_.layer_slices_)
    for start, count in zip(headers, (n_layers, n_members), strict=True):
        rows = page.rows[start + 1 :][:count]
        values = np.array([row[1:] for row in rows], dtype=float)
        expected = [*-frame.score[:3], -frame.score[7:].mean()]
        np.testing.assert_allclose(values.sum(axis=0), expected, atol=0.01 * count)
    bars = [e["style"] for e in page.all("td", **{"class": "bar"})]
    assert max(float(re.search(r"([\d.]+)%", bar)[1]) for bar in bars) == 100


def test_counts_and_settings(page, detector):
    facts = page.facts
    assert facts["Samples"] == "10" and facts["Training samples"] == "20"
    assert facts["Threshold"] == f"{detector.offset_:.4g}"
    assert facts["Contamination"].startswith("5 %")
    settings = {row[0]: row[1] for row in page.rows if len(row) == 2}
    assert settings["encoder__max_epochs"] == "1" and settings["random_state"] == "0"
    assert settings["image_size"] == "16" and settings["encoder__random_state"] == "None"
    assert "encoder__batch_size" not in settings and "memory" not in settings
    assert f"random_state={detector.encoder_.random_state}" in settings["encoder_"]
    assert settings["scorer_"] == "FeatureEnsemble(scorers='all')"
    assert re.search(
        r"skanomaly \S+, Python 3\.\S+, numpy \d\S+, torch \d\S+, scikit-learn \d", page.source
    )


def test_agreement_with_labels(shifted, table, path):
    X, y = shifted
    detector = NeighborDistance().fit(table)
    write_report(detector, X, path, y=pd.Series(y))
    page, scores, flags = Page(path), detector.score_samples(X), detector.predict(X)
    facts = page.facts
    assert facts["AUROC"] == f"{roc_auc_score(y, scores):.4f}"
    assert facts["Average precision"] == f"{average_precision_score(y == -1, -scores):.4f}"
    for name, score in ("Precision", precision_score), ("Recall", recall_score):
        assert facts[name] == f"{100 * score(y, flags, pos_label=-1):.3g} % at the threshold"
    assert facts["False-positive rate"].startswith(f"{100 * (flags[y == 1] == -1).mean():.3g} %")
    roc = curve_points(page, 1)
    assert auc(*roc.T) == pytest.approx(roc_auc_score(y, scores), abs=0.01)
    assert roc[0].tolist() == [0, 0] and roc[-1].tolist() == [1, 1]
    recall, precision = curve_points(page, 2).T
    assert precision[recall == 1].min() == pytest.approx((y == -1).mean(), abs=1e-3)
    adjusted = false_discovery_control(detector.p_values(X))
    for rate in (0.05, 0.1):
        kept = adjusted <= rate
        assert [f"{100 * rate:g} %", str(kept.sum()), str((y[kept] == 1).sum())] in page.rows
    assert (adjusted <= 0.1).any()


def curve_points(page, figure):
    """Corners of the first curve of a figure, upwards."""
    curves = page.all("polyline", **{"class": "curve-1"})
    points = curves[figure - 1]["points"].split()
    return np.array([point.split(",") for point in points], dtype=float) * [1, -1] + [0, 1]


@pytest.mark.parametrize("label", [1, -1])
def test_labels_that_are_all_alike_have_no_curve(label, table, path):
    write_report(NeighborDistance().fit(table), table, path, y=np.full(60, label))
    facts = Page(path).facts
    assert "AUROC" not in facts and ("Recall" in facts) == (label == -1)


def test_table_is_listed_by_its_index(table, path):
    X = pd.DataFrame(table, columns=list("abcde"))
    detector = FeatureEnsemble(groups={"left": [0, 1], "right": [2, 3, 4]}).fit(X)
    queries = X.set_index("row <" + X.index.astype(str) + ">") + 1e-2 * X.index.to_numpy()[:, None]
    write_report(detector, queries, path, n_images=2, title="<i>T&C</i>")
    page = Page(path)
    scores = pd.Series(detector.score_samples(queries), queries.index).sort_values()
    explained = detector.explain(queries.loc[scores.index[:1]])
    best = np.argsort(-explained.contributions[0])[:3]
    named = [f"{explained.members[i]} {explained.contributions[0, i]:.2f}" for i in best]
    listed = [row for row in page.rows if row[1:2] and row[1].startswith("row <")]
    assert [row[1] for row in listed] == [*scores.index[:2], *scores.index[:-3:-1]]
    assert listed[0][2] == f"{scores.iloc[0]:.4g}" and listed[0][-1] == ", ".join(named)
    assert page.texts("h1") == page.texts("title") == ["<i>T&C</i>"] and not page.all("i")
    assert not page.all("img")


def test_few_samples_are_in_one_list_only(table, path):
    write_report(NeighborDistance().fit(table), table[:5] + 1, path)
    listed = [row for row in Page(path).rows if row[0].isdigit()]
    assert [row[0] for row in listed] == ["1", "2", "3", "1", "2"]
    assert sorted(row[1] for row in listed) == list("01234")
    write_report(NeighborDistance().fit(table), table[:1] + 1, path)
    assert "Most normal" not in path.read_text()


@pytest.mark.filterwarnings("ignore:p-values are too small after a fit with trim")
@pytest.mark.parametrize("detector", make_detectors(), ids=identify)
def test_every_detector_has_a_report(detector, table, path):
    write_report(detector.fit(table), table + 0.1, path, n_images=3)
    page = Page(path)
    assert len([row for row in page.rows if row[0].isdigit() and len(row) > 3]) >= 6
    assert ("too small" in page.source) == detector._is_trimmed
    assert ("Contributions" in page.texts("h2")) == (
        hasattr(detector, "explain") and len(detector.explain(table[:1]).members) > 1
    )
    has_nearest = "nearest" in detector.predict_frame(table + 0.1)
    assert ("Nearest" in page.texts("th")) == has_nearest


def test_images_without_heatmaps_or_files(images, path):
    detector = DUMDetector(SelfSupervisedEncoder(max_epochs=1), **SHORT, random_state=0)
    write_report(detector.fit(images), 255 - images, path, n_images=2)
    page = Page(path)
    assert [p.size for p in page.pictures()] == [(12, 12)] * 4
    assert "Contributions" not in page.texts("h2") and "radians" not in page.source


def test_blocks_and_patches(images, rng, path):
    blocks = {"a": rng.normal(size=(60, 3)) + 3, "b": rng.normal(size=(60, 4)) + 3}
    write_report(FeatureEnsemble("all").fit(blocks), blocks, path)
    assert {"a", "b"} < {row[0] for row in Page(path).rows}
    encoder = SelfSupervisedEncoder(max_epochs=0)
    detector = NSADetector(encoder, PatchCosine(), random_state=0).fit(images)
    write_report(detector, images.astype(np.float32)[:, :, :, None] / 255, path, n_images=2)
    page = Page(path)
    assert len(page.pictures()) == 8 and "Contributions" not in page.texts("h2")
    assert len([text for text in page.texts("p") if "nearest normal: training sample" in text]) == 4


def test_training_image_that_is_gone_is_named(files, detector, tmp_path, path):
    moved = tmp_path / "gone.png"
    training_paths = detector.training_paths_
    try:
        detector.training_paths_ = [str(moved)] * 20
        write_report(detector, str(files / "test"), path, n_images=1)
    finally:
        detector.training_paths_ = training_paths
    page = Page(path)
    assert len(page.pictures()) == 4 and "gone.png" in page.source


def test_thumbnails_are_small():
    image = np.random.default_rng(0).uniform(size=(300, 600, 3))
    picture = thumbnail(image)
    assert picture.size == (256, 128)
    heatmap = np.zeros((300, 600))
    heatmap[:, 300:] = 1
    shown = np.asarray(overlay(thumbnail(np.zeros((300, 600))), heatmap, 0, 1)).astype(int)
    assert (shown[:, 200:].mean(axis=(0, 1)) > shown[:, :50].mean(axis=(0, 1)) - [0, 0, 30]).all()
    assert shown[:, 200:, 1].mean() > shown[:, :50, 1].mean() + 50


def test_histogram_ends_where_few_bins_would_be_left():
    rng = np.random.default_rng(0)
    training, scores = rng.normal(size=500), np.append(rng.normal(size=99), -1e6)
    figure = histogram({"training": training, "scores": scores}, -1.5)
    assert figure.is_clipped
    in_bins = {y for _, y in figure.curves[0].points}
    assert len(in_bins) > 3  # of the training samples, which are not all in one
    assert float(figure.x_ticks[0][1]) > -100
    assert not histogram({"training": training, "scores": training}, -1.5).is_clipped
    constant = histogram({"training": np.ones(9), "scores": np.ones(3)}, 1.0)
    assert constant.mark[0] == 0.5


def test_trim_is_said(table, path):
    with pytest.warns(UserWarning, match="too small after a fit with trim"):
        write_report(MahalanobisCosine(trim=0.1).fit(table), table, path)
    assert "These p-values are too small" in path.read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"y": [1, -1]}, r"y has shape \(2,\), but X has 60 samples; pass one label for each"),
        ({"y": np.arange(60) % 2}, r"y has the label 0; pass \+1 for normal samples and -1"),
        ({"y": ["good"] * 60}, "y has the label 'good'"),
        ({"n_images": 0}, "n_images=0; pass an int of at least 1"),
        ({"n_images": 2.5}, "n_images=2.5"),
        ({"X": np.empty((0, 5))}, "X has no samples"),
        ({"X": []}, "X has no samples"),
        ({"X": np.ones((3, 4))}, "4 features"),
    ],
    ids=str,
)
def test_bad_input_leaves_no_file(options, message, table, tmp_path, path):
    options = {"X": table, **options}
    with pytest.raises(ValueError, match=message):
        write_report(NeighborDistance().fit(table), path=path, **options)
    assert not list(tmp_path.iterdir())


def test_detector_of_another_package_is_refused(table, path):
    from sklearn.ensemble import IsolationForest

    with pytest.raises(TypeError, match="detector is IsolationForest; pass a fitted outlier"):
        write_report(IsolationForest(), table, path)


def test_failure_keeps_the_report_before(table, tmp_path, path, monkeypatch):
    detector = CenterCosine().fit(table)
    path.write_text("before")

    def stop(self, X):
        raise KeyboardInterrupt

    monkeypatch.setattr(CenterCosine, "score_samples", stop)
    with pytest.raises(KeyboardInterrupt):
        write_report(detector, table, path)
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("place", "error"),
    [
        ("missing/report.html", FileNotFoundError),
        ("file/report.html", NotADirectoryError),
        ("", IsADirectoryError),
    ],
)
def test_path_that_cannot_be_written(place, error, table, tmp_path, monkeypatch):
    detector = CenterCosine().fit(table)
    (tmp_path / "file").touch()
    monkeypatch.setattr(CenterCosine, "score_samples", None)  # would fail: nothing is computed
    with pytest.raises(error, match="the report cannot be written") as raised:
        write_report(detector, table, tmp_path / place)
    assert raised.value.filename == str(tmp_path / place)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_names_that_are_no_text(images, path):
    detector = NSADetector(SelfSupervisedEncoder(max_epochs=0), random_state=0).fit(images)
    named = Images(images, [f"a\udcff{i}.png" for i in range(24)])
    write_report(detector, named, path, n_images=1)
    assert "a\\udcff" in path.read_text()
