# One way in. `make demo` and `make test` need nothing but Python 3.11 or newer.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
SHAPES := --jaxtyping-packages=doubleback,typechecking.checked

.PHONY: help demo test test-slow test-shapes test-real test-kills bench notebooks docs dist format clean
help:
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(READY)

demo: $(READY)  ## harden a VAE, attack it and its plain twin, write doubleback-demo/report.html
	$(BIN)/doubleback demo

test: $(READY)  ## format, lint, types, layers, quick tests: what CI runs
	$(BIN)/ruff format --check src tests benchmarks examples notebooks docs/*.py
	$(BIN)/ruff check src tests benchmarks examples notebooks docs/*.py
	$(BIN)/mypy
	$(BIN)/lint-imports
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --dist worksteal -m 'not slow and not real'

test-slow: $(READY)  ## the long tests
	$(BIN)/pytest -m 'slow and not real'

test-shapes: $(READY)  ## the quick tests again, with every shape and type checked as the code runs: twice the time
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --dist worksteal -m 'not slow and not real' $(SHAPES)

test-kills: $(READY)  ## kill -9 at every step at which a command writes, then the same command: nothing is lost
	$(BIN)/python -m tests.kills

test-real: $(READY)  ## models of diffusers, CompressAI, pythae, transformers and timm; installs these
	$(BIN)/python -m pip install --quiet --constraint constraints.txt diffusers transformers einops
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps compressai pythae pytorch-msssim timm
	OMP_NUM_THREADS=1 $(BIN)/pytest tests/real tests/test_notebooks.py -m real

bench: $(READY)  ## speed, as ratios measured side by side, in minutes; without --quick: the figures of record
	$(BIN)/python -m benchmarks.train --quick
	$(BIN)/python -m benchmarks.audit --quick
	$(BIN)/python -m benchmarks.classifier --quick

notebooks: $(READY)  ## run the notebooks and store what they show; installs diffusers
	$(BIN)/python -m pip install --quiet --constraint constraints.txt diffusers
	OMP_NUM_THREADS=1 $(BIN)/python -m notebooks.execute

docs: $(READY)  ## the documentation site in build/site: open build/site/index.html
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --clean --quiet

dist: $(READY)  ## the wheel and the sdist in dist/
	rm -rf dist
	$(BIN)/python -m build --no-isolation

format: $(READY)  ## format and mend what can be mended
	$(BIN)/ruff format src tests benchmarks examples notebooks docs/*.py
	$(BIN)/ruff check --fix src tests benchmarks examples notebooks docs/*.py

clean:  ## remove the environment, the packages and the caches
	rm -rf .venv dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
