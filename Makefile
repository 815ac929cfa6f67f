# Everything a person types. Each target does the set-up that it needs.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup run test test-slow test-faults sim conformance check audit sbom contract lock bench reset clean
.PHONY: chromium promtool

# The distribution's Python first: it is built with profile-guided optimisation, and the path of a message costs
# an eighth less processor in it than in one that was compiled without.
PYTHON ?= $(shell for python in /usr/bin/python3.11 python3.11; do \
  $$python -c 'import ensurepip, venv' 2>/dev/null && { command -v $$python; exit; }; done; command -v python3)
UV := $(shell command -v uv || echo .skein/tools/bin/uv)
BIN := .venv/bin
READY := .venv/.ready

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | column -t -s '|'

setup: $(READY) ## make the environment from requirements.lock
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null \
	  || { echo "✘ Python 3.11 is needed → apt-get install python3.11, or make PYTHON=/path/to/python3.11"; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo "✘ the venv module of Python is needed → apt-get install python3-venv"; exit 2; }
	@command -v $(UV) >/dev/null \
	  || { $(PYTHON) -m venv .skein/tools && .skein/tools/bin/pip install -q --disable-pip-version-check uv; }
	@test -x $(BIN)/python || $(PYTHON) -m venv --without-pip .venv
	$(UV) pip sync -q --python $(BIN)/python --require-hashes requirements.lock
	$(UV) pip install -q --python $(BIN)/python --no-deps -e .
	@touch $@

run: $(READY) ## run everything on this machine: engines, gateway, workers; Ctrl-C stops it
	@$(BIN)/im run

test: $(READY) chromium promtool ## the whole suite: rules, ten thousand simulated seeds, real engines, a real browser
	$(BIN)/pytest -q -m "not acceptance and not browser and not faults and not load"
	$(BIN)/python -m tests.sim --seeds 10000
	$(BIN)/pytest -q -m "(acceptance or browser) and not load"

test-slow: $(READY) ## five minutes of faults on real engines
	$(BIN)/pytest -q -m faults

test-faults: $(READY) ## an hour of faults on real engines, a report in reports/ (MINUTES=60 RATE=350 SEED=1)
	@mkdir -p reports
	$(BIN)/im chaos --minutes $(or $(MINUTES),60) --rate $(or $(RATE),350) --seed $(or $(SEED),1) \
	  --crowds $(or $(CROWDS),2) --report reports/chaos.html

sim: $(READY) ## the ten thousand seeds alone, on two processes
	@$(BIN)/python -m tests.sim --seeds 10000

PYTHON27 ?= python2.7
conformance: $(READY) ## the WebSocket suite of Autobahn, which needs a Python 2.7 (PYTHON27=/path/to/it)
	@test -d .skein/autobahn || { $(PYTHON27) -m pip install -q --target .skein/autobahn autobahntestsuite==25.10.1 \
	  && touch .skein/autobahn/zope/__init__.py; }
	PYTHON27=$(PYTHON27) $(BIN)/pytest -q tests/acceptance/test_autobahn.py

check: $(READY) audit ## ruff, strict mypy, import borders, known holes in packages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -q tests/test_architecture.py

AUDIT := .skein/audit/bin
$(AUDIT)/pip-audit: $(READY)
	@$(PYTHON) -m venv --without-pip .skein/audit
	@$(UV) pip install -q --python $(AUDIT)/python pip-audit==2.10.1 cyclonedx-bom==7.5.0

audit: $(READY) $(AUDIT)/pip-audit ## look up every locked package among the known advisories
	@timeout 120 $(AUDIT)/pip-audit -r requirements.lock --require-hashes --disable-pip --progress-spinner off \
	  -f json 2>/dev/null | $(BIN)/python -m infra.advisories

sbom: $(READY) $(AUDIT)/pip-audit ## write reports/sbom.json: every package with its hashes (CycloneDX)
	@mkdir -p reports
	@$(AUDIT)/python -W ignore $(AUDIT)/cyclonedx-py requirements requirements.lock --pyproject pyproject.toml \
	  --output-reproducible --of JSON -o reports/sbom.json

contract: $(READY) ## write schemas/api anew from the frames and records
	@$(BIN)/python -m schemas.contract

lock: ## choose versions anew and write requirements.lock
	$(UV) pip compile -q --python-version 3.11 --extra server --extra dev --generate-hashes --no-emit-index-url \
	  --no-header --no-annotate --upgrade -o requirements.lock pyproject.toml

bench: $(READY) ## load what `make run` runs, and report latency and losses
	$(BIN)/im bench

reset: $(READY) ## forget the data of `make run` (asks first)
	@$(BIN)/im reset

clean: ## remove the environment and every cache, but no data
	rm -rf .venv .skein/tools .mypy_cache .pytest_cache .ruff_cache .hypothesis reports

promtool:
	@command -v promtool >/dev/null || if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1; \
	  apt-get install -yqq --no-install-recommends prometheus >/dev/null \
	    || { apt-get update -qq && apt-get install -yqq --no-install-recommends prometheus >/dev/null; }; \
	else echo "✘ promtool not found, the tests of the alert rules need it → sudo apt-get install prometheus"; exit 2; fi

chromium:
	@command -v chromium >/dev/null || if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  export DEBIAN_FRONTEND=noninteractive; \
	  apt-get install -yqq --no-install-recommends chromium >/dev/null \
	    || { apt-get update -qq && apt-get install -yqq --no-install-recommends chromium >/dev/null; }; \
	else echo "✘ chromium not found, the browser tests need it → sudo apt-get install chromium"; exit 2; fi
