# Everything is done in .venv; `make help` lists the targets.
.DEFAULT_GOAL := help
SHELL := /bin/sh
.SUFFIXES:
.PHONY: help run test proof bench agents lint

# Modules are compiled once, not by each process of each run: for pytest alone that is ten seconds of each.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?=
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes
AGENTS := tests/agents
ADDRESS := $(if $(HOST),--host $(HOST)) $(if $(PORT),--port $(PORT))

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/.runtime ## set everything up, start the relay, show a first request (HOST=, PORT=)
	@exec $(BIN)/python manage.py run $(ADDRESS)

test: $(VENV)/.dev ## run every test, those of the database on PostgreSQL too
	$(BIN)/python -m pytest -q -n 3 --dist loadgroup
	$(BIN)/python -m tests.servers $(BIN)/python -m pytest -q -n 2 --dist loadgroup -m database

proof: $(VENV)/.dev ## run the same tests at full counts and write docs/proof.md
	AETHER_PROOF=1 $(BIN)/python -m pytest -q -n 2 --dist loadgroup -p tests.proof -o faulthandler_timeout=3600
	AETHER_PROOF=1 $(BIN)/python -m tests.servers $(BIN)/python -m pytest -q -n 2 --dist loadgroup -p tests.proof -o faulthandler_timeout=3600 -m database

bench: $(VENV)/.dev ## measure what the relay costs beside a bare control (BENCH= options, --help lists them)
	$(BIN)/python -m bench $(BENCH)

agents: $(AGENTS)/node_modules/.made ## install the coding agents that some tests run (npm, 740 MB)

lint: $(VENV)/.dev ## check style, types and migrations
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .
	$(BIN)/python manage.py check
	$(BIN)/python manage.py makemigrations --check --dry-run

# The first Python that is new enough and can make an environment; else one sentence.
$(BIN)/pip:
	@new_enough=; \
	for python in $(or $(PYTHON),python3 python3.13 python3.12 python3.11); do \
	  "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || continue; \
	  new_enough=$$python; \
	  "$$python" -c 'import ensurepip, venv' >/dev/null 2>&1 || continue; \
	  "$$python" -m venv --clear $(VENV) && exit 0; \
	done; \
	if [ -n "$$new_enough" ]; then \
	  echo "$$new_enough lacks its venv module: install it (Debian: apt-get install python3-venv), then run make again." >&2; \
	else \
	  echo "Python 3.11 or newer is needed and was not found: install it, or name it with make PYTHON=/path/to/python3." >&2; \
	fi; \
	exit 1

$(VENV)/.runtime: requirements.txt | $(BIN)/pip
	@echo "Installing the requirements into $(VENV) ..."
	@$(PIP) -r $<
	@touch $@

$(VENV)/.dev: requirements-dev.txt | $(BIN)/pip
	@echo "Installing what tests and checks need into $(VENV) ..."
	@$(PIP) -r $<
	@touch $@

# Of all the packages' scripts only the one that puts the agent's own program in its place is run.
$(AGENTS)/node_modules/.made: $(AGENTS)/package.json $(AGENTS)/package-lock.json
	@echo "Installing the agents into $(AGENTS)/node_modules ..."
	@npm ci --prefix $(AGENTS) --ignore-scripts --no-audit --no-fund --loglevel=error
	@npm rebuild --prefix $(AGENTS) --loglevel=error @anthropic-ai/claude-code
	@touch $@
