# tramo. `make help` lists the targets. Everything is installed into .venv and .tools; on Debian, root also gets
# the few system packages that are missing.
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-compiled soak lint types build bench bench-control deployments bench-telemetry attacks faults bench-size fuzz fuzz-registry dashboard screenshot docs lock clean
.DELETE_ON_ERROR:
.NOTPARALLEL:

export UV_PYTHON_DOWNLOADS := never
export UV_LINK_MODE := copy
export SAM_CLI_TELEMETRY := 0
export PIP_ROOT_USER_ACTION := ignore
# The build of the sidecar's wheel: 1 compiles or fails, auto compiles where it can, 0 does not.
export TRAMO_COMPILE ?= 1
PYTHON ?= python3.11
BIN := .venv/bin
# sam build takes the first python3 with pip, and lambda-builders its first helper programs, from PATH.
export PATH := $(CURDIR)/$(BIN):$(PATH)

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 15

setup: .venv/installed .tools/networks/installed .tools/dynamodb-local/installed .tools/conformance/installed .tools/promtool/installed ## install all that the other targets need

demo: setup .tools/sidecar/installed ## a mesh on this machine under load: scale, crash, deployment, roll-back, stolen name, outages
	@TRAMO_SIDECAR=$(CURDIR)/.tools/sidecar/bin/tramo-sidecar $(BIN)/python -m infra.cli.demo

test: setup .tools/sidecar/installed ## run all tests, the sidecar in pure Python; with COMPILED=1 the sidecar's processes compiled
	@COMPILED=$(COMPILED) infra/packaging/test_groups.sh $(BIN)/pytest

test-compiled: setup .tools/sidecar/installed ## run the sidecar's tests on the compiled sidecar
	@infra/packaging/test_groups.sh $(BIN)/pytest compiled

soak: setup .tools/sidecar/installed ## ten minutes of mixed traffic while all changes: nothing may fail or grow; ARGS="--seconds N"
	@PYTHONPATH=.tools/sidecar/wheel:. $(BIN)/python -P -m tests.soak $(ARGS)

lint: .venv/installed ## check style, formatting, import rules and the template
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@PYTHONPATH=functions $(BIN)/lint-imports --no-logo
	@$(BIN)/cfn-lint template.yaml
	@$(BIN)/sam validate

types: .venv/installed ## check types, and that mypyc takes the sidecar
	@$(BIN)/mypy
	@$(BIN)/python -m infra.packaging.hatch_build

build: .venv/installed ## build the functions into .aws-sam, as sam deploy wants them
	@$(BIN)/sam build

bench: .venv/bench .tools/sidecar/installed ## compare the sidecar with Envoy, nginx and HAProxy; options in ARGS, such as ARGS=--quick
	@$(BIN)/python -m tests.benchmarks $(ARGS)

bench-control: setup .tools/sidecar/installed ## measure registry and sidecar with 3,000 services and 20,000 endpoints; sections in ARGS
	@PYTHONPATH=functions $(BIN)/python -m tests.benchmarks.control $(ARGS)

bench-telemetry: setup .tools/sidecar/installed ## time the pieces of telemetry, such as a line of the access log
	@$(BIN)/python -m tests.benchmarks.telemetry

bench-size: setup .tools/sidecar/installed ## measure memory in containers of a size: large namespaces, crowds of clients that do not go on
	@$(BIN)/python -m tests.benchmarks.size
	@$(BIN)/python -m tests.benchmarks.crowds

attacks: setup .tools/sidecar/installed ## attack a sidecar and measure what an innocent connection feels; attacks in ARGS
	@PYTHONPATH=.tools/sidecar/wheel:. $(BIN)/python -P -m tests.benchmarks.attacks $(ARGS)

faults: .venv/bench .tools/sidecar/installed ## what callers feel of faults, through the sidecar and through Envoy; names of faults in ARGS
	@$(BIN)/python -m tests.faults $(ARGS)

fuzz: .venv/fuzz ## fuzz all parsers with atheris, 20 s each; ARGS="--seconds N" and names of targets
	@$(BIN)/python -m tests.fuzz $(ARGS)

fuzz-registry: .venv/installed ## live through histories of the registry until Ctrl-C; ARGS="--seed N --count N --steps N"
	@PYTHONPATH=functions $(BIN)/python -m tests.fuzz.registry $(ARGS)

deployments: setup .tools/sidecar/installed .tools/rolling/installed ## deployments in a row, scale-in, a Spot interruption, under load by HTTP/1.1, gRPC, TCP; options in ARGS
	@PYTHONPATH=functions TRAMO_SIDECAR=$(CURDIR)/.tools/sidecar/bin/tramo-sidecar $(BIN)/python -m tests.rolling $(ARGS)

dashboard: .venv/installed ## write the dashboard into template.yaml again
	@PYTHONPATH=functions $(BIN)/python -m infra.dashboards.build

screenshot: setup ## draw the console's pictures in docs/images again
	@$(BIN)/python -m tests.browser

docs: .venv/installed ## write the generated parts of docs/ again
	@PYTHONPATH=functions $(BIN)/python -m infra.packaging.docs

# What Chalice's command line needs and its library does not: functions/Makefile installs the lock file without dependencies.
CHALICE_CLI := ansicon blessed click colorama editor inquirer jinxed pip pyyaml readchar runs setuptools wcwidth wheel xmod

lock: ## write the lock files again from pyproject.toml
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --upgrade \
	  pyproject.toml infra/pyproject.toml --no-emit-package tramo-sidecar --group test --group lint -o requirements-dev.txt
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --group functions $(CHALICE_CLI:%=--no-emit-package %) -c requirements-dev.txt -o functions/requirements.txt
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --group bench -c requirements-dev.txt -o requirements-bench.txt
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --group fuzz -c requirements-dev.txt -o requirements-fuzz.txt
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  pyproject.toml -c requirements-dev.txt -o sidecar/requirements.txt
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  pyproject.toml --group build -c requirements-dev.txt -o sidecar/requirements-build.txt

clean: ## remove all that the other targets made
	@rm -rf .venv .tools .aws-sam .cache dist out .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find functions infra sidecar tests -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/installed: requirements-dev.txt pyproject.toml infra/pyproject.toml
	@infra/packaging/need.sh python3.11-venv $(PYTHON) -c 'import ensurepip, venv'
	@echo "setup: Python packages into .venv"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.5'
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements-dev.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e . -e infra
	@touch $@

# The sidecar as its image has it: the wheel and its own dependencies, nothing of what develops or tests it, with the
# bytecode that pip writes there. Without it each start compiles what it imports: half a second of CPU, and more memory.
# The wheel is also unpacked, for the tests of what is compiled.
.tools/sidecar/installed: .venv/installed sidecar/requirements.txt infra/packaging/hatch_build.py $(shell find sidecar -name '*.py')
	@infra/packaging/need.sh gcc gcc --version
	@infra/packaging/need.sh libc6-dev sh -c 'echo "#include <stdio.h>" | gcc -E -'
	@infra/packaging/need.sh python3.11-dev $(BIN)/python -c 'import pathlib, sysconfig; (pathlib.Path(sysconfig.get_path("include")) / "Python.h").stat()'
	@echo "setup: the sidecar into .tools/sidecar, compiled (a minute)"
	@rm -rf .tools/dist
	@$(BIN)/hatchling build --target wheel --directory .tools/dist >.tools/build.log 2>&1 || { cat .tools/build.log; exit 1; }
	@rm -rf .tools/sidecar
	@$(BIN)/uv venv --quiet --python $(BIN)/python .tools/sidecar
	@$(BIN)/uv pip install --quiet --compile-bytecode --python .tools/sidecar/bin/python --require-hashes -r sidecar/requirements.txt
	@$(BIN)/uv pip install --quiet --compile-bytecode --python .tools/sidecar/bin/python --no-deps .tools/dist/*.whl
	@$(BIN)/python -m zipfile -e .tools/dist/*.whl .tools/sidecar/wheel
	@chmod +x .tools/sidecar/wheel/sidecar/tramo-sidecar # zipfile keeps no permissions
	@mv .tools/dist .tools/sidecar
	@touch $@

.venv/bench: .venv/installed requirements-bench.txt
	@infra/packaging/need.sh wrk sh -c 'command -v wrk'
	@infra/packaging/need.sh nghttp2-client h2load --version
	@infra/packaging/need.sh nghttp2-server nghttpd --version
	@infra/packaging/need.sh nginx-light nginx -v
	@infra/packaging/need.sh haproxy haproxy -v
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements-bench.txt
	@touch $@

.venv/fuzz: .venv/installed requirements-fuzz.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements-fuzz.txt
	@touch $@

.tools/dynamodb-local/installed: infra/packaging/dynamodb_local.sh
	@infra/packaging/need.sh default-jre-headless java -version
	@infra/packaging/need.sh npm npm --version
	@infra/packaging/dynamodb_local.sh .tools/dynamodb-local
	@touch $@

# What root makes networks for tasks with; others do without (docs/local.md).
.tools/networks/installed:
	@test "$$(id -u)" -ne 0 || infra/packaging/need.sh iproute2 ip -V
	@test "$$(id -u)" -ne 0 || infra/packaging/need.sh iptables iptables --version
	@mkdir -p .tools/networks
	@touch $@

# What of the servers of production that `make deployments` can deploy is not in .venv.
.tools/rolling/installed:
	@test "$$(id -u)" -ne 0 || infra/packaging/need.sh redis-server redis-server --version
	@test "$$(id -u)" -ne 0 || for name in grpc netty perfmark; do \
	  infra/packaging/need.sh lib$$name-java sh -c "ls /usr/share/java/$$name-*.jar"; done
	@mkdir -p .tools/rolling
	@touch $@

# What the tests look at pages and at Prometheus' text with.
.tools/promtool/installed: infra/packaging/promtool.sh
	@infra/packaging/need.sh chromium chromium --version
	@infra/packaging/need.sh fonts-dejavu-core sh -c 'test -e /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf'
	@infra/packaging/promtool.sh .tools/promtool
	@touch $@

# Clients in other languages that the sidecar is tested with.
.tools/conformance/installed: tests/conformance/drivers/package.json tests/conformance/drivers/package-lock.json
	@infra/packaging/need.sh curl curl --version
	@infra/packaging/need.sh nghttp2-client h2load --version
	@infra/packaging/need.sh npm npm --version
	@infra/packaging/need.sh default-jdk-headless javac -version
	@echo "setup: npm packages into .tools/conformance"
	@mkdir -p .tools/conformance
	@cp tests/conformance/drivers/package.json tests/conformance/drivers/package-lock.json .tools/conformance
	@npm ci --prefix .tools/conformance --loglevel=error --ignore-scripts --no-audit --no-fund >/dev/null
	@touch $@
