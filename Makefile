# Every target sets up .venv in the repository root by itself: it needs Python 3.11 or later and make, nothing else.

PYTHON ?= python3
PROFILE ?= quick
DEVICE ?= cpu
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help book pdf links test test-unit test-records test-book test-gpu test-slow test-all sanitize
.PHONY: lint hooks torch-oldest torch-newest
.PHONY: experiments peers bench bench-cpu bench-cuda lock clean
.DEFAULT_GOAL := help

help:
	@echo "make book        build the book, quick profile (PROFILE=full for the full one)"
	@echo "make pdf         the same as one PDF; needs a LaTeX"
	@echo "make links       check the links that lead out of the book"
	@echo "make test        run the tests; make test-all runs the slow ones too, make test-slow those alone"
	@echo "make test-unit   run the tests of the package; test-records, test-book and test-gpu run the others"
	@echo "make sanitize    run the C++ kernel under the address and undefined-behaviour sanitisers; part of the slow tests"
	@echo "make lint        check style, types and the workflows"
	@echo "make hooks       have git check style before every commit, and refuse what does not belong under version control"
	@echo "make torch-oldest   put the oldest PyTorch that tsbp allows into .venv; make torch-newest puts the newest"
	@echo "make experiments list the experiments: complete, partial or missing; tsbp sweep NAME does one"
	@echo "make peers       install the other libraries that make bench compares with"
	@echo "make bench       compare with other libraries: their gradients, then times (minutes; DEVICE=cuda on a GPU)"
	@echo "make lock        renew the three files of requirements from pyproject.toml and the Makefile"
	@echo "make clean       remove what was built (.venv stays)"

book: $(VENV)/installed
	$(BIN)/python book/build.py --profile $(PROFILE)

pdf: $(VENV)/installed
	$(BIN)/python book/build.py --profile $(PROFILE) --to pdf

links: $(VENV)/installed
	$(BIN)/python book/build.py --to links

# On all cores: -n 0 in PYTEST runs the tests in one process.
PYTEST := $(BIN)/python -m pytest -n logical

test: $(VENV)/installed
	$(PYTEST)

test-unit test-records test-book: test-%: $(VENV)/installed
	$(PYTEST) -m "$* and not slow"

test-gpu: $(VENV)/installed
	$(BIN)/python -m pytest -m gpu

test-slow: $(VENV)/installed
	$(PYTEST) -m slow

test-all: $(VENV)/installed
	$(PYTEST) -m "slow or not slow"

sanitize: $(VENV)/installed
	$(BIN)/python -m pytest -m slow tests/kernels/test_sanitizers.py

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/zizmor --offline --no-progress --quiet .github/workflows

hooks: $(VENV)/installed
	git config core.hooksPath .ci/hooks

# Instead of the locked PyTorch, until .venv is made anew.
torch-oldest: $(VENV)/installed
	$(BIN)/python -m pip install --quiet "torch==2.9.*" "torchvision==0.24.*"

torch-newest: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --upgrade torch torchvision

$(VENV)/installed: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tsbp needs Python 3.11 or later; name one with: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $@

experiments: $(VENV)/installed
	$(BIN)/tsbp experiments

# The sizes are layers of the networks of Table 3, on a GPU with batches that fill it; the network of CIFAR-10 takes few
# images on a CPU, for its sake.
BENCH := $(BIN)/tsbp bench
MEASURED := --device $(DEVICE) --out results/bench
bench: bench-$(DEVICE)

bench-cpu: $(VENV)/bench-installed
	$(BIN)/tsbp agreement --out results/agreement
	$(BENCH) lif --time-steps 5 --batch-size 128 --neurons 12288 --repeats 51 $(MEASURED)
	$(BENCH) lif --time-steps 30 --batch-size 64 --neurons 8640 --repeats 31 $(MEASURED)
	$(BENCH) lif --time-steps 100 --batch-size 1000 --neurons 1 --repeats 101 $(MEASURED)
	$(BENCH) lif --time-steps 5 --batch-size 128 --neurons 12288 --precision bfloat16 --repeats 21 $(MEASURED)
	$(BENCH) lif --time-steps 30 --batch-size 64 --neurons 8640 --precision bfloat16 --repeats 21 $(MEASURED)
	$(BENCH) recurrent --time-steps 100 --batch-size 100 --neurons 128 --repeats 51 $(MEASURED)
	$(BENCH) mnist --time-steps 5 --batch-size 100 --threads 2 $(MEASURED)
	$(BENCH) mnist --time-steps 30 --batch-size 100 --threads 2 --repeats 21 $(MEASURED)
	$(BENCH) mnist --time-steps 30 --batch-size 100 --threads 2 --precision bfloat16 --repeats 9 $(MEASURED)
	$(BENCH) nmnist --time-steps 30 --batch-size 20 --threads 2 $(MEASURED)
	$(BENCH) cifar10 --time-steps 5 --batch-size 10 --threads 2 --repeats 9 $(MEASURED)

bench-cuda: $(VENV)/bench-installed
	$(BENCH) lif --time-steps 5 --batch-size 512 --neurons 12288 --repeats 51 $(MEASURED)
	$(BENCH) lif --time-steps 30 --batch-size 512 --neurons 8640 --repeats 31 $(MEASURED)
	$(BENCH) mnist --time-steps 5 --batch-size 100 --precision bfloat16 --repeats 21 $(MEASURED)
	$(BENCH) mnist --time-steps 30 --batch-size 100 --precision bfloat16 --repeats 21 $(MEASURED)
	$(BENCH) nmnist --time-steps 30 --batch-size 20 --precision bfloat16 --repeats 21 $(MEASURED)
	$(BENCH) cifar10 --time-steps 5 --batch-size 100 --precision bfloat16 --repeats 15 $(MEASURED)

peers: $(VENV)/bench-installed

# Beside what is there already, and nothing of that changed.
$(VENV)/bench-installed: $(VENV)/installed requirements-bench.txt requirements-nodeps.txt
	$(BIN)/python -m pip install --quiet --requirement requirements-bench.txt
	$(BIN)/python -m pip install --quiet --no-deps --requirement requirements-nodeps.txt \
		|| echo "going on without $(NO_DEPS)"
	@touch $@

# sinabs asks for an older nir than the other libraries, and for the driver of a chip, which its neurons do without.
NO_DEPS := sinabs==3.1.3
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate
LOCK := $(COMPILE) --no-emit-package tsbp pyproject.toml
lock: $(VENV)/installed
	$(BIN)/python -m pip install --quiet uv
	$(LOCK) --extra test --output-file requirements.txt
	$(LOCK) --extra bench --constraint requirements.txt --output-file requirements-bench.txt
	printf '%s\n' $(NO_DEPS) | $(COMPILE) --no-deps --output-file requirements-nodeps.txt -

clean:
	rm -rf build book/*.ipynb
