# make setup       .venv with everything that development needs; nothing if nothing changed
# make demo        train a small model on the Python documentation and let it write (a few minutes)
# make check       format, lint, types, and the fast tests: before every commit
# make test        all tests
# make docs        the pages that are made from the code, and figures that are missing (FIGURES=all: all again)
# make papers      every paper's claims, checked anew, and their page; leave the machine alone meanwhile
# make benchmarks  every benchmark, one after the other; leave the machine alone meanwhile

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
STAMP := .venv/.installed
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2
ARGS ?=

.PHONY: setup demo check lint test docs papers benchmarks clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "regard needs Python 3.11 or newer: make setup PYTHON=/path/to/it")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(STAMP)
	@$(BIN)/python scripts/demo.py $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

check: lint
	$(PYTEST) -m "not slow" $(ARGS)

test: $(STAMP)
	$(PYTEST) $(ARGS)

docs: $(STAMP)
	$(BIN)/python docs/make_pages.py $(FIGURES)

papers: $(STAMP)
	$(BIN)/regard reproduce all --out docs/papers

benchmarks: $(STAMP)
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

clean:
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
