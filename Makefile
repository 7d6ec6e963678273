# tramo. `make help` lists the targets. Everything is installed into .venv and .tools, nothing else is touched.
.DEFAULT_GOAL := help
.PHONY: help setup demo test lint types build bench lock clean
.DELETE_ON_ERROR:

export UV_PYTHON_DOWNLOADS := never
export UV_LINK_MODE := copy
export SAM_CLI_TELEMETRY := 0
PYTHON ?= python3.11
BIN := .venv/bin

help: ## list the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: .venv/installed .tools/dynamodb-local/installed ## install all that the other targets need

.venv/installed: requirements-dev.txt pyproject.toml
	@echo "setup: Python packages into .venv"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.5'
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements-dev.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	@touch $@

lock: ## write the lock files anew from pyproject.toml
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --upgrade \
	  pyproject.toml --group test --group lint -o requirements-dev.txt
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --group functions -c requirements-dev.txt -o functions/requirements.txt
