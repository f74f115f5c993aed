# Everything a newcomer needs; `make` alone lists it. Needs make and Python >= 3.11, nothing else.
.DEFAULT_GOAL := help
.PHONY: help setup up dev test check words soak rehearse crowd bench clean lock chromium

BIN := .venv/bin
ARGS ?=
WORKERS ?= 3
FULL ?=
NAME ?=

# Compiled Python is kept beside its sources: without it every process of the shop compiles its imports at each start.
unexport PYTHONDONTWRITEBYTECODE

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Make .venv from the locks (the others do this by themselves when it is missing or stale)
	@sh tools/environment.sh

up: setup ## Start the shop with demo data on http://127.0.0.1:8000
	@$(BIN)/tidegate up --demo

dev: setup ## The same, started again whenever the code changes
	@$(BIN)/tidegate up --demo --reload

test: setup chromium ## Run the tests, three files at a time: make test ARGS="tests/catalog -x"; FULL=1 at full sizes
	@TIDEGATE_TEST_FULL=$(FULL) $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

check: setup ## Format, lint, types, layers, migrations, reference pages
	@$(BIN)/python -m tools.check

words: setup ## Collect the texts of pages and mails into the catalogues of src/tidegate/web/locale
	@$(BIN)/python -m tools.words

soak: setup ## Break a shop under load for ten minutes: make soak ARGS="--minutes 60 --seed 7 --buyers 500"
	@$(BIN)/python -m tests.faults.soak $(ARGS)

rehearse: setup ## Play a whole sale with a simulated crowd: make rehearse NAME=smoke; without NAME, a drop of a size for this machine
	@$(BIN)/tidegate rehearse $(or $(NAME),$(if $(findstring --faults,$(ARGS)),drop --shoppers 5000 --units 500,drop --fit)) $(ARGS)

crowd: setup ## Send 500 visitors into the running demo's drop
	@$(BIN)/tidegate rehearse crowd --target http://127.0.0.1:8000 --drop midnight-cakestand $(ARGS)

bench: setup ## Run a benchmark: make bench NAME=holds; without NAME, list them
	@$(BIN)/python -m benchmarks $(NAME) $(ARGS)

lock: ## Resolve requirements/*.txt anew: make lock ARGS=--upgrade
	@sh tools/environment.sh --lock $(ARGS)

clean: ## Remove .venv, .uv, caches and builds; the shop's data in .tidegate stays
	@rm -rf .venv .uv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist test-results
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

chromium:
	@sh tools/chromium.sh
