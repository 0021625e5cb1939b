# Each target sets itself up: a virtual environment in .venv, nothing outside this folder.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: test rehearse worlds bench constraints clean

$(VENV)/dev: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "mxcutover needs Python 3.11 or newer: make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r constraints.txt
	PYTHONWARNINGS=ignore $(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# Most tests wait for servers, so four at a time even on two cores; one file stays in one process.
test: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q -n 4 --dist loadfile $(ARGS)

# A whole cutover on embedded servers, in the dashboard; ARGS="--scenario local-trap" plays another.
rehearse: $(VENV)/dev
	@$(BIN)/mxcutover rehearse $(ARGS)

# The verdict and the rules that people use today, over simulated cutovers with known truth;
# ARGS="--worlds 10000 --seed 2026" is the table of docs/worlds.md, ARGS="--kind rollback" one kind alone.
worlds: $(VENV)/dev
	@$(BIN)/python -m tests.worlds $(ARGS)

$(VENV)/bench: $(VENV)/dev constraints-bench.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r constraints-bench.txt
	@touch $@

# Each against its peers in one table; ARGS="--small" takes a fraction of the time, ARGS="--json" prints the bars.
BENCHMARKS := dns asking replay mail
bench: $(VENV)/bench
	@for name in $(BENCHMARKS); do echo "== $$name"; $(BIN)/python -m tests.benchmarks.$$name $(ARGS) || exit; done

# The newest releases that pyproject.toml allows, for every platform, by hash alone; needs uv.
# The peers of the benchmarks are apart: not every machine has wheels of them, and only `make bench` needs them.
COMPILE := uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-emit-find-links --no-annotate --no-header pyproject.toml
constraints:
	$(COMPILE) --extra dev --output-file constraints.txt
	$(COMPILE) --extra bench --constraint constraints.txt --output-file constraints-bench.txt

clean:
	rm -rf $(VENV) build *.egg-info
