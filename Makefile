# make demo and make test set up .venv themselves; nothing else is needed than Python 3.10 or later.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
PIP_INSTALL := $(BIN)/python -m pip install --quiet --no-compile
OLDEST := .oldest

# Several processes import torch; each would compile it anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-newest test-oldest coverage mutations lint format docs build clean

demo: $(VENV)/demo
	$(BIN)/python examples/quickstart.py

test: test-newest test-oldest

# Two processes of one thread each, file by file, so that what a file's tests share is made once.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

test-newest: $(VENV)/installed
	$(PYTEST)

# The contract of one estimator of each class with the oldest scikit-learn that pyproject.toml
# declares, beside the same torch.
test-oldest: $(VENV)/installed $(OLDEST)/installed
	PYTHONPATH=$(OLDEST) $(PYTEST) --dist worksteal tests/contract -k "not variants" -p no:cacheprovider

coverage: $(VENV)/installed
	$(PYTEST) --cov --cov-report=term

# Breaks the package in many ways, one at a time, and fails unless the tests notice each.
mutations: $(VENV)/installed
	$(BIN)/python -m tests.mutations

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/mypy

format: $(VENV)/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The site, in build/site. Warnings are errors; the examples of the gallery run if they have changed.
docs: $(VENV)/installed
	OMP_NUM_THREADS=1 MPLBACKEND=agg $(BIN)/sphinx-build -W --keep-going -b html -c docs . build/site

# The sdist and the wheel, in dist; the wheel is used from another folder than the sources.
build: $(VENV)/installed
	rm -rf dist build/wheel
	$(BIN)/python -m build
	$(BIN)/python -m twine check --strict dist/*
	$(PIP_INSTALL) --no-deps --target build/wheel dist/*.whl
	cd build && PYTHONPATH=wheel ../$(BIN)/python ../tests/check_wheel.py wheel

# What the demo needs; nothing is compiled that is never imported.
$(VENV)/demo: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or later is needed; set PYTHON=python3.x")'
	$(PYTHON) -m venv $(VENV)
	$(PIP_INSTALL) --upgrade pip
	$(PIP_INSTALL) --editable '.[plot]'
	touch $@

# The same environment with all that development needs.
$(VENV)/installed: $(VENV)/demo
	$(PIP_INSTALL) --editable '.[dev]'
	touch $@

$(OLDEST)/installed: tests/contract/oldest.txt
	rm -rf $(OLDEST)
	$(BIN)/python -m pip install --quiet --target $(OLDEST) --requirement tests/contract/oldest.txt
	touch $@

clean:
	rm -rf $(VENV) $(OLDEST) build dist *.egg-info docs/gallery docs/generated
