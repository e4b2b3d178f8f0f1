# Every target sets up .venv in the repository root by itself: it needs Python 3.11 or later and make, nothing else.

PYTHON ?= python3
PROFILE ?= quick
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help book test test-all lint lock clean
.DEFAULT_GOAL := help

help:
	@echo "make book        build the book, quick profile (PROFILE=full for the full one)"
	@echo "make test        run the tests; make test-all runs the slow ones too"
	@echo "make lint        check style with ruff"
	@echo "make lock        renew requirements.txt and environment.yml from pyproject.toml"
	@echo "make clean       remove what was built (.venv stays)"

book: $(VENV)/installed
	$(BIN)/python -m tsbp.book --profile $(PROFILE)

test: $(VENV)/installed
	$(BIN)/python -m pytest

test-all: $(VENV)/installed
	$(BIN)/python -m pytest -m "slow or not slow"

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

$(VENV)/installed: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tsbp needs Python 3.11 or later; name one with: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $@

lock: $(VENV)/installed
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra test --no-emit-package tsbp \
		--no-header --no-annotate pyproject.toml --output-file requirements.txt
	{ printf 'name: tsbp\nchannels:\n  - conda-forge\ndependencies:\n  - python>=3.11\n  - pip\n  - pip:\n'; \
		sed 's/^/      - /' requirements.txt; echo '      - --editable .'; } > environment.yml

clean:
	rm -rf build book/*.ipynb
