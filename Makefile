PYTHON ?= python3
BIN := .venv/bin

# Where it is set, each of the many processes of the tests would compile all of its modules anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: serve test check fix docs soak

serve: .venv/ready          ## set everything up and run the hub on http://127.0.0.1:3001
	$(BIN)/aether serve --trust-plugins plugins

test: .venv/ready           ## set everything up and run the tests, on all cores
	$(BIN)/python -m pytest -n auto

check: .venv/ready          ## what must hold before a commit: format, lint, types, import contract, tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -n auto

fix: .venv/ready            ## format, and mend what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: .venv/ready           ## write the generated parts of docs/ anew
	$(BIN)/python docs/generate.py

soak: .venv/ready           ## the long proofs: make soak SIZE=C (20 minutes at most) or SIZE=L
	AETHERRA_SOAK=$(or $(SIZE),C) $(BIN)/python -m pytest -s -m soak tests

.venv/ready: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,docs]'
	touch .venv/ready
