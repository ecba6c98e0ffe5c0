# Each target sets up what it needs; a second run finds it done.
.DEFAULT_GOAL := help
SHELL := /bin/bash
VENV := .venv/bin
BOOTSTRAP := python3 scripts/bootstrap.py
SEED ?= 7
PYTEST_ARGS ?=

.PHONY: help demo test nightly bench lint docs lock clean

help: ## show the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  \1\t/' | expand -t 10

demo: ## simulate three markets, evolve, trade, judge, replace; then the same on a real excerpt
	@$(BOOTSTRAP) runtime
	@$(VENV)/apex demo --seed $(SEED)

test: ## run all tests
	@$(BOOTSTRAP) dev
	@$(VENV)/python -m pytest $(PYTEST_ARGS)

nightly: ## the long tests: ten million random messages, two hundred kills
	@$(BOOTSTRAP) dev
	@$(VENV)/python -m pytest --nightly $(PYTEST_ARGS)

bench: ## measure against the named peers
	@$(BOOTSTRAP) bench
	@$(VENV)/python -m benchmarks $(BENCH_ARGS)

lint: ## style, types, room boundaries, dependencies, key-like strings
	@$(BOOTSTRAP) dev
	@$(VENV)/ruff check .
	@$(VENV)/ruff format --check .
	@$(VENV)/lint-imports
	@$(VENV)/pyright
	@$(VENV)/deptry apex_nautilus
	@$(VENV)/python scripts/scan_secrets.py

docs: ## make the generated parts of docs/ anew (tables, picture of the loop)
	@$(BOOTSTRAP) dev
	@$(VENV)/python scripts/make_docs.py

lock: ## resolve the requirements anew
	@$(BOOTSTRAP) dev
	@for group in runtime dev bench; do \
	  case $$group in runtime) groups=;; dev) groups="--group dev";; bench) groups="--group dev --group bench";; esac; \
	  $(VENV)/uv pip compile -q --upgrade --universal --python-version 3.12 --no-header --no-annotate \
	    --no-emit-index-url --no-emit-find-links pyproject.toml $$groups -o requirements/$$group.txt || exit 1; done

clean: ## remove the environment, caches and what runs have written
	@rm -rf .venv .venv-peers .bootstrap.lock .pytest_cache .ruff_cache .hypothesis .import_linter_cache demo
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
