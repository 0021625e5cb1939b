# Each target sets itself up: a virtual environment in .venv, nothing outside this folder.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: test rehearse bench constraints clean

$(VENV)/dev: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "mxcutover needs Python 3.11 or newer: make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r constraints.txt
	PYTHONWARNINGS=ignore $(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

test: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q $(ARGS)

# A whole cutover on embedded servers, in the dashboard; ARGS="--scenario local-trap" plays another.
rehearse: $(VENV)/dev
	@$(BIN)/mxcutover rehearse $(ARGS)

$(VENV)/bench: $(VENV)/dev constraints-bench.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r constraints-bench.txt
	@touch $@

# The engine and its peers in one table, then a recorded watch judged again; ARGS="--small" takes a fraction of
# the time, ARGS="--json" prints the bars.
bench: $(VENV)/bench
	$(BIN)/python -m tests.benchmarks.dns $(ARGS)
	$(BIN)/python -m tests.benchmarks.replay $(ARGS)

# The newest releases that pyproject.toml allows, for every platform, by hash alone; needs uv.
# The peers of the benchmarks are apart: not every machine has wheels of them, and only `make bench` needs them.
COMPILE := uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-emit-find-links --no-annotate --no-header pyproject.toml
constraints:
	$(COMPILE) --extra dev --output-file constraints.txt
	$(COMPILE) --extra bench --constraint constraints.txt --output-file constraints-bench.txt

clean:
	rm -rf $(VENV) build *.egg-info
