"""Files of models: what they hold, what is refused, and that nothing in them is run."""

import io
import json
import multiprocessing
import os
import pickle
import struct
import zipfile
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import cloudpickle
import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from safetensors.numpy import save_file
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.feature_selection import VarianceThreshold
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)
from sklearn.svm import OneClassSVM

import skanomaly
from skanomaly import (
    DUMDetector,
    EarlyStopping,
    FeatureEnsemble,
    MahalanobisCosine,
    NeighborDistance,
    NSADetector,
    PatchCosine,
    PretrainedEncoder,
    SelfSupervisedEncoder,
)
from skanomaly.saving import TRUSTED_TYPES, is_data, saved_versions
from skanomaly.saving._save import _digest, _read
from tests.registry import SHORT, AnyWidth, identify, make_estimators

FILES = Path(__file__).parent / "files"
SHORT_ENCODER = SelfSupervisedEncoder(max_epochs=1, random_state=0)


def has_own_module(estimator):
    return "AnyWidth" in str(estimator)


def outputs(estimator, X):
    """What the public methods of a fitted estimator return."""
    methods = ("score_samples", "predict", "p_values", "transform")
    return {name: getattr(estimator, name)(X) for name in methods if hasattr(estimator, name)}


def assert_same_outputs(loaded, estimator, X):
    wanted, found = outputs(estimator, X), outputs(loaded, X)
    assert wanted and wanted.keys() == found.keys()
    for name in wanted:
        assert_array_equal(found[name], wanted[name], err_msg=name)


@pytest.fixture(scope="module")
def colours():
    return np.random.default_rng(0).integers(0, 256, (30, 16, 16, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def detector(colours):
    return NSADetector(SHORT_ENCODER, random_state=0).fit(colours)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.skanomaly"


@pytest.fixture(scope="module")
def small_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("small") / "small.skanomaly"
    X = np.random.default_rng(0).normal(size=(20, 4)) + 3
    skanomaly.save(
        make_pipeline(StandardScaler(with_mean=False), FeatureEnsemble("all")).fit(X), path
    )
    return path


class TestEveryEstimator:
    @pytest.mark.filterwarnings("ignore:p-values are too small after a fit with trim")
    @pytest.mark.parametrize("estimator", make_estimators(), ids=identify)
    def test_is_equal_when_loaded(self, table, path, estimator):
        estimator.fit(table)
        if has_own_module(estimator):
            with pytest.raises(TypeError, match=r"backbone is tests\.registry\.AnyWidth, neither"):
                estimator.save(path)
            assert not path.parent.joinpath(path.name).exists()
            return
        estimator.save(path)
        loaded = skanomaly.load(path)
        assert type(loaded) is type(estimator)
        assert str(loaded) == str(estimator)
        assert_same_outputs(loaded, estimator, np.concatenate([table[:5], table[5:12] + 0.1]))

    @pytest.mark.filterwarnings("ignore:p-values are too small after a fit with trim")
    @pytest.mark.parametrize(
        "estimator", [e for e in make_estimators() if not has_own_module(e)], ids=identify
    )
    def test_is_equal_in_skops(self, table, estimator):
        skops = pytest.importorskip("skops.io")
        estimator.fit(table)
        data = skops.dumps(estimator)
        assert set(skops.get_untrusted_types(data=data)) <= set(TRUSTED_TYPES)
        assert_same_outputs(skops.loads(data, trusted=TRUSTED_TYPES), estimator, table + 0.1)

    @pytest.mark.parametrize("module", [pickle, cloudpickle], ids=lambda m: m.__name__)
    def test_is_equal_in_pickles(self, colours, detector, module):
        assert_same_outputs(pickle.loads(module.dumps(detector)), detector, colours[::-1] // 2)


class TestImages:
    @pytest.mark.parametrize(
        "encoder",
        [
            PretrainedEncoder("mobilenet_v3_small", weights=None, image_size=32),
            PretrainedEncoder("resnet18", weights=None, image_size=32, engine="onnx"),
            PretrainedEncoder("timm:test_vit", weights=None, image_size=32),
            SelfSupervisedEncoder("byol", backbone="resnet18", max_epochs=0, layers="last"),
            SelfSupervisedEncoder(
                backbone=PretrainedEncoder("shufflenet_v2_x0_5", weights=None, image_size=32),
                max_epochs=0,
            ),
            SelfSupervisedEncoder(max_epochs=1, layers="all", tile_size=8),
            SelfSupervisedEncoder(max_epochs=1, callbacks=[EarlyStopping()]),
        ],
        ids=identify,
    )
    def test_encoders_are_equal_when_loaded(self, colours, path, encoder):
        encoder.fit(colours)
        state = torch.get_rng_state()
        encoder.save(path)
        loaded = skanomaly.load(path)
        assert torch.equal(torch.get_rng_state(), state)
        assert_array_equal(loaded.transform(colours), encoder.transform(colours))
        layer = encoder.network_.backbone.maps[0]
        assert_array_equal(
            loaded.transform_map(colours, layer), encoder.transform_map(colours, layer)
        )

    def test_explanations_are_equal(self, colours, detector, path):
        detector.save(path)
        loaded = skanomaly.load(path)
        new = colours // 2
        assert_same_outputs(loaded, detector, np.concatenate([new, colours]))
        found, wanted = (d.explain(new) for d in (loaded, detector))
        assert_array_equal(found.heatmaps, wanted.heatmaps)
        assert_array_equal(found.contributions, wanted.contributions)
        assert loaded.encoder_.history_ == detector.encoder_.history_

    @pytest.mark.parametrize(
        "other",
        [
            NSADetector(SHORT_ENCODER, PatchCosine()),
            NSADetector(SHORT_ENCODER, MahalanobisCosine(), image_size=8),
            NSADetector(SHORT_ENCODER, OneClassSVM()),
            DUMDetector(SHORT_ENCODER, **SHORT),
        ],
        ids=identify,
    )
    def test_other_detectors(self, colours, path, other):
        if isinstance(other.get_params().get("scorer"), OneClassSVM):
            other.scorer = FeatureEnsemble([("svm", OneClassSVM())])
        other.fit(colours)
        other.save(path)
        assert_same_outputs(skanomaly.load(path), other, colours // 2)

    def test_training_goes_on_after_loading(self, colours, path):
        encoder = clone(SHORT_ENCODER).fit(colours)
        encoder.save(path)
        before = encoder.transform(colours)
        encoder.partial_fit(colours)
        loaded = skanomaly.load(path).partial_fit(colours)
        assert_allclose(loaded.transform(colours), encoder.transform(colours), rtol=1e-4, atol=1e-4)
        assert np.abs(loaded.transform(colours) - before).max() > 1e-3

    def test_a_frozen_encoder_is_kept_once(self, colours, detector, path):
        frozen = NSADetector(FrozenEstimator(detector.encoder_)).fit(colours)
        frozen.save(path)
        detector.save(path.with_suffix(".other"))
        assert path.stat().st_size < 1.01 * path.with_suffix(".other").stat().st_size
        loaded = skanomaly.load(path)
        assert loaded.encoder_ is loaded.encoder
        assert_same_outputs(loaded, frozen, colours // 2)


class TestPipelines:
    @pytest.mark.parametrize(
        "steps",
        [
            [SimpleImputer(add_indicator=True), StandardScaler(), PCA(3)],
            [RobustScaler(), PowerTransformer(), VarianceThreshold()],
            [QuantileTransformer(n_quantiles=20), MinMaxScaler()],
            [FeatureUnion([("scaled", StandardScaler()), ("components", PCA(2))])],
        ],
        ids=lambda steps: type(steps[0]).__name__,
    )
    def test_numbers(self, table, path, steps):
        pipeline = make_pipeline(*steps, NeighborDistance()).fit(table)
        skanomaly.save(pipeline, path)
        assert_same_outputs(skanomaly.load(path), pipeline, table + 0.1)

    def test_columns_of_strings(self, rng, path):
        frame = pd.DataFrame(
            {
                "colour": rng.choice(["red", "green"], 60),
                "size": pd.Series(rng.choice(["s", "m", None], 60), dtype=object),
                "weight": rng.normal(size=60),
            }
        )
        ordinal = OrdinalEncoder(encoded_missing_value=-1)
        columns = ColumnTransformer(
            [("one", OneHotEncoder(sparse_output=False), ["colour"]), ("order", ordinal, ["size"])],
            remainder=StandardScaler(),
        )
        pipeline = make_pipeline(columns, NeighborDistance()).fit(frame)
        skanomaly.save(pipeline, path)
        loaded = skanomaly.load(path)
        assert_same_outputs(loaded, pipeline, frame[::-1].assign(weight=0.3))
        with pytest.raises(ValueError, match="blue"):
            loaded.score_samples(frame.assign(colour="blue"))

    def test_columns_are_still_compared_by_name(self, table, path):
        frame = pd.DataFrame(table, columns=list("abcde"))
        MahalanobisCosine().fit(frame).save(path)
        with pytest.raises(ValueError, match="feature names"):
            skanomaly.load(path).score_samples(frame[list("edcba")])


class TestRefusedAtSave:
    @pytest.mark.parametrize(
        ("estimator", "message"),
        [
            (PretrainedEncoder(torch.nn.Flatten()), r"\.backbone is torch\.nn\..*\.Flatten, neit"),
            (SelfSupervisedEncoder(augment=lambda x: x), r"\.augment is tests.*<lambda>, neither"),
            (SelfSupervisedEncoder(callbacks=[print]), r"\.callbacks\[0\] is builtins\.print"),
            (NSADetector(memory=joblib.Memory(None)), r"\.memory is joblib\.memory\.Memory"),
            (NSADetector(scorer=IsolationForest()), r"\.scorer is sklearn.*IsolationForest"),
            (FeatureEnsemble([("a", AnyWidth())]), r"\.scorers\[0\]\[1\] is tests\.registry\.Any"),
            (NeighborDistance(np.datetime64("2020-01-01")), r"\.n_neighbors is numpy\.datetime64"),
        ],
        ids=lambda value: None if isinstance(value, str) else type(value).__name__,
    )
    def test_what_is_not_ours(self, path, estimator, message):
        path.write_bytes(b"an earlier file")
        with pytest.raises(TypeError, match=message):
            skanomaly.save(estimator, path)
        assert path.read_bytes() == b"an earlier file"
        assert list(path.parent.iterdir()) == [path]

    def test_a_file_that_cannot_be_written(self, table, tmp_path, monkeypatch):
        detector = NeighborDistance().fit(table)
        with pytest.raises(FileNotFoundError):
            detector.save(tmp_path / "missing" / "model.skanomaly")
        path = tmp_path / "model.skanomaly"
        path.write_bytes(b"an earlier file")

        def fail(file, content):
            file.write_text("half of it")
            raise OSError("no space left")

        monkeypatch.setattr(Path, "write_bytes", fail)
        with pytest.raises(OSError, match="no space left"):
            detector.save(path)
        monkeypatch.undo()
        assert path.read_bytes() == b"an earlier file"
        assert list(tmp_path.iterdir()) == [path]


class TestRefusedAtLoad:
    def test_mutated_files_are_refused_or_equal(self, small_file, tmp_path, rng):
        data = small_file.read_bytes()
        wanted = skanomaly.load(small_file).score_samples(np.ones((1, 4)))
        path = tmp_path / "mutated"
        n_refused = 0
        for i in range(N_MUTATIONS):
            path.write_bytes(_mutate(data, i % 5, rng))
            try:
                loaded = skanomaly.load(path)
            except ValueError as error:
                n_refused += 1
                assert str(path) in str(error)
            else:
                assert_array_equal(loaded.score_samples(np.ones((1, 4))), wanted)
        assert n_refused > 0.9 * N_MUTATIONS

    def test_mutated_contents_with_a_right_checksum(self, small_file, tmp_path, rng):
        """What somebody forges is refused too, or holds data of the classes that are allowed."""
        path = tmp_path / "forged"
        for _ in range(N_MUTATIONS // 20):
            metadata, arrays = _read(str(small_file))
            text = bytearray(metadata["structure"].encode())
            for at in rng.integers(0, len(text), 2):
                text[at] = rng.integers(32, 127)
            metadata["structure"] = text.decode()
            _write(path, metadata, arrays)
            try:
                loaded = skanomaly.load(path)
            except ValueError as error:
                assert str(path) in str(error)
            else:
                assert type(loaded).__module__.split(".")[0] in ("sklearn", "skanomaly", "builtins")

    @pytest.mark.parametrize(
        "name",
        [
            "os.system",
            "builtins.eval",
            "subprocess.Popen",
            "pickle.Unpickler",
            "sklearn.tests.test_base.MyEstimator",
            "sklearn.experimental.enable_halving_search_cv",
            "sklearn.pipeline.FeatureUnion.fit",
            "sklearn.pipeline.make_pipeline",
            "sklearn.utils.Bunch",
            "skanomaly.cli.main",
            "..NSADetector",
            "",
        ],
    )
    def test_other_classes(self, small_file, tmp_path, name):
        metadata, arrays = _read(str(small_file))
        metadata["structure"] = json.dumps({"number": 0, "object": name, "state": {"dict": []}})
        _write(tmp_path / "forged", metadata, arrays)
        with pytest.raises(ValueError, match="is not a class that a file of a model may hold"):
            skanomaly.load(tmp_path / "forged")

    @pytest.mark.parametrize(
        "structure",
        [
            "[" * 100_000,
            '{"number": 0, "array": "missing", "shape": [1], "is_transposed": false}',
            '{"number": 0, "objects": [1, 2], "dtype": "O", "shape": [1000000000000]}',
            '{"number": 0, "objects": [], "dtype": "<U1000000000", "shape": [0]}',
            '{"same": 5}',
            '{"scalar": 1, "dtype": "nothing"}',
            "nothing",
        ],
    )
    def test_structures_of_no_estimator(self, small_file, tmp_path, structure):
        metadata, arrays = _read(str(small_file))
        metadata["structure"] = structure
        _write(tmp_path / "forged", metadata, arrays)
        with pytest.raises(ValueError, match="does not hold an estimator of this version"):
            skanomaly.load(tmp_path / "forged")

    def test_networks_that_are_larger_than_their_weights(self, colours, path):
        clone(SHORT_ENCODER).set_params(layers="last").fit(colours).save(path)
        metadata, arrays = _read(str(path))
        wide = metadata["structure"].replace(
            '"compact", {"tuple": [3, 16', '"compact", {"tuple": [3000000, 16'
        )
        assert wide != metadata["structure"]
        _write(path, {**metadata, "structure": wide}, arrays)
        with pytest.raises(ValueError, match="size mismatch"):
            skanomaly.load(path)

    @pytest.mark.parametrize("kind", ["pickle", "joblib", "zip bomb", "path traversal", "header"])
    def test_other_files(self, table, path, kind):
        detector = NeighborDistance().fit(table)
        if kind == "joblib":
            joblib.dump(detector, path)
        else:
            path.write_bytes(_foreign(kind, detector))
        with pytest.raises(ValueError, match=r"is no model that skanomaly saved.*joblib.load"):
            skanomaly.load(path)
        assert list(path.parent.iterdir()) == [path]

    def test_missing_files_and_folders(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            skanomaly.load(tmp_path / "missing")
        with pytest.raises(OSError):
            skanomaly.load(tmp_path)

    def test_newer_formats_and_other_versions(self, small_file, path):
        metadata, arrays = _read(str(small_file))
        _write(path, {**metadata, "format": "2"}, arrays)
        with pytest.raises(ValueError, match=r"has the format 2, but this .* reads format 1"):
            skanomaly.load(path)
        versions = {**json.loads(metadata["versions"]), "torch": "1.0", "scikit-learn": "1.0"}
        _write(path, {**metadata, "versions": json.dumps(versions)}, arrays)
        with pytest.warns(UserWarning, match=r"saved with scikit-learn 1\.0 \(here .*torch 1\.0"):
            skanomaly.load(path)


@pytest.mark.filterwarnings("ignore:.*scores may differ")
class TestFilesOfFormat1:
    """Files in the repository, which later versions must still read."""

    def test_table(self):
        loaded = skanomaly.load(FILES / "format_1_table.skanomaly")
        X = np.random.default_rng(1).normal(size=(5, 6)) + 4
        wanted = np.load(FILES / "format_1_scores.npz")
        assert_allclose(loaded.score_samples(X), wanted["table"], rtol=1e-6)

    def test_images(self):
        loaded = skanomaly.load(FILES / "format_1_images.skanomaly")
        X = np.random.default_rng(1).integers(0, 256, (5, 8, 8), dtype=np.uint8)
        wanted = np.load(FILES / "format_1_scores.npz")
        assert_allclose(loaded.score_samples(X), wanted["images"], rtol=1e-3)


class TestServices:
    def test_threads_share_a_detector(self, colours, detector, path):
        detector.save(path)
        loaded = skanomaly.load(path)
        new = colours // 2
        wanted = detector.score_samples(new)
        with ThreadPoolExecutor(8) as pool:
            found = list(
                pool.map(lambda i: loaded.score_samples(new[i : i + 1])[0], [*range(30)] * 4)
            )
        assert_allclose(found, np.tile(wanted, 4), rtol=1e-6)

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
    @pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
    def test_a_fork_after_torch_has_used_its_threads(self, colours, detector, path):
        n_threads = torch.get_num_threads()
        torch.set_num_threads(2)
        try:
            wanted = detector.score_samples(colours // 2)
            detector.save(path)
            with multiprocessing.get_context("fork").Pool(1) as pool:
                found = pool.apply_async(score_file, (path, colours // 2)).get(timeout=20)
        finally:
            torch.set_num_threads(n_threads)
        assert_allclose(found, wanted, rtol=1e-6)

    def test_memory_does_not_grow(self, table):
        import tracemalloc

        detector = FeatureEnsemble().fit(table)
        for _ in range(20):
            detector.score_samples(table[:1] + 0.1)
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(1_000):
            detector.score_samples(table[:1] + 0.1)
        grown = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        assert grown < 20_000


@pytest.mark.filterwarnings("ignore:.*type hint is inferred as AnyType")
def test_mlflow_works_with_its_defaults(table, tmp_path):
    mlflow = pytest.importorskip("mlflow.sklearn")
    detector = make_pipeline(StandardScaler(), NeighborDistance()).fit(table)
    mlflow.save_model(
        detector,
        str(tmp_path / "model"),
        skops_trusted_types=TRUSTED_TYPES,
        pip_requirements=["skanomaly"],
    )
    loaded = mlflow.load_model(str(tmp_path / "model"))
    assert (tmp_path / "model" / "model.skops").exists()
    assert_array_equal(loaded.score_samples(table + 0.1), detector.score_samples(table + 0.1))


def test_what_a_file_is_and_who_wrote_it(small_file, table, tmp_path):
    assert is_data(small_file) and saved_versions(small_file)["torch"] == version("torch")
    joblib.dump(NeighborDistance().fit(table), tmp_path / "pickle")
    assert not is_data(tmp_path / "pickle")


@pytest.mark.parametrize("name", TRUSTED_TYPES)
def test_trusted_types_exist(name):
    module, _, cls = name.rpartition(".")
    assert getattr(__import__(module, fromlist=[cls]), cls).__module__ == module


N_MUTATIONS = 10_000


def score_file(path, X):
    return skanomaly.load(path).score_samples(X)


def _write(path, metadata, arrays):
    """A file with a checksum that is right."""
    save_file(arrays, path, {**metadata, "sha256": _digest(metadata, arrays)})


def _mutate(data, kind, rng):
    data = bytearray(data)
    header = int.from_bytes(data[:8], "little")
    if kind == 0:  # one bit anywhere
        data[rng.integers(len(data))] ^= 1 << rng.integers(8)
    elif kind == 1:  # one byte of the header
        data[rng.integers(8 + header)] = rng.integers(256)
    elif kind == 2:
        del data[rng.integers(len(data)) :]
    elif kind == 3:  # a piece is moved
        start, stop = np.sort(rng.integers(0, len(data), 2))
        data[start:stop] = data[start:stop][::-1]
    else:
        data[rng.integers(8)] = rng.integers(256)
    return bytes(data)


def _foreign(kind, detector):
    if kind == "pickle":
        return pickle.dumps(detector)
    if kind == "header":
        return struct.pack("<Q", 2**62) + b"{}"
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        name = "../../escaped" if kind == "path traversal" else "schema.json"
        archive.writestr(name, bytes(10_000_000))
    return file.getvalue()
