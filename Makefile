# SPDX-License-Identifier: Apache-2.0
# The words a person types. `make help` lists them.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

# What is compiled is kept, also where a machine is told otherwise: the tests start a thousand
# programs, and each would spend half of its start on compiling what the one before it compiled.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help dev demo check fix proto ktm test fuzz shipped images chart e2e kind bench cluster clean

# Tests on a real API server that are quick enough for every run; they skip where its binaries are
# not built yet (`make e2e` builds them).
QUICK_SERVER_TESTS := e2e/test_controlplane.py e2e/test_crds.py e2e/test_injection_crd.py \
	e2e/test_manifests.py e2e/test_manifests_rights.py

help: ## list the targets
	@awk -F':.*## ' '/^[a-z0-9]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Tests wait for programs and sockets as long as they compute: two of them keep a core busy.
WORKERS = $(shell $(PYTHON) -c 'import os; print(2 * len(os.sched_getaffinity(0)))')

# The tests' own S3 server, see there.
S3_SERVER := e2e/s3_server.txt

$(BIN)/.ready: pyproject.toml constraints.txt $(S3_SERVER)
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else f"Python 3.11 or newer is needed, {sys.executable} is {sys.version.split()[0]}: make $(firstword $(MAKECMDGOALS)) PYTHON=python3.11")'
	@echo "preparing $(VENV) from PyPI (about a minute the first time) …"
	@$(PYTHON) -m venv --clear $(VENV)
	@PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@$(PYTHON) -m venv $(VENV)/s3-server
	@$(VENV)/s3-server/bin/python -m pip install --quiet --disable-pip-version-check --requirement $(S3_SERVER)
	@touch $@

dev: $(BIN)/.ready ## an environment with everything

demo: $(BIN)/.ready ## one proxy, three agents, three loaded nodes, real profiles (ONCE=1 ends by itself)
	@$(BIN)/python -m e2e.demo $(if $(ONCE),--once)

check: $(BIN)/.ready ## format, lint, types, import contracts, generated files, completeness
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python proto/generate.py --check
	$(BIN)/python agent/ktm/build.py --check
	$(BIN)/python -m pytest -q tests/meta

fix: $(BIN)/.ready ## let the tools repair what they can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

proto: $(BIN)/.ready ## regenerate the stubs and write missing golden frames
	$(BIN)/python proto/generate.py
	$(BIN)/python proto/golden.py

ktm: $(BIN)/.ready ## build what kernel telemetry loads into the kernel (clang, llvm, bpftool, libbpf-dev)
	$(BIN)/python agent/ktm/build.py

test: $(BIN)/.ready ## all tests that need no cluster, on all cores
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder \
		$(QUICK_SERVER_TESTS) tests/interop tests

fuzz: $(BIN)/.ready ## a minute of odd input for each thing that reads some (FODC_FUZZ_S: other seconds)
	FODC_FUZZ_S=$${FODC_FUZZ_S:-60} $(BIN)/python -m pytest -q -n 2 --dist worksteal tests/fuzz

shipped: $(BIN)/.ready ## the tests of the agent as its image runs it, without asserts (-OO)
	PYTHONOPTIMIZE=2 $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile \
		-W ignore::pytest.PytestConfigWarning tests/agent tests/protocol

images: $(BIN)/.ready ## build both images; PUSH=host/team also brings them into a registry
	@$(BIN)/python -m e2e.images $(if $(PUSH),--push '$(PUSH)')

chart: $(BIN)/.ready ## write charts/banyandb-fodc for helm, of the same manifests
	@$(BIN)/python -m manifests.chart

e2e: $(BIN)/.ready ## whole programs against each other, on a real API server (built once, ten minutes)
	@$(BIN)/python -m e2e

kind: $(BIN)/.ready ## the suite on kind, where Docker is (builds both images once)
	$(BIN)/python -m e2e.kind
	$(BIN)/python -m pytest -q e2e/kind

cluster: $(BIN)/.ready ## a control plane with the operator and three agents (ONCE=1 ends by itself)
	@$(BIN)/python -m e2e.cluster_demo $(if $(ONCE),--once)

bench: $(BIN)/.ready ## measure; ONLY=name,name for some; results in build/bench.json (README=1: in README.md too)
	@$(BIN)/python -m bench.run $(if $(ONLY),--only $(ONLY)) $(if $(README),--readme)

clean: ## remove what the targets made
	rm -rf $(VENV) build charts .hypothesis .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
