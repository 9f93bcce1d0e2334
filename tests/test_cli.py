"""The commands, called in this process as they are called in a shell."""

import errno
import html.parser
import io
import json
import os
import sys

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torchvision.models import mobilenet_v3_small

import skanomaly
from skanomaly import MahalanobisCosine, NSADetector, PatchCosine, SelfSupervisedEncoder
from skanomaly.cli import _watch, main
from skanomaly.cli._models import detector_of, load_model


def save_images(folder, images, suffix=".png"):
    folder.mkdir(parents=True, exist_ok=True)
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{i:02d}{suffix}")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with models, images, tables, and files that are none of them."""
    home = tmp_path_factory.mktemp("cli")
    rng = np.random.default_rng(0)
    images = rng.integers(0, 60, (24, 12, 12), dtype=np.uint8)
    images[:, 4:8, 4:8] += 180
    save_images(home / "train", images)
    odd = images[:3].copy()
    odd[1] = 255 - odd[1]
    save_images(home / "test" / "good", images[20:] ^ 3)
    save_images(home / "test" / "odd", odd[1:2])
    save_images(home / "large", images[:4].repeat(2, axis=1), ".jpg")
    save_images(home / "colour", np.stack([images[:3]] * 2 + [images[3:6]], axis=-1))
    (home / "no_images").mkdir()
    (home / "no_images" / "notes.txt").write_text("none")
    save_images(home / "damaged", images[:5])
    content = (home / "large" / "00.jpg").read_bytes()
    (home / "damaged" / "cut.jpg").write_bytes(content[:-20])
    (home / "damaged" / "text.png").write_text("no image")
    (home / "damaged" / "empty.bmp").write_bytes(b"")
    (home / "all_damaged").mkdir()
    (home / "all_damaged" / "text.png").write_text("no image")
    np.save(home / "images.npy", images)
    local = NSADetector(
        SelfSupervisedEncoder(max_epochs=1, random_state=0), PatchCosine(), image_size=12
    )
    joblib.dump(local.fit(home / "train"), home / "images.model")

    table = pd.DataFrame(rng.normal(size=(60, 3)) + 5, columns=["a", "b", "c"])
    table.to_csv(home / "table.csv", index=False)
    table.iloc[:5, ::-1].to_csv(home / "reordered.csv", index=False)
    table.iloc[:5].assign(id=range(5)).to_csv(home / "extra.csv", index=False)
    table.iloc[:5].rename(columns={"b": "bb"}).to_csv(home / "missing.csv", index=False)
    table.iloc[:5].to_csv(home / "with_index.csv")
    table.iloc[:5].to_csv(home / "semicolons.csv", index=False, sep=";")
    table.iloc[:0].to_csv(home / "no_rows.csv", index=False)
    table.iloc[:5].assign(b=list("vwxyz")).to_csv(home / "strings.csv", index=False)
    table.iloc[:5].assign(b=[1, np.nan, 2, 3, 4]).to_csv(home / "gaps.csv", index=False)
    (home / "empty.csv").write_text("")
    (home / "binary.csv").write_bytes(b"\xff\x81\n")
    (home / "ragged.csv").write_text("a,b\n1,2\n3,4,5,6\n")
    (home / "no.parquet").write_bytes(b"PAR1 it is not")
    joblib.dump(NSADetector().fit(table), home / "table.model")
    scaled = make_pipeline(StandardScaler(), NSADetector()).fit(table)
    joblib.dump(scaled, home / "pipeline.model")

    joblib.dump(PCA().fit(table), home / "pca.model")
    joblib.dump(MahalanobisCosine(), home / "unfitted.model")
    (home / "text.model").write_text("no model")
    (home / "empty.model").write_bytes(b"")
    content = (home / "table.model").read_bytes()
    (home / "cut.model").write_bytes(content[: len(content) // 2])
    return home


@pytest.fixture
def work(home, tmp_path, monkeypatch):
    """An empty folder to write to; names in arguments are of files in `home`."""
    for item in home.iterdir():
        (tmp_path / item.name).symlink_to(item)
    monkeypatch.chdir(tmp_path)
    before = set(os.listdir())
    yield tmp_path
    assert not [name for name in os.listdir() if name.startswith(".")], "left half-written"
    assert before <= set(os.listdir())


def run(command, expected=0):
    assert main(command.split()) == expected


def read(path):
    return pd.read_csv(path)


# what becomes of mistakes: the command, and the message

WEIGHTS = "--pretrained mobilenet_v3_small --weights weights.pt"
MISTAKES = [
    # sources
    ("fit nowhere -o m", "'nowhere' does not exist; pass a folder of images or a CSV file"),
    ("fit nowhere.csv -o m", "'nowhere.csv' does not exist"),
    ("fit *.gif -o m", "'*.gif' matches no file"),
    ("fit no_images -o m", "the folder 'no_images' has no images (1 other files)"),
    ("fit damaged -o m", "3 of 8 images cannot be read: "),
    ("fit damaged -o m", "cut.jpg (image file is truncated"),
    ("fit damaged -o m", "text.png (it is no image that Pillow knows). Remove them, or pass --on"),
    ("fit damaged -o m", "empty.bmp (the file is empty); "),
    ("fit all_damaged -o m --on-error skip", "1 of 1 images cannot be read"),
    ("fit train/00.png -o m --epochs 1", "Found 1 sample(s), a minimum of 2"),
    ("fit text.model -o m", "1 of 1 images cannot be read"),
    # tables
    ("fit empty.csv -o m", "empty.csv cannot be read as a table: No columns to parse"),
    ("fit no_rows.csv -o m", "no_rows.csv has no rows"),
    ("fit binary.csv -o m", "binary.csv cannot be read as a table: 'utf-8' codec"),
    ("fit ragged.csv -o m", "ragged.csv cannot be read as a table: Error tokenizing data"),
    ("fit no.parquet -o m", "parquet"),
    ("fit semicolons.csv -o m", "has one column, 'a;b;c'; separate columns by commas"),
    ("score table.model missing.csv", "missing.csv lacks the column 'b', which the model was"),
    ("score table.model missing.csv", "it has the column 'bb' instead"),
    ("score table.model strings.csv", "column 'b' of X holds strings, such as 'v' in row 0"),
    ("score table.model strings.csv", "pass numbers, or fit on a table with such columns"),
    ("score table.model gaps.csv", "row 1 of column 'b' is nan"),
    ("score table.model gaps.csv", "drop such samples or fit on a table with gaps"),
    ("score table.model empty.csv", "empty.csv cannot be read as a table"),
    ("score pipeline.model missing.csv", "lacks the column 'b'"),
    # models
    ("score nowhere.model train", "nowhere.model: No such file or directory"),
    ("score train train", "train: Is a directory"),
    ("score text.model train", "text.model is no model, or it is damaged"),
    ("score empty.model train", "empty.model is no model, or it is damaged"),
    ("score cut.model table.csv", "cut.model is no model, or it is damaged"),
    ("score pca.model table.csv", "pca.model holds PCA, no detector of skanomaly"),
    ("score unfitted.model table.csv", "holds a detector that is not fitted"),
    ("info pca.model", "pca.model holds PCA"),
    ("info nowhere.model", "nowhere.model: No such file"),
    ("watch text.model train", "text.model is no model"),
    ("report text.model train -o r.html", "text.model is no model"),
    # models and sources that do not fit
    ("score images.model table.csv", "fitted on images, but table.csv is a table; pass a folder"),
    ("score table.model train", "fitted on a table, but train is images; pass a .csv"),
    ("report pipeline.model train -o r.html", "fitted on a table, but train is images"),
    ("watch table.model train", "table.model was fitted on a table, but watch scores images"),
    ("watch images.model table.csv", "'table.csv' is no folder"),
    ("score images.model colour", "with 3 channel(s), but NSADetector was fitted on"),
    ("score images.model damaged", "3 of 8 images cannot be read"),
    ("report images.model damaged -o r.html", "3 of 8 images cannot be read"),
    # outputs
    ("fit train -o nowhere/m", "nowhere/m: cannot be written, since its folder does not exist"),
    ("fit train -o train", "train: is a folder; pass the name of a file"),
    ("score images.model test -o nowhere/s.csv", "its folder does not exist"),
    ("report images.model test -o nowhere/r.html", "its folder does not exist"),
    ("score images.model test --heatmaps train", "train: exists; pass a folder that is new or"),
    ("score images.model test --copy-worst 3 table.csv", "exists; pass a folder that is new"),
    ("score images.model test --heatmaps test/maps", "where its images would be scored the next"),
    ("score images.model images.npy --heatmaps maps", "need files; images.npy is an array"),
    # labels
    ("report images.model train -o r.html --labels-from-folders", "none of the images in train"),
    ("report images.model test/good -o r.html --labels-from-folders", "none of the images in"),
    # networks
    ("fit train -o m --pretrained resnet19", "backbone='resnet19' is none of torchvision's"),
    ("fit train -o m --pretrained resnet18 --weights nowhere.pt", "'nowhere.pt' does not exist"),
    (
        "fit train -o m --pretrained resnet18 --weights text.model",
        "'text.model' is no state dict of",
    ),
]


@pytest.mark.parametrize(("command", "message"), MISTAKES, ids=lambda text: text[:60])
def test_mistake(work, capsys, command, message):
    run(command, expected=1)
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert message in lines[-1] and lines[-1].startswith("skanomaly: error: ")
    assert "Traceback" not in err and "on_error=" not in err and "image_size" not in err
    assert not any("error" in line for line in lines[:-1])
    assert not out or command.startswith("watch")
    assert not {"m", "r.html", "maps"} & set(os.listdir())


USAGE = [
    ("", "required: COMMAND"),
    ("train", "invalid choice: 'train'"),
    ("fit train", "required: -o/--output"),
    ("fit train -o m --minutes 0", "argument --minutes: '0' is not a number above 0"),
    ("fit train -o m --minutes soon", "argument --minutes: 'soon' is not a number above 0"),
    ("fit train -o m --epochs 1.5", "argument --epochs: '1.5' is not a whole number above 0"),
    (
        "fit train -o m --image-size 7",
        "--image-size: '7' is not a whole number of at least 8",
    ),
    ("fit train -o m --contamination 0.6", "'0.6' is not above 0 and at most 0.5, or auto"),
    ("fit train -o m --contamination nan", "'nan' is not above 0 and at most 0.5, or auto"),
    ("fit train -o m --seed -1", "--seed"),
    ("fit train -o m --resize fit", "invalid choice: 'fit'"),
    ("fit train -o m --on-error ignore", "invalid choice: 'ignore'"),
    ("fit train -o m --weights w.pt", "--weights are those of --pretrained NAME"),
    ("fit train -o m --pretrained resnet18 --minutes 3", "--pretrained trains nothing"),
    ("fit table.csv -o m --local", "--local is for images, but table.csv is a table"),
    ("fit table.csv -o m --image-size 8", "--image-size is for images"),
    ("score images.model", "required: FOLDER_OR_CSV"),
    ("score images.model test --copy-worst 3", "expected 2 arguments"),
    ("score images.model test --copy-worst few w", "'few' is not a whole number above 0"),
    ("score images.model test --copy-worst 0 w", "'0' is not a whole number above 0"),
    ("score images.model test --copy-worst 3 w --heatmaps w", "name the same folder"),
    ("score table.model table.csv --heatmaps maps", "--copy-worst and --heatmaps need images"),
    ("report images.model test", "required: -o/--output"),
    ("report images.model test/*/*.png -o r.html --labels-from-folders", "needs a folder"),
    ("watch images.model test --interval 0", "--interval: '0' is not a number above 0"),
]


@pytest.mark.parametrize(("command", "message"), USAGE, ids=lambda text: text[:60])
def test_wrong_usage(work, capsys, command, message):
    with pytest.raises(SystemExit) as ended:
        main(command.split())
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    assert message in err and err.startswith("usage: skanomaly") and not out


@pytest.mark.parametrize("command", ["", "fit", "score", "report", "info", "watch"])
def test_help(capsys, command):
    with pytest.raises(SystemExit) as ended:
        main([*command.split(), "--help"])
    assert ended.value.code == 0
    out, err = capsys.readouterr()
    assert f"usage: skanomaly {command}".strip() in out and "  skanomaly " in out and not err
    assert not command or "load only such models from people you trust" in out
    assert all(len(line) <= 100 for line in out.splitlines())


def test_version(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"skanomaly {skanomaly.__version__}\n"


def test_traceback_is_shown_when_asked_for(work, capsys):
    run("fit no_images -o m --traceback", expected=1)
    err = capsys.readouterr().err
    assert "Traceback" in err and err.splitlines()[-1].startswith("skanomaly: error: the folder")


def test_an_error_of_ours_is_not_hidden(work, monkeypatch):
    monkeypatch.setattr("skanomaly.cli._info._describe", lambda *_: {}["a bug"])
    with pytest.raises(KeyError, match="a bug"):
        main(["info", "table.model"])


# images


def test_images_from_fit_to_scores(work, capsys):
    run("fit train -o new.model --epochs 2 --contamination 0.1 --seed 3")
    out, err = capsys.readouterr()
    assert not out and "train: 24 gray images, as 12 x 12 pixels" in err
    assert "trained for 2 epochs, to a loss of" in err and "new.model written after" in err
    detector = skanomaly.load("new.model")
    assert detector.image_size == (12, 12) and detector.contamination == 0.1
    again = NSADetector(SelfSupervisedEncoder(max_epochs=2), contamination=0.1, random_state=3)
    expected = again.fit("train").predict_frame("test")
    run("score new.model test -o scores.csv")
    assert "5 scores," in capsys.readouterr().err
    pd.testing.assert_frame_equal(read("scores.csv"), expected)
    run("score new.model test")
    out, err = capsys.readouterr()
    pd.testing.assert_frame_equal(pd.read_csv(io.StringIO(out)), expected)
    assert err.splitlines()[-1].endswith("outliers")


def test_images_of_other_sizes_are_resized_as_in_fit(work, capsys):
    run("fit large -o m.model --epochs 1 --image-size 16 --resize crop")
    detector = skanomaly.load("m.model")
    assert detector.sample_shape_ == (1, 16, 16) and detector.resize == "crop"
    assert "few" not in capsys.readouterr().err
    run("score m.model train -o scores.csv")
    assert len(read("scores.csv")) == 24


@pytest.mark.parametrize(
    ("options", "largest"), [("--epochs 1", 64), (WEIGHTS, 224)], ids=["compact", "pretrained"]
)
def test_size_is_chosen_and_named(work, capsys, options, largest):
    torch.save(mobilenet_v3_small().state_dict(), "weights.pt")
    save_images(work / "mixed", [np.arange(24 * w, dtype=np.uint8).reshape(24, w) for w in (9, 30)])
    run(f"fit mixed -o m {options}")
    detector = skanomaly.load("m")
    assert detector.image_size == largest and detector.sample_shape_ == (1, largest, largest)
    assert f"mixed: 2 sizes, resized to {largest} pixels" in capsys.readouterr().err


def test_large_images_of_one_size_are_reduced(work, capsys):
    save_images(work / "wide", np.arange(3 * 20 * 70, dtype=np.uint8).reshape(3, 20, 70))
    run("fit wide -o m --epochs 1")
    assert skanomaly.load("m").image_size == 64
    assert "wide: larger images, resized to 64 pixels" in capsys.readouterr().err


def test_local_scores_of_a_pretrained_network(work, capsys):
    torch.save(mobilenet_v3_small().state_dict(), "weights.pt")
    run(f"fit train -o m --local {WEIGHTS} --image-size 32")
    detector = skanomaly.load("m")
    assert isinstance(detector.scorer_, PatchCosine) and "hint" not in capsys.readouterr().err
    run("fit train -o m --local --epochs 1")
    assert "hint: for small defects --pretrained resnet18 usually" in capsys.readouterr().err
    run("fit colour -o m --epochs 1")
    assert "hint: for 3 photographs --pretrained resnet18" in capsys.readouterr().err


def test_minutes_limit_the_training(work):
    run("fit train -o m --minutes 0.001")
    encoder = skanomaly.load("m").encoder
    assert encoder.max_epochs is None and encoder.max_time == pytest.approx(0.06)
    run("fit train -o m --minutes 5 --epochs 1")
    assert len(skanomaly.load("m").encoder_.history_) == 1


def test_skipped_files_are_named(work, capsys):
    run("fit damaged -o m --epochs 1 --on-error skip")
    err = capsys.readouterr().err.splitlines()
    (warning,) = [line for line in err if "warning: 3 of 8 images cannot be read" in line]
    assert all(name in warning for name in ("cut.jpg", "text.png", "empty.bmp"))
    run("score images.model damaged -o s.csv --on-error skip")
    assert [os.path.basename(path) for path in read("s.csv")["path"]] == [
        f"{i:02d}.png" for i in range(5)
    ]
    assert "warning: 3 of 8 images" in capsys.readouterr().err


def test_worst_are_copied_in_their_order(work, capsys):
    run("score images.model test -o s.csv --copy-worst 3 worst")
    scores = read("s.csv").sort_values("score")
    expected = [
        f"{rank}_{os.path.basename(path)}" for rank, path in enumerate(scores["path"][:3], start=1)
    ]
    assert sorted(os.listdir("worst")) == expected
    with open(f"worst/{expected[0]}", "rb") as copy, open(scores["path"].iloc[0], "rb") as file:
        assert copy.read() == file.read()
    assert "worst has copies of the 3 most anomalous" in capsys.readouterr().err


@pytest.mark.parametrize("source", ["test", "test/*/*.png"])
def test_heatmaps(work, source):
    (work / "maps").mkdir()  # an empty folder will do
    run(f"score images.model {source} -o s.csv --heatmaps maps")
    found = sorted(str(path.relative_to(work / "maps")) for path in (work / "maps").rglob("*.png"))
    assert found == [os.path.join("good", f"0{i}.png.png") for i in range(4)] + ["odd/00.png.png"]
    maps = {name: np.asarray(Image.open(f"maps/{name}")).astype(float) for name in found}
    assert {image.shape for image in maps.values()} == {(12, 12, 3)}
    explained = joblib.load("images.model").explain("test").heatmaps
    place = np.unravel_index(np.argmax(explained), explained.shape)
    # the largest angle is yellow, over gray
    assert maps[found[place[0]]][place[1:]] @ [0.5, 0.5, -1] > 80


def test_models_without_heatmaps_say_so(work, capsys):
    flat = NSADetector(FlatEncoder(), MahalanobisCosine(), image_size=12)
    joblib.dump(flat.fit("train"), "flat.model")
    run("score flat.model test -o s.csv --heatmaps maps", expected=1)
    assert "this NSADetector has no heatmaps" in capsys.readouterr().err
    assert not os.path.exists("maps")


class FlatEncoder(PCA):
    """Scores images without a network."""

    def fit(self, X, y=None):
        return super().fit(X.reshape(len(X), -1))

    def transform(self, X):
        return super().transform(X.reshape(len(X), -1))


# tables


def test_columns_are_found_by_their_names(work, capsys):
    run("fit table.csv -o new.model --contamination 0.2")
    assert "table.csv: 60 rows of 3 columns" in capsys.readouterr().err
    run("score new.model table.csv -o all.csv")
    expected = NSADetector(contamination=0.2).fit(read("table.csv"))
    assert_allclose(read("all.csv")["score"], expected.training_scores_)
    assert (read("all.csv")["label"] == -1).sum() == 12
    assert read("all.csv")["row"].tolist() == list(range(60))
    capsys.readouterr()
    run("score new.model reordered.csv -o reordered_scores.csv")
    assert "warning" not in capsys.readouterr().err
    assert_allclose(read("reordered_scores.csv")["score"], expected.training_scores_[:5])


@pytest.mark.parametrize(
    ("source", "warning"),
    [
        ("extra.csv", "extra.csv: the model was not fitted on the column 'id', which is left out"),
        ("with_index.csv", "with_index.csv: the first column has no name and is left out"),
    ],
)
def test_other_columns_are_left_out(work, capsys, source, warning):
    run(f"score table.model {source} -o s.csv")
    assert f"skanomaly: warning: {warning}\n" in capsys.readouterr().err
    assert_allclose(read("s.csv")["score"], joblib.load("table.model").training_scores_[:5])


def test_strings_dates_and_gaps_are_encoded(work, capsys, rng):
    pytest.importorskip("skrub")
    days = pd.date_range("2026-01-01", periods=60).astype(str)
    mixed = pd.DataFrame({"city": ["Oslo", "Rome"] * 30, "day": days, "x": rng.normal(size=60)})
    mixed.loc[3, "x"] = np.nan
    mixed.to_csv("mixed.csv", index=False)
    run("fit mixed.csv -o m --contamination 0.1")
    assert "columns of strings or dates, or with gaps, are encoded" in capsys.readouterr().err
    odd = mixed.assign(city=["Bern", *mixed["city"][1:]])
    odd[["x", "day", "city"]].to_csv("odd.csv", index=False)
    run("score m odd.csv -o s.csv")
    scores = read("s.csv")
    expected = joblib.load("m")[-1].training_scores_
    assert scores.loc[0, "label"] == -1 and scores.loc[0, "score"] < expected[0] - 0.5
    assert_allclose(scores["score"][1:], expected[1:])
    run("report m odd.csv -o r.html")
    run("info m")
    out = capsys.readouterr().out
    assert "city, day, x" in out and "TableVectorizer" in out


def test_pipelines_score_what_they_make_of_a_table(work):
    run("score pipeline.model reordered.csv -o s.csv")
    model = joblib.load("pipeline.model")
    assert_allclose(read("s.csv")["score"], model[-1].training_scores_[:5])
    run("report pipeline.model table.csv -o r.html")
    assert "60 samples" in (work / "r.html").read_text()


# reports and descriptions


PAGES = "plain.html", "labelled.html"


class Text(html.parser.HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.words = ""
        self.feed(page)

    def handle_data(self, data):
        self.words += data


def test_report(work, capsys):
    run(f"report images.model test -o {PAGES[0]}")
    run(f"report images.model test -o {PAGES[1]} --labels-from-folders")
    assert "labelled.html written" in capsys.readouterr().err
    plain, labelled = (Text((work / name).read_text()).words for name in PAGES)
    assert "5 samples" in plain and "ROC" in labelled and "ROC" not in plain


def test_labels_are_the_names_of_folders_at_any_depth(work, monkeypatch):
    given = {}
    monkeypatch.setattr(skanomaly.report, "write_report", lambda *_, y: given.update(y=y))
    image = Image.new("L", (12, 12))
    for folder in ("NORMAL/a", "b/good", "bad/c"):
        (work / "deep" / folder).mkdir(parents=True)
        image.save(work / "deep" / folder / "x.png")
    run("report images.model deep -o r.html --labels-from-folders")
    assert given["y"] == [1, 1, -1]


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("images.model", ["24", "gray, 12 x 12 pixels", "scorer=PatchCosine()", "pad"]),
        ("table.model", ["60", "a, b, c", "NSADetector()", "5 % of the training samples"]),
        ("pipeline.model", ["60", "a, b, c", "StandardScaler()"]),
    ],
)
def test_info(work, capsys, model, expected):
    run(f"info {model}")
    out, err = capsys.readouterr()
    assert not err and all(text in out for text in [model, *expected])
    detector = detector_of(load_model(model))
    assert f"{detector.offset_:.6g}; samples below are outliers" in out
    assert f"torch {torch.__version__}"[:10] in out and "random_state=None" not in out


# interruptions and failures


@pytest.mark.parametrize(
    ("command", "broken"),
    [
        ("fit train -o old --epochs 1", "pathlib.Path.write_bytes"),
        ("fit table.csv -o old", "skanomaly.nsa.NSADetector.fit"),
        ("score images.model test -o old", "pandas.DataFrame.to_csv"),
        ("score images.model test --copy-worst 2 folder", "shutil.copyfile"),
        ("score images.model test --heatmaps folder", "PIL.Image.Image.save"),
        ("report images.model test -o old", "skanomaly.NSADetector.score_samples"),
        ("report images.model test -o old", "os.replace"),
    ],
)
@pytest.mark.parametrize(
    ("failure", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "interrupted; nothing was left half-written"),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "error: No space left on device"),
    ],
    ids=["interrupted", "full"],
)
def test_nothing_is_left_half_written(
    work, monkeypatch, capsys, command, broken, failure, code, message
):
    (work / "old").write_text("as it was")

    def fail(*args, **options):
        for target in args[:2]:
            if isinstance(target, os.PathLike) and ".part" in str(target):
                with open(target, "wb") as file:
                    file.write(b"half")
        raise failure

    monkeypatch.setattr(broken, fail)
    run(command, expected=code)
    assert (work / "old").read_text() == "as it was" and not os.path.exists("folder")
    assert capsys.readouterr().err.splitlines()[-1] == f"skanomaly: {message}"


def test_an_interrupted_training_writes_no_model(work, monkeypatch, capsys):
    """An encoder would keep what it has learned until then."""
    from skanomaly._training._loop import Training

    finish = Training._finish_epoch

    def interrupted(self, *args):
        finish(self, *args)
        raise KeyboardInterrupt

    monkeypatch.setattr(Training, "_finish_epoch", interrupted)
    run("fit train -o m --epochs 3", expected=130)
    assert not os.path.exists("m") and "interrupted" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        "fit train -o m",
        "score images.model test -o m",
        "score images.model test --heatmaps m",
        "report images.model test -o m",
    ],
)
def test_no_permission_is_found_out_first(work, monkeypatch, capsys, command):
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr("skanomaly.images.read_images", None)  # nothing is read
    run(command, expected=1)
    assert "m: cannot be written: no permission for its folder" in capsys.readouterr().err


def test_unreadable_model(work, monkeypatch, capsys):
    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied", "images.model")

    monkeypatch.setattr("builtins.open", refuse)
    run("info images.model", expected=1)
    assert capsys.readouterr().err == "skanomaly: error: images.model: Permission denied\n"


def test_missing_packages_are_named(work, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pandas", None)
    for command in ("fit table.csv -o m", "score images.model test", "watch images.model test"):
        run(command, expected=1)
        assert capsys.readouterr().err == (
            "skanomaly: error: this needs pandas: pip install 'skanomaly[cli]'\n"
        )


# watching


@pytest.fixture
def watched(work, monkeypatch):
    """A folder to watch, and what happens in it at each look, after which Ctrl-C is pressed."""
    (work / "inbox" / "day").mkdir(parents=True)
    events = []

    def sleep(seconds):
        if not events:
            raise KeyboardInterrupt
        events.pop(0)()

    monkeypatch.setattr(_watch.time, "sleep", sleep)
    return events


def copy(name, target, share=1.0):
    def act():
        with open(name, "rb") as file, open(target, "wb") as new:
            content = file.read()
            new.write(content[: int(share * len(content))])

    return act


def nothing():
    pass


def test_watch_scores_new_files_once(work, watched, capsys):
    copy("train/00.png", "inbox/old.png")()
    watched += [copy("test/odd/00.png", "inbox/day/odd.png"), nothing]
    watched += [copy("test/good/00.png", "inbox/good.png"), nothing, nothing]
    run("watch images.model inbox", expected=130)
    out, err = capsys.readouterr()
    header, odd, good = (line.split("\t") for line in out.splitlines())
    assert header == ["path", "score", "p_value", "label"]
    expected = joblib.load("images.model").predict_frame(["test/odd/00.png", "test/good/00.png"])
    assert [odd[0], good[0]] == ["inbox/day/odd.png", "inbox/good.png"]
    assert_allclose(np.array([odd[1:], good[1:]], float), expected.iloc[:, 1:4], rtol=1e-5)
    assert "watching inbox; Ctrl-C ends it" in err and err.splitlines()[-1].endswith("half-written")


def test_watch_waits_for_files_to_be_complete_and_survives_bad_ones(work, watched, capsys):
    copy("train/00.png", "inbox/old.png")()
    watched += [copy("train/01.png", "inbox/slow.png", 0.3), copy("train/01.png", "inbox/slow.png")]
    watched += [nothing, copy("text.model", "inbox/text.png"), nothing, nothing]
    watched += [copy("train/02.png", "inbox/text.png"), nothing, lambda: os.remove("inbox/old.png")]
    watched += [copy("train/00.png", "inbox/old.png"), nothing]
    run("watch images.model inbox --json --existing", expected=130)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    names = [os.path.basename(line["path"]) for line in lines]
    assert names == ["old.png", "slow.png", "text.png", "text.png", "old.png"]
    scores = joblib.load("images.model").training_scores_
    found = [line.get("score") for line in lines]
    assert_allclose([found[i] for i in (0, 1, 3, 4)], scores[[0, 1, 2, 0]])
    assert lines[2]["error"].endswith("text.png (it is no image that Pillow knows)")
    assert set(lines[0]) == {"path", "score", "p_value", "label"}


def test_watch_names_what_cannot_be_read_on_a_line(work, watched, capsys):
    watched += [copy("text.model", "inbox/a.png"), nothing, nothing]
    run("watch images.model inbox", expected=130)
    path, message = capsys.readouterr().out.splitlines()[1].split("\t")
    assert path == "inbox/a.png" and message.startswith("error: 1 of 1 images cannot be read")


def test_watch_ends_when_the_folder_goes(work, watched, capsys):
    watched += [lambda: os.rename("inbox", "gone")]
    run("watch images.model inbox", expected=1)
    assert "error: inbox: No such file or directory" in capsys.readouterr().err
