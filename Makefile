# Every target does its own set-up. `make` lists them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= $(firstword $(foreach p,python3.11 python3.12 python3.13 python3,$(shell command -v $(p) 2>/dev/null)))
BIN := .venv/bin
STAMP := .venv/.ready
LOCK := deploy/requirements.lock
WORKERS ?= 2

.PHONY: help venv lock services test lint demo bench schemas docs clean

help:  #? list the targets
	@sed -n 's/^\([a-z]*\):.*#? \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r t h; do printf '  make %-9s %s\n' "$$t" "$$h"; done

venv: $(STAMP)  #? make .venv from the lock file (does nothing when it is current)

$(STAMP): $(LOCK) pyproject.toml deploy/venv.sh
	@PYTHON="$(PYTHON)" deploy/venv.sh

lock: venv  #? resolve pyproject.toml again into deploy/requirements.lock, then make venv
	@deploy/lock.sh
	@$(MAKE) venv

services:  #? install PostgreSQL, Redis and Chromium with apt, if absent (no service is started)
	@deploy/services.sh

test: venv services  #? run the whole test suite (ARGS="tests/plan -k name" narrows it)
	@$(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

lint: venv  #? ruff, strict mypy and the import layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

demo: venv  #? bring up the embedded stack, apply manifests/ and print each manifest Ready with its proof
	@$(BIN)/reconcile demo

bench: venv  #? run the benchmarks in bench/
	@$(BIN)/python -m bench

schemas: venv  #? write the JSON Schemas of all kinds to schemas/
	@$(BIN)/reconcile schema --write schemas

docs: venv  #? write the generated parts of docs/
	@$(BIN)/python docs/generate.py

clean:  #? remove .venv and all caches
	@rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
