# What a person types. Everything runs in .venv, which `make env` builds from requirements.lock.
# Any POSIX shell and make will do; uv is used where it is there, plain venv and pip otherwise.

ARGS    ?=
PYTHON  ?=
VENV    := .venv
BIN     := $(VENV)/bin
STAMP   := $(VENV)/.ready
ROOMS   := schemas models streams feedback
CLIENT  := clients/python/loopline
# Folders that not every checkout has yet are checked as soon as they are there.
TYPED   := loopline_platform.py .ci/release.py $(ROOMS) $(CLIENT) $(wildcard benchmarks tests)

# Much of a test run is waiting, for processes that die and brokers that come back: more tests at once than cores.
JOBS         ?= 4
SIDE_BY_SIDE := --numprocesses $(JOBS)

.DEFAULT_GOAL := help
.PHONY: help env demo test quick explore lint format generate bench soak lock release clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "  ARGS=... is handed on, as in: make demo ARGS=--no-serve, make test ARGS='-k join'"

env: $(STAMP) ## create or refresh .venv from the lock file

demo: $(STAMP) ## run the main job on real input and leave the server running
	$(BIN)/loopline demo $(ARGS)

test: $(STAMP) ## run the tests, side by side; the same examples each time
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) $(ARGS)

quick: $(STAMP) ## a first verdict in under 90 seconds: rules of style and the tests that start no services
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --quiet --check .
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) --quick -q $(ARGS)

explore: $(STAMP) ## property tests on new examples, for a bounded time; ARGS="--minutes 5 --seed N"
	$(BIN)/python -m tests.explore $(ARGS)

lint: $(STAMP) ## ruff, mypy --strict, import floors, rows by name, generated files up to date
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m mypy --strict $(TYPED)
	$(BIN)/python -m tests.architecture.floors
	$(BIN)/python -m tests.architecture.rows
	$(BIN)/python -m schemas.describe.generate --check
	$(BIN)/python -m schemas.describe.reference --check
	$(BIN)/python -m feedback.cli.reference --check

format: $(STAMP) ## let ruff repair what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

generate: $(STAMP) ## write anew what is generated: schemas, the client's rules, reference pages
	$(BIN)/python -m schemas.describe.generate
	$(BIN)/python -m schemas.describe.reference
	$(BIN)/python -m feedback.cli.reference

bench: $(STAMP) ## measure, and print reached against promised
	$(BIN)/python -m benchmarks $(ARGS)

# The locks name no registry: whoever installs from them uses the one their own pip or uv is set to, and gets the files
# that were locked or none: each has its hashes. They are the same for Python 3.11 to 3.14 on every system (--universal).
# The second is what the image installs: the same versions without the tests' tools. The client and the platform have no
# hash, they are installed from their folders afterwards. UPGRADE= keeps what is pinned and only adds what is new.
UPGRADE ?= --upgrade
COMPILE := uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --no-emit-find-links \
	--no-annotate --custom-compile-command "make lock" --generate-hashes --no-emit-package loopline

lock: ## write the lock files anew from the pyproject files (needs uv)
	$(COMPILE) --extra dev $(UPGRADE) --output-file requirements.lock pyproject.toml
	$(COMPILE) --upgrade --constraint requirements.lock --output-file requirements-runtime.lock pyproject.toml

release: $(STAMP) ## make a version: VERSION=0.2.0, and ARGS=--dry-run to see what would be done
	$(BIN)/python .ci/release.py $(ARGS) $(VERSION)

clean: ## remove the environment, caches and builds (never a home with data)
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp makes the second time quick; it is out of date when the lock or a pyproject changes.
$(STAMP): requirements.lock pyproject.toml clients/python/pyproject.toml
	@set -e; \
	fits() { "$$@" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }; \
	uv=; if uv --version >/dev/null 2>&1; then uv=uv; fi; \
	if ! fits $(BIN)/python; then \
	  python=; \
	  for each in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11 python; do \
	    if fits "$$each"; then python=$$each; break; fi; \
	  done; \
	  if [ -z "$$python" ]; then \
	    echo "make env: no Python 3.11 or newer found (tried python3, python3.14 to python3.11)." >&2; \
	    echo "Install one, or name it: make env PYTHON=/path/to/python3.12" >&2; \
	    exit 1; \
	  fi; \
	  rm -rf $(VENV); \
	  echo "creating $(VENV) with $$("$$python" --version)"; \
	  if [ -n "$$uv" ]; then \
	    uv venv --quiet --python "$$("$$python" -c 'import sys; print(sys.executable)')" $(VENV); \
	  elif ! "$$python" -m venv $(VENV); then \
	    rm -rf $(VENV); \
	    echo "make env: $$python cannot make environments; on Debian and Ubuntu: apt-get install python3-venv" >&2; \
	    exit 1; \
	  fi; \
	fi; \
	echo "installing from requirements.lock"; \
	if [ -n "$$uv" ]; then \
	  uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock; \
	  uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e clients/python -e .; \
	else \
	  $(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip --upgrade >/dev/null; \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock; \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
	    -e clients/python -e .; \
	fi
	@touch $@

soak: $(STAMP) ## run real servers under load for a while: does anything of them grow?
	$(BIN)/python -m benchmarks.soak $(ARGS)
