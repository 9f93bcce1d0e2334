"""Modules import from those below them, and no private name crosses a package."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "skanomaly"
# top to bottom, as CONTRIBUTING.md lists them: modules and packages import from those below
LAYERS = [
    "__main__",
    "cli",
    "plotting",
    "report",
    "tables",
    "nsa",
    "dum",
    "_onnx_scores",
    "_uncertainty",
    "encoders",
    "_training",
    "scorers",
    "model_selection",
    "datasets",
    "diagnostics",
    "_base",
    "saving",
    "_files",
    "_training_rows",
    "_validation",
    "_dask",
    "_frames",
    "_samples",
    "images",
    "_whitening",
    "_moments",
    "_nearest_rows",
    "_angles",
    "_array_api",
    "_sklearn_compat",
    "_version",
]
MODULES = [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]


def layer_of(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(path):
    """Each import as a list: the module's parts, and the name that is taken from it."""
    package = path.relative_to(ROOT).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            parent = package[: len(package) + 1 - node.level] if node.level else ()
            module = [*parent, *(node.module.split(".") if node.module else [])]
            yield from ([*module, alias.name] for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".") for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_module_imports_from_below(path):
    own = layer_of(path)
    for first, *rest in imports(path):
        if first == "skanomaly" and rest[0] != own:
            assert LAYERS.index(rest[0]) > LAYERS.index(own), rest
            # what starts with _ inside a package is for that package alone
            assert not any(name.startswith("_") for name in rest[1:]), rest
        if first == "sklearn" and own != "_sklearn_compat":
            assert not any(name.startswith("_") for name in rest), rest


def test_layers_are_those_of_the_guide():
    guide = (ROOT / "CONTRIBUTING.md").read_text().split("## Where things are")[1]
    listed = re.findall(r"^      (\w+)(?:\.py|/)", guide.split("    tests/")[0], re.M)
    assert listed == LAYERS[:-1]
    assert {layer_of(path) for path in MODULES} == set(LAYERS)


def test_no_two_modules_have_the_same_name():
    names = Counter(path.name for path in MODULES if path.name != "__init__.py")
    assert max(names.values()) == 1, names.most_common(3)
