# The environment is .venv in this folder, made with any Python >= 3.11 that is found
# (make PYTHON=... takes another).  RabbitMQ and Redis are found or started by the
# programs themselves: see src/antiphon/testing/servers.

VENV := .venv
BIN := $(VENV)/bin
# Changes of pyproject.toml install again; .venv/bin/python is there once it was made.
INSTALLED := $(VENV)/installed.stamp
BENCH_INSTALLED := $(VENV)/bench.stamp

# Arguments for pytest: make test ARGS="-k keeper"
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test unit lint format docs bench chaos fuzz compose-test lock servers count clean distclean

help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*##/\1:/p' $(MAKEFILE_LIST) | awk -F ': *' '{ printf "make %-12s %s\n", $$1, $$2 }'

demo: $(INSTALLED)  ## watch a change in one process reach a cache in another
	@$(BIN)/python -m examples.demo

test: $(INSTALLED)  ## lint, types and every test, with real servers
	@$(BIN)/python tests/run_all.py $(ARGS)

unit: $(INSTALLED)  ## the tests that need no server
	@$(BIN)/python -m pytest tests/unit tests/wire $(ARGS)

lint: $(INSTALLED)  ## ruff and mypy --strict
	@$(BIN)/ruff check --no-cache .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(INSTALLED)  ## put the code into the common form
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

docs: $(INSTALLED)  ## pages of the documents and the docstrings: build/docs/index.html
	@$(BIN)/python -m sphinx -q -W --keep-going -j 2 -c docs -d build/doctrees . build/docs
	@echo build/docs/index.html

bench: $(BENCH_INSTALLED)  ## measure beside the peers; results are kept beside the scripts
	@$(BIN)/python -m benchmarks $(ARGS)

chaos: $(INSTALLED)  ## kills and faults for 35 to 45 minutes (messages, caches, archives, commits)
	@$(BIN)/python -m tests.chaos --minutes 8 --kills 100 $(ARGS)
	@$(BIN)/python -m tests.chaos.caches --minutes 8 $(ARGS)
	@$(BIN)/python -m tests.chaos.archive --minutes 8 $(ARGS)
	@$(BIN)/python -m tests.chaos.crashes --kills 3000 $(ARGS)

fuzz: $(INSTALLED)  ## a million spoilt messages at the codec and at a bus
	@$(BIN)/python tests/wire/fuzz_bus.py 1000000 $(ARGS)

compose-test: $(INSTALLED)  ## run docker-compose.yml for real, and check it (5 to 8 minutes)
	@$(BIN)/python -m tests.compose $(ARGS)

# Of each library of the image one version, by hash, for every Python from 3.11 on.
lock: $(INSTALLED)  ## choose the versions of the image's libraries anew
	@scripts/lock.sh

servers: $(INSTALLED)  ## start RabbitMQ and Redis, print their URLs, stop at Ctrl-C
	@$(BIN)/python -m antiphon.testing.servers

count: $(INSTALLED)  ## write down how many tests there are (tests/collected_minimum.txt)
	@$(BIN)/python -m pytest --collect-only -q | sed -n 's/^\([0-9]*\) tests collected.*/\1/p' > tests/collected_minimum.txt
	@cat tests/collected_minimum.txt

clean:  ## remove what tools left behind
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: clean  ## remove the environment, too
	rm -rf $(VENV)

$(INSTALLED): pyproject.toml scripts/make_venv.sh
	@scripts/make_venv.sh $(VENV) -e '.[dev]'
	@touch $@

$(BENCH_INSTALLED): $(INSTALLED)
	@scripts/make_venv.sh $(VENV) -e '.[bench]'
	@touch $@
