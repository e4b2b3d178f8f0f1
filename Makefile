# Every target sets up .venv in the repository root by itself: it needs Python 3.11 or later and make, nothing else.

PYTHON ?= python3
PROFILE ?= quick
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help book test test-all lint toy-study network-study lock clean
.DEFAULT_GOAL := help

help:
	@echo "make book        build the book, quick profile (PROFILE=full for the full one)"
	@echo "make test        run the tests; make test-all runs the slow ones too"
	@echo "make lint        check style with ruff"
	@echo "make toy-study   make the records of the single neuron in results/toy anew (minutes)"
	@echo "make network-study   the same of the networks in results/short (hours)"
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

# Table 1, then one thing changed at a time (0.3 is a reset term that lacks the factor 1/temperature); last, the precursor of the author's code, and the temperatures of the heat map.
TOY := $(BIN)/tsbp toy --device cpu --out results/toy
toy-study: $(VENV)/installed
	$(TOY)
	$(TOY) --optimizer momentum
	$(TOY) --optimizer adam
	$(TOY) --gradient full --gradient 0.3 --gradient leak
	$(TOY) --normalised --lr 0.002 --lr 0.005 --lr 0.01 --lr 0.02 --lr 0.05 --lr 0.1 --lr 0.2 --lr 0.5
	$(TOY) --initialisation uniform
	$(TOY) --initialisation positive
	$(TOY) --synaptic-delay 0
	$(TOY) --soft-reset
	$(TOY) --n-inputs 100 --synaptic-delay 0 --tau-m 5 --temperature 0.2 --initialisation positive
	for temperature in 0.05 0.1 0.15 0.2 0.6 1.0 2.0; do $(TOY) --temperature $$temperature || exit 1; done

network-study: $(VENV)/installed
	OMP_NUM_THREADS=1 $(BIN)/tsbp sweep sweeps/short.yaml --workers 2 --out results/short

lock: $(VENV)/installed
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra test --no-emit-package tsbp \
		--no-header --no-annotate pyproject.toml --output-file requirements.txt
	{ printf 'name: tsbp\nchannels:\n  - conda-forge\ndependencies:\n  - python>=3.11\n  - pip\n  - pip:\n'; \
		sed 's/^/      - /' requirements.txt; echo '      - --editable .'; } > environment.yml

clean:
	rm -rf build book/*.ipynb
