"""What an import costs, what works without torch, and what is documented."""

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import skanomaly
from skanomaly import datasets, diagnostics, encoders, plotting, saving

ROOT = Path(__file__).parent.parent

BLOCK_TORCH = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "torchvision"):
            raise ImportError(name + " is blocked")

sys.meta_path.insert(0, Blocker())
"""
USE_SCORERS = """
import pickle, numpy as np
from sklearn.decomposition import PCA
from skanomaly import CenterCosine, FeatureEnsemble, MahalanobisCosine, NSADetector, OneClassKFold
from skanomaly.datasets import one_vs_rest
from skanomaly.diagnostics import concentration

X = np.random.default_rng(0).normal(size=(50, 4)) + 3
for detector in CenterCosine(), FeatureEnsemble(), MahalanobisCosine(), NSADetector(PCA(2)):
    detector.fit(X)
    assert np.isfinite(pickle.loads(pickle.dumps(detector)).score_samples(X)).all()
assert 0 < concentration(X) < 1e3
print("done")
"""


def run(code):
    # scipy imports torch when it is asked for array API support, as these tests do
    environment = {k: v for k, v in os.environ.items() if k != "SCIPY_ARRAY_API"}
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment
    ).stdout


def test_import_is_cheap_and_scorers_run_without_torch():
    code = BLOCK_TORCH + "import skanomaly; dir(skanomaly); print(*sys.modules)\n"
    code += "from skanomaly import NSADetector; print(*sys.modules)\n"
    code += "from skanomaly.plotting import ViewDisplay; print(*sys.modules)\n"
    *imported, end = run(code + USE_SCORERS).splitlines()
    package, detector, displays = (set(line.split()) for line in imported)
    assert not {"torch", "torchvision", "matplotlib", "sklearn", "numpy"} & package
    assert not {"torch", "torchvision", "matplotlib"} & detector and "sklearn" in detector
    assert not {"torch", "matplotlib", "dask", "fsspec"} & displays
    assert end == "done"


def test_unknown_name():
    with pytest.raises(AttributeError, match="no attribute 'NSA'"):
        skanomaly.__getattr__("NSA")


def test_every_public_name_is_on_the_api_page():
    page = (ROOT / "docs" / "api.md").read_text()
    for module in skanomaly, datasets, diagnostics, encoders, plotting:
        for name in module.__all__:
            assert f"`{name}" in page, name


def test_every_public_name_is_in_the_reference():
    """Under its own module, or at the top if it is of both."""
    page = (ROOT / "docs" / "reference.rst").read_text()
    listed = set()
    for section in page.split(".. currentmodule:: ")[1:]:
        home, _, rest = section.partition("\n")
        for names in re.findall(r"^   ([A-Za-z]\w+)$|^\.\. data:: (\w+)", rest, re.M):
            listed.add((home, "".join(names)))
    for module in skanomaly, datasets, diagnostics, encoders, plotting, saving:
        for name in module.__all__:
            assert {(module.__name__, name), ("skanomaly", name)} & listed, name
    for home, name in listed:
        assert name in sys.modules[home].__all__, name


def test_every_parameter_and_public_method_is_documented():
    for name in sorted(set(skanomaly.__all__) - {"__version__"}):
        public = getattr(skanomaly, name)
        for parameter in inspect.signature(public).parameters:
            documented = rf"^    {parameter} : |, {parameter} : "
            assert re.search(documented, public.__doc__, re.M), parameter
        for method in vars(public):
            if not method.startswith("_") and callable(getattr(public, method)):
                assert getattr(public, method).__doc__, f"{name}.{method}"


def test_version_is_that_of_the_installed_package():
    from importlib.metadata import version

    assert version("skanomaly") == skanomaly.__version__
    assert f"## {skanomaly.__version__}" in (ROOT / "CHANGELOG.md").read_text()
    assert f"version: {skanomaly.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_sample_is_small_and_complete():
    file = ROOT / "skanomaly" / "datasets" / "fashion_mnist_sample.npz"
    assert file.stat().st_size < 3e6
    data = datasets.load_fashion_mnist_sample("shirt")
    assert data.X_train.shape == (1500, 28, 28) and data.X_train.dtype == np.uint8
    assert ((data.y_test == 1) == (data.class_test == "shirt")).all()
    assert np.unique(data.class_test, return_counts=True)[1].tolist() == [250] * 10
    with pytest.raises(ValueError, match=r"normal='bag' is not in the sample; pass one of"):
        datasets.load_fashion_mnist_sample("bag")
