# `make demo` and `make test` are all a newcomer needs: both build .venv first.
.DEFAULT_GOAL := help
.PHONY: help demo test test-deep check format bench views-report sim mutants fuzz clean

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
ONLY ?=
JOBS ?= 2
SEEDS ?= 300
SEED ?=
KIND ?=

help:  ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "weft needs Python 3.11 or newer: install it, or run make PYTHON=/path/to/python"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.server: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[server]'
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/.server

demo: $(VENV)/.server  ## three regions and two devices: a partition, a kill, and all agree
	$(BIN)/weft demo $(ARGS)

# Hundreds of processes are started: without bytecode each compiles all it imports.
test test-deep: export PYTHONDONTWRITEBYTECODE :=

test: $(VENV)/.dev  ## run the test suite; JOBS=0 in this process only
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(ARGS)

test-deep: $(VENV)/.dev  ## long searches for rare failures: new examples, every fault at every call, 200 kills
	WEFT_EXAMPLES=new $(BIN)/python -m pytest -m deep $(ARGS)

check: $(VENV)/.dev  ## formatting, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.dev  ## format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.dev  ## benchmarks; ONLY=local runs one, ONLY=relay:flush a part
	$(BIN)/python -m tests.bench $(ONLY) $(ARGS)

views-report: $(VENV)/.dev  ## views on real transcripts beside what people use today
	@$(BIN)/python -m tests.views_report $(ARGS)

fuzz: $(VENV)/.dev  ## hunt with a million hostile updates and frames; ARGS="--seed 2" for others
	$(BIN)/python -m tests.simulation.hunt_bytes --updates 1000000 --frames 1000000 $(ARGS)

sim: $(VENV)/.dev  ## simulate whole histories with faults: SEEDS=10000 or 300:600, KIND=mesh; SEED=17 replays one
	$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(SEEDS)) \
		$(if $(KIND),--kind $(KIND))

mutants: $(VENV)/.dev  ## break each safety rule and see the simulation notice; ONLY=gate is one
	$(BIN)/python -m tests.simulation.mutants --jobs $(JOBS) $(if $(ONLY),--only "$(ONLY)")

clean:  ## remove what the build made
	rm -rf $(VENV) .bench-cache .mypy_cache .ruff_cache .pytest_cache .hypothesis
