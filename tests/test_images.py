"""Images from folders, files, arrays and datasets."""

import os
import tracemalloc

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from sklearn.model_selection import cross_val_score
from sklearn.preprocessing import FunctionTransformer
from torchvision.datasets import ImageFolder
from torchvision.transforms.v2 import functional

from skanomaly import (
    CenterCosine,
    FeatureEnsemble,
    Images,
    MahalanobisCosine,
    NeighborDistance,
    NSADetector,
    PatchCosine,
    SelfSupervisedEncoder,
    read_images,
)
from skanomaly._array_api import sample_rows
from skanomaly.images import _read, is_image_source

COLOR = np.random.default_rng(1).integers(0, 256, (3, 10, 12, 3), dtype=np.uint8)
GRAY = COLOR[..., 0].copy()


@pytest.fixture
def folder(tmp_path):
    """Three colour images in two folders, beside files that are no images."""
    for i, name in enumerate(["a/2.png", "b/1.BMP", "a/10.tif"]):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(COLOR[i]).save(path)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / ".hidden").mkdir()
    Image.fromarray(COLOR[0]).save(tmp_path / ".hidden" / "thumbnail.png")
    return tmp_path


def names(images):
    return [os.path.basename(path) for path in images.paths]


def test_folder_is_searched_in_the_order_of_names(folder):
    images = read_images(folder)
    assert names(images) == ["10.tif", "2.png", "1.BMP"]
    assert_array_equal(images.pixels, COLOR[[2, 0, 1]])
    assert images.paths[0] == str(folder / "a" / "10.tif")


def test_links_are_followed_but_not_in_circles(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    Image.fromarray(COLOR[0]).save(other / "linked.png")
    (folder / "c").symlink_to(other)
    (other / "back").symlink_to(folder)
    assert names(read_images(folder)) == ["10.tif", "2.png", "1.BMP", "linked.png"]


class Pairs:
    """A dataset of (image, label)."""

    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        if not 0 <= i < len(self):
            raise IndexError
        return self.images[i], 7


def as_objects(values):
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


@pytest.mark.parametrize(
    "make",
    [
        lambda paths: paths,
        lambda paths: [str(path) for path in paths],
        lambda paths: tuple(paths),
        lambda paths: np.array([str(path) for path in paths]),
        lambda paths: as_objects(paths),
        lambda paths: pd.Series([str(path) for path in paths], index=[5, 3, 9]),
        lambda paths: pl.Series([str(path) for path in paths]),
        lambda paths: [Image.open(path) for path in paths],
        lambda paths: list(COLOR),
        lambda paths: [torch.tensor(image) for image in COLOR],
        lambda paths: [torch.tensor(image).permute(2, 0, 1) for image in COLOR],
        lambda paths: COLOR,
        lambda paths: COLOR.transpose(0, 3, 1, 2),
        lambda paths: torch.tensor(COLOR),
        lambda paths: Images(COLOR),
        lambda paths: Pairs(COLOR),
        lambda paths: torch.utils.data.TensorDataset(torch.tensor(COLOR)),
    ],
)
def test_sources(folder, make):
    paths = [folder / name for name in ("a/2.png", "b/1.BMP", "a/10.tif")]
    assert_array_equal(read_images(make(paths)).pixels, COLOR)


def test_pattern_and_single_file(folder):
    assert names(read_images(f"{folder}/*/*.[pt]*")) == ["10.tif", "2.png"]
    assert names(read_images(folder / "a" / "2.png")) == ["2.png"]


def test_datasets_of_torchvision(folder):
    dataset = ImageFolder(folder)
    images = read_images(dataset)
    assert_array_equal(images.pixels, read_images([path for path, _ in dataset.samples]).pixels)
    assert images.paths is None


def test_npy_files_are_mapped(tmp_path):
    np.save(tmp_path / "images.npy", GRAY)
    images = read_images(tmp_path / "images.npy")
    assert isinstance(images.pixels.base, np.memmap) or isinstance(images.pixels, np.memmap)
    assert_array_equal(images.pixels, GRAY)


def test_is_image_source():
    assert all(map(is_image_source, ["folder", Images(GRAY), Pairs(GRAY), [GRAY[0], GRAY[0][:5]]]))
    tables = [GRAY, list(GRAY), GRAY[0].tolist(), pd.DataFrame({"a": ["x"]}), {"a": GRAY[0]}, []]
    assert not any(map(is_image_source, [*tables, pl.DataFrame({"a": ["x"]}), None, 3]))


def saved(tmp_path, image, name="image.png", **options):
    image.save(tmp_path / name, **options)
    return read_images([tmp_path / name]).pixels[0]


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "webp", "jpg"])
@pytest.mark.parametrize("array", [COLOR[0], GRAY[0]], ids=["color", "gray"])
def test_formats(tmp_path, suffix, array):
    options = {"webp": {"lossless": True}, "jpg": {"quality": 100, "subsampling": 0}}
    found = saved(tmp_path, Image.fromarray(array), f"image.{suffix}", **options.get(suffix, {}))
    if suffix == "webp" and array.ndim == 2:  # which knows colours only
        array = np.repeat(array[..., None], 3, axis=2)
    assert_allclose(found.astype(int), array, atol=8 if suffix == "jpg" else 0)


def test_black_and_white(tmp_path):
    black_and_white = Image.fromarray(GRAY[0]).point(lambda value: 255 * (value > 99), mode="1")
    assert_array_equal(saved(tmp_path, black_and_white), 255 * (GRAY[0] > 99))


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bits(tmp_path, suffix):
    deep = GRAY[0].astype(np.uint16) * 256 + 3
    found = saved(tmp_path, Image.fromarray(deep), f"image.{suffix}")
    assert found.dtype == np.float32
    assert_allclose(found, deep / 65535, rtol=1e-6)


def test_floats_in_tiff(tmp_path):
    values = (GRAY[0] / 255).astype(np.float32)
    assert_array_equal(saved(tmp_path, Image.fromarray(values), "image.tif"), values)


def test_deep_images_make_all_floats(tmp_path):
    deep = np.full((10, 12), 65535, np.uint16)
    Image.fromarray(deep).save(tmp_path / "1.png")
    Image.fromarray(GRAY[0]).save(tmp_path / "2.png")
    pixels = read_images(tmp_path).pixels
    assert_allclose(pixels, np.stack([np.ones((10, 12)), GRAY[0] / 255]), rtol=1e-6)


def test_palettes(tmp_path):
    colors = Image.fromarray(COLOR[0]).quantize(8)
    assert_array_equal(saved(tmp_path, colors), np.asarray(colors.convert("RGB")))
    grays = Image.fromarray(GRAY[0] // 32 * 32).convert("P")
    assert_array_equal(saved(tmp_path, grays), GRAY[0] // 32 * 32)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_pixels_lie_on_white(tmp_path, mode):
    image = Image.fromarray(COLOR[0] if mode == "RGBA" else GRAY[0])
    alpha = np.full((10, 12), 255, np.uint8)
    alpha[:5] = 0
    alpha[5] = 128
    image.putalpha(Image.fromarray(alpha))
    opaque = COLOR[0] if mode == "RGBA" else GRAY[0]
    share = (alpha / 255).reshape(10, 12, *[1] * (opaque.ndim - 2))
    expected = share * opaque + (1 - share) * 255
    assert_allclose(saved(tmp_path, image), expected, atol=1)


def test_other_color_spaces(tmp_path):
    ink = Image.fromarray(COLOR[0]).convert("CMYK")
    found = saved(tmp_path, ink, "image.tif")
    assert_allclose(found, COLOR[0], atol=1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_rotation_of_exif(tmp_path, orientation):
    turned = {  # how a viewer shows an image with this value
        1: GRAY[0],
        2: GRAY[0][:, ::-1],
        3: GRAY[0][::-1, ::-1],
        4: GRAY[0][::-1],
        5: GRAY[0].T,
        6: np.rot90(GRAY[0], -1),
        7: GRAY[0][::-1, ::-1].T,
        8: np.rot90(GRAY[0]),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert_array_equal(saved(tmp_path, Image.fromarray(GRAY[0]), exif=exif), turned)


def test_pictures_of_cameras_with_a_preview(tmp_path):
    first, second = (Image.fromarray(image) for image in GRAY[:2])
    first.save(tmp_path / "1.jpg", "MPO", save_all=True, append_images=[second], quality=100)
    assert_allclose(read_images(tmp_path).pixels[0].astype(int), GRAY[0], atol=8)


@pytest.mark.parametrize("array", [COLOR[0], GRAY[0], (COLOR[0] / 255).astype(np.float32)])
@pytest.mark.parametrize("size", [(5, 6), (20, 31), (7, 12)])
def test_stretch_is_that_of_torchvision(array, size):
    found = read_images([array], image_size=size, resize="stretch").pixels[0]
    tensor = torch.tensor(array.reshape(10, 12, -1)).permute(2, 0, 1)
    expected = functional.resize(tensor, size, antialias=True).permute(1, 2, 0).numpy()
    unit = 255 if array.dtype != np.uint8 else 1
    expected = expected.reshape(found.shape).astype(float)
    assert_allclose(unit * found.astype(float), unit * expected, atol=1.01)


def test_crop_keeps_the_middle():
    image = GRAY[0]  # 10 x 12
    found = read_images([image], image_size=10, resize="crop").pixels[0]
    assert_array_equal(found, image[:, 1:-1])
    found = read_images([image], image_size=(20, 20), resize="crop").pixels[0]
    middle = np.asarray(Image.fromarray(image[:, 1:-1]).resize((20, 20), Image.Resampling.BILINEAR))
    assert_allclose(found[:, 2:-2].astype(int), middle[:, 2:-2], atol=1)


def test_padding_mirrors_the_image():
    found = read_images(COLOR[:1], image_size=12).pixels[0]
    assert_array_equal(found[1:-1], COLOR[0])
    assert_array_equal(found[0], COLOR[0][1])
    assert_array_equal(found[-1], COLOR[0][-2])
    narrow = read_images(GRAY[:1, :2], image_size=12).pixels[0]  # mirrored more than once
    assert_array_equal(narrow, GRAY[0][[1, 0] * 6])


def test_large_jpegs_are_read_at_a_fraction_of_their_size(tmp_path):
    smooth = np.linspace(0, 255, 400 * 600).reshape(400, 600).astype(np.uint8)
    Image.fromarray(smooth).save(tmp_path / "1.jpg", quality=95)
    found = read_images(tmp_path, image_size=(40, 60), resize="stretch").pixels[0]
    expected = np.asarray(Image.fromarray(smooth).resize((60, 40), Image.Resampling.BILINEAR))
    assert_allclose(found.astype(int), expected, atol=3)


def test_gray_images_among_colours():
    mixed = [COLOR[0], GRAY[1]]
    repeated = np.repeat(GRAY[1][..., None], 3, axis=2)
    assert_array_equal(read_images(mixed).pixels, [COLOR[0], repeated])
    assert_array_equal(read_images(GRAY[1:2], channels=3).pixels[0], repeated)
    gray = np.asarray(Image.fromarray(COLOR[0]).convert("L"))
    assert_array_equal(read_images(mixed, channels=1).pixels, [gray, GRAY[1]])
    floats = read_images([(COLOR[0] / 255).astype(np.float32)], channels=1).pixels[0]
    assert_allclose(255 * floats, gray, atol=1)


def test_large_arrays_are_kept_in_a_file(folder, monkeypatch):
    expected = read_images(folder).pixels
    monkeypatch.setattr(_read, "MEMORY_BYTES", 100)
    images = read_images(folder)
    assert isinstance(images.pixels, np.memmap)
    assert_array_equal(images.pixels, expected)


def test_a_full_disk_is_noticed_before(folder, monkeypatch):
    monkeypatch.setattr(_read, "MEMORY_BYTES", 100)
    full = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(_read.shutil, "disk_usage", lambda folder: full)
    with pytest.raises(OSError, match=r"take 1.01e-06 GiB, .* has 9.31e-07 GiB; .* TMPDIR"):
        read_images(folder)


def test_some_images_of_many_are_not_a_copy_of_all():
    """numpy's take would copy an array whose channels are last in memory, such as a mapped file."""
    images = np.zeros((2_000, 40, 40, 3), np.uint8).transpose(0, 3, 1, 2)
    tracemalloc.start()
    some = sample_rows(images, 10)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert some.shape == (10, 3, 40, 40) and peak < images.nbytes / 10


def test_images_are_split_as_arrays_are():
    images = Images(GRAY, ["a", "b", "c"])
    assert len(images) == 3
    assert images.shape == (3, 10, 12)
    assert images[1:].paths == images[np.array([False, True, True])].paths == ["b", "c"]
    some = images[np.array([2, 0])]
    assert some.paths == ["c", "a"]
    assert_array_equal(np.asarray(some), GRAY[[2, 0]])
    assert np.array(images, copy=True) is not images.pixels
    assert np.asarray(images, dtype=np.float32).dtype == np.float32


# what cannot be read -----------------------------------------------------------------------------


def write_bad_files(folder):
    """One good image, and files of many kinds that cannot be read."""
    Image.fromarray(COLOR[0]).save(folder / "good.png")
    whole = (folder / "good.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    Image.fromarray(COLOR[0]).save(folder / "cut.jpg")
    whole = (folder / "cut.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) * 2 // 3])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.jpg").write_text("this is no image")
    (folder / "page.png").write_text("<html>404</html>")
    pages = [Image.fromarray(image) for image in COLOR]
    pages[0].save(folder / "pages.tif", save_all=True, append_images=pages[1:])
    (folder / "circle.png").symlink_to(folder / "circle.png")
    (folder / "gone.png").symlink_to(folder / "nowhere.png")


REASONS = {
    "cut.png": "truncated|broken",
    "cut.jpg": "[Tt]runcated",
    "empty.png": "the file is empty",
    "text.jpg": "no image that Pillow knows",
    "page.png": "no image that Pillow knows",
    "pages.tif": "the file has 3 pages; save each as a file",
    "circle.png": "too many levels of symbolic links",
    "gone.png": "no such file or directory",
}


def test_all_bad_files_are_named_at_once(tmp_path):
    write_bad_files(tmp_path)
    with pytest.raises(ValueError, match=f"{len(REASONS)} of 9 images cannot be read") as caught:
        read_images(tmp_path)
    for name in REASONS:
        assert str(tmp_path / name) in str(caught.value)
    assert "on_error='skip'" in str(caught.value)


@pytest.mark.parametrize("name", REASONS)
def test_reasons(tmp_path, name):
    write_bad_files(tmp_path)
    with pytest.raises(ValueError, match=f"{name} \\((.*{REASONS[name]}.*)\\). Remove them, or"):
        read_images([tmp_path / "good.png", tmp_path / name])


def test_bad_files_are_skipped_and_reported(tmp_path):
    write_bad_files(tmp_path)
    with pytest.warns(UserWarning, match=r"8 of 9 images cannot be read: .*They are skipped"):
        images = read_images(tmp_path, on_error="skip")
    assert names(images) == ["good.png"]
    assert_array_equal(images.pixels, COLOR[:1])
    assert {os.path.basename(path) for path in images.skipped} == set(REASONS)
    assert read_images(images, image_size=5).skipped == images.skipped


def test_images_stay_in_order_when_some_are_skipped(tmp_path):
    for i in range(3):
        Image.fromarray(COLOR[i]).save(tmp_path / f"{i}.png")
    whole = (tmp_path / "1.png").read_bytes()
    (tmp_path / "1.png").write_bytes(whole[: len(whole) // 2])
    with pytest.warns(UserWarning, match="1 of 3 images"):
        images = read_images(tmp_path, on_error="skip")
    assert names(images) == ["0.png", "2.png"]
    assert_array_equal(images.pixels, COLOR[[0, 2]])


def test_decompression_bombs(tmp_path, monkeypatch):
    Image.fromarray(COLOR[0]).save(tmp_path / "1.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    with pytest.raises(ValueError, match=r"1.png \(.*decompression bomb"):
        read_images(tmp_path)


def test_files_without_permission(tmp_path):
    Image.fromarray(COLOR[0]).save(tmp_path / "1.png")
    (tmp_path / "1.png").chmod(0)
    if os.access(tmp_path / "1.png", os.R_OK):
        pytest.skip("the user may read every file")
    with pytest.raises(ValueError, match=r"1.png \(permission denied\)"):
        read_images(tmp_path)


def float_image(value):
    image = GRAY[0] / 255
    image[3, 4] = value
    return [image, image]


BAD_SOURCES = [
    ("nowhere", FileNotFoundError, "'nowhere' does not exist; pass a folder"),
    ("nowhere/*.png", FileNotFoundError, r"'nowhere/\*.png' matches no file"),
    ("nowhere.npy", FileNotFoundError, "nowhere.npy"),
    (["nowhere.png"], ValueError, r"nowhere.png \(no such file or directory\)"),
    (["nowhere.png", 3], TypeError, "the images are arrays and paths; pass one kind"),
    (
        [Image.fromarray(GRAY[0]), GRAY[0]],
        TypeError,
        "the images are PIL images and arrays; pass one kind",
    ),
    ([], ValueError, "Found 0 images in an empty list"),
    (Pairs([]), ValueError, "Found 0 images in an empty Pairs"),
    ({"a": GRAY}, TypeError, "the images are dict; pass a folder"),
    ({"a.png"}, TypeError, "the images are set; pass a folder"),
    (3, TypeError, "the images are int; pass a folder"),
    (None, TypeError, "the images are NoneType"),
    ((path for path in ["a.png"]), TypeError, "the images are generator"),
    ([GRAY[0], GRAY[0][:5]], ValueError, r"2 sizes: 1 of 10 x 12 \(image 0\), 1 of 5 x 12"),
    (
        [GRAY[0][:i] for i in range(1, 9)],
        ValueError,
        r"have 8 sizes: .*, \.\.\.; resize them with the image_size of read_images or NSADetector",
    ),
    ([GRAY[0], "a"[:0] + "b.png"], TypeError, "arrays and paths"),
    ([GRAY[0].astype(np.int64)] * 2, ValueError, r"image 0 \(it has dtype int64; pass uint8"),
    ([GRAY[0].astype(bool)] * 2, ValueError, "it has dtype bool; pass uint8"),
    ([GRAY[0][0], GRAY[0]], ValueError, r"image 0 \(it has shape \(12,\); pass \(height, width\)"),
    ([COLOR[0][..., :2], COLOR[0]], ValueError, r"image 0 \(it has shape \(10, 12, 2\)"),
    ([COLOR[0][:0], COLOR[0]], ValueError, r"image 0 \(it has shape \(0, 12, 3\)"),
    ([COLOR, COLOR[0]], ValueError, r"image 0 \(it has shape \(3, 10, 12, 3\)"),
    (Pairs([{"image": 1}] * 2), ValueError, r"image 0 \(it has dtype object"),
    (Pairs(["a.png"] * 2), ValueError, r"image 0 \(it has dtype <U5"),
]


@pytest.mark.parametrize("source, error, message", BAD_SOURCES)
def test_bad_sources(source, error, message):
    with pytest.raises(error, match=message):
        read_images(source)


def test_folder_without_images(tmp_path):
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(
        ValueError, match=r"has no images \(1 other files\); files that end in .png"
    ):
        read_images(tmp_path)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"image_size": 0}, "image_size=0; pass an int or"),
        ({"image_size": (3, -1)}, r"image_size=\(3, -1\); pass an int or \(height, width\)"),
        ({"image_size": (3, 4, 5)}, "image_size"),
        ({"image_size": (3.0, 4)}, "image_size"),
        ({"resize": "fit"}, "resize='fit'; pass one of"),
        ({"channels": 4}, r"channels=4; pass one of \(None, 1, 3\)"),
        ({"on_error": "ignore"}, "on_error='ignore'; pass one of"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        read_images(GRAY, **options)


# detectors ---------------------------------------------------------------------------------------


@pytest.fixture
def photographs(tmp_path, images):
    """24 gray images as files."""
    for i, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{i:02}.png")
    return tmp_path


def make_detector(**options):
    encoder = SelfSupervisedEncoder(max_epochs=1, layers="last")
    return NSADetector(encoder, MahalanobisCosine(whiten=False), random_state=0, **options)


def test_files_are_scored_as_the_arrays(photographs, images):
    expected = make_detector().fit(images)
    detector = make_detector().fit(photographs)
    assert detector.training_paths_ == sorted(str(path) for path in photographs.iterdir())
    assert expected.training_paths_ is None
    assert_allclose(detector.training_scores_, expected.training_scores_)
    queries = [photographs / "07.png", photographs / "03.png"]
    for method in ("score_samples", "decision_function", "predict", "p_values"):
        found = getattr(detector, method)(queries)
        assert_allclose(found, getattr(expected, method)(images[[7, 3]]))
    assert_allclose(detector.explain(queries).heatmaps, expected.explain(images[[7, 3]]).heatmaps)


def test_encoders_and_other_detectors_take_files(photographs, images):
    encoder = SelfSupervisedEncoder(max_epochs=1, random_state=0).fit(photographs)
    assert_allclose(encoder.transform(str(photographs)), encoder.transform(images))


@pytest.mark.parametrize("resize", ["pad", "crop", "stretch"])
def test_all_images_are_resized(photographs, images, resize):
    detector = make_detector(image_size=(9, 10), resize=resize).fit(photographs)
    assert detector.sample_shape_ == (1, 9, 10)
    same = make_detector().fit(read_images(images, image_size=(9, 10), resize=resize))
    large = np.repeat(images[:2], 2, axis=2)
    mixed = [large[0], images[1]]
    expected = same.score_samples(read_images(mixed, image_size=(9, 10), resize=resize))
    assert_allclose(detector.score_samples(mixed), expected)
    assert_allclose(detector.score_samples(large)[0], expected[0], rtol=1e-4)


def test_gray_files_are_scored_where_colours_were_fitted(images):
    colors = np.stack([images] * 3, axis=-1)
    detector = make_detector().fit(colors)
    pictures = [Image.fromarray(image) for image in images[:3]]
    assert_allclose(detector.score_samples(pictures), detector.training_scores_[:3])
    with pytest.raises(ValueError, match=r"3 channel.*fitted on images of 12 x 12 .* 1 channel"):
        make_detector().fit(images).score_samples([Image.fromarray(colors[0])])


def test_cross_validation_splits_files(photographs):
    paths = sorted(photographs.iterdir())
    y = np.tile([1, 1, 1, -1], 6)
    options = {"cv": 2, "scoring": "roc_auc"}
    scores = cross_val_score(make_detector(), paths, y, **options)
    assert_allclose(cross_val_score(make_detector(), read_images(paths), y, **options), scores)


@pytest.mark.parametrize("image_size, X", [(8, np.eye(5)), (8, pd.DataFrame(np.eye(5)))])
def test_image_size_is_for_images(image_size, X):
    with pytest.raises(ValueError, match="image_size=8 is for images, but X is a table"):
        NSADetector(image_size=image_size).fit(X)


def test_a_fit_on_bad_files_changes_nothing(photographs):
    detector = make_detector().fit(photographs)
    before = vars(detector).copy()
    (photographs / "30.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"30.png \(the file is empty\)"):
        detector.fit(photographs)
    assert vars(detector) == before
    with pytest.raises(ValueError, match=r"30.png \(the file is empty\)"):
        detector.score_samples(photographs)


# frames ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "scorer", [MahalanobisCosine(3), FeatureEnsemble("all"), PatchCosine(max_patches=200)]
)
def test_predict_frame_of_files(photographs, scorer):
    encoder = SelfSupervisedEncoder(max_epochs=1)
    detector = NSADetector(encoder, scorer, random_state=0).fit(photographs)
    queries = sorted(photographs.iterdir())[3:7]
    frame = detector.predict_frame(queries)
    assert list(frame) == ["path", "score", "p_value", "label", "nearest"]
    assert list(frame.path) == [str(path) for path in queries]
    assert_allclose(frame.score, detector.score_samples(queries))
    assert_allclose(frame.p_value, detector.p_values(queries))
    assert_array_equal(frame.label, detector.predict(queries))
    assert set(frame.nearest) <= set(detector.training_paths_)
    assert not (frame.nearest == frame.path).any()  # which is left out


def test_predict_frame_of_an_encoder_without_blocks(images):
    encoder = FunctionTransformer(lambda X: X.reshape(len(X), -1) / 255)
    detector = NSADetector(encoder).fit(images)
    frame = detector.predict_frame(images)
    _, indices = detector.explain(images).neighbors["all/k_cos"]
    assert_array_equal(frame.score, detector.training_scores_)
    assert (frame.nearest != np.arange(24)).all() and len(indices) == 24


def test_nearest_is_the_twin(images):
    twins = np.concatenate([images, np.minimum(images, 250) + 2])
    detector = make_detector().fit(twins)
    frame = detector.predict_frame(images)
    assert list(frame) == ["score", "p_value", "label", "nearest"]
    assert_array_equal(frame.nearest, np.arange(24, 48))


def test_predict_frame_of_tables(table):
    frame = pd.DataFrame(table, columns=list("abcde"), index=np.arange(60) + 100)
    detector = NSADetector().fit(frame)
    found = detector.predict_frame(frame[5:8])
    assert list(found.index) == [105, 106, 107]
    _, indices = NeighborDistance().fit(table).kneighbors(table[5:8])
    assert_array_equal(found.nearest, indices[:, 0])


def test_predict_frame_without_neighbors(table):
    for detector in (CenterCosine(), FeatureEnsemble([("center", CenterCosine())])):
        frame = detector.fit(table).predict_frame(table)
        assert list(frame) == ["score", "p_value", "label"]
