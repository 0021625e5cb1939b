# Each target sets itself up: a virtual environment in .venv, nothing outside this folder.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: test rehearse constraints clean

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

# The newest releases that pyproject.toml allows, for every platform, by hash alone; needs uv.
constraints:
	uv pip compile --quiet --upgrade --universal --python-version 3.11 --extra dev --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --no-annotate --no-header --output-file constraints.txt pyproject.toml

clean:
	rm -rf $(VENV) build *.egg-info
