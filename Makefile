# Two commands matter: `make demo` and `make test`. Everything else serves them.
PYTHON ?= python3
BIN := .venv/bin
DEMO ?= demo-study
PORT ?= 8080

LOCK := uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --quiet --all-extras

.PHONY: help setup services demo airflow test soak lint types check lock sbom bench queries clean

help:
	@echo "make demo    a synthetic study through the real Airflow DAGs, in about a minute"
	@echo "make airflow a whole Airflow with pages on http://127.0.0.1:8080 on the demo study, until Ctrl-C"
	@echo "make test    all tests; what CI runs"
	@echo "make soak    properties on more examples, a thousand kills and runs at once (docs/faults.md), a million mutated files (docs/fuzz.md); takes long"
	@echo "make check   lint, types and tests"
	@echo "make services install PostgreSQL, Chromium, strace and Java for the tests, where missing (Debian, as root)"
	@echo "make setup   build .venv from requirements.lock"
	@echo "make bench   benchmarks, each as a ratio to its floor, into docs/benchmarks.md; takes hours (BENCH=--small: minutes)"
	@echo "make queries write the answers in docs/queries.md anew"
	@echo "make lock    write requirements.lock anew from pyproject.toml"
	@echo "make sbom    write sbom.cdx.json, a CycloneDX list of what requirements.lock installs"
	@echo "make clean   remove .venv and the demo study"

setup: .venv/.installed

.venv/.installed: requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "No '$(PYTHON)' found. Install Python 3.11, 3.12 or 3.13, or say which: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { echo "$$($(PYTHON) --version) will not do: this project needs Python 3.11, 3.12 or 3.13. Say which: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 2; }
	@echo "Building .venv with $$($(PYTHON) --version) (once)"
	@$(PYTHON) -m venv --clear .venv
	@awk '/^[^ ]/ {keep = /^uv==/} keep' requirements.lock > .venv/uv.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r .venv/uv.txt
	@VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --compile-bytecode --require-hashes -r requirements.lock
	@VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

# PostgreSQL, Chromium, strace and Java for the tests, from Debian's packages where they are missing.
services:
	@$(PYTHON) scripts/services.py > /dev/null

demo: setup
	@$(BIN)/python scripts/demo.py $(DEMO)

airflow: setup
	@exec $(BIN)/python scripts/run_airflow.py $(DEMO) --port $(PORT)

# Tests write and sync much: in memory where there is room for it, unless TMPDIR says where.
SHM := $(shell test -w /dev/shm && df -Pk /dev/shm | awk 'NR == 2 && $$4 > 6000000 {print "/dev/shm"}')
test soak: export TMPDIR := $(or $(TMPDIR),$(SHM),/tmp)

test: setup services
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

soak: setup services
	HYPOTHESIS_PROFILE=soak $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -k "not airflow"
	$(BIN)/python tests/faults/soak.py
	$(BIN)/python tests/abuse/fuzz.py --inputs 1000000 --to docs

check: lint types test

bench: setup
	$(BIN)/python scripts/bench.py $(BENCH)

lock: setup
	$(BIN)/$(LOCK) pyproject.toml -o requirements.lock

# A CycloneDX list of what requirements.lock installs; the same lock gives the same bytes.
sbom: setup
	@$(BIN)/python scripts/sbom.py sbom.cdx.json

# The answers in docs/queries.md, of a demo study made for them.
queries: setup
	$(BIN)/python scripts/queries.py

clean:
	rm -rf .venv .airflow $(DEMO)
