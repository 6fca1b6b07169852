# The course, from a bare machine with Python 3.11 to 3.13, git and make. `make` alone lists what there is.
# Every target sets up what it needs first; the set-up is done once, and again when requirements.lock changes.

UV_VERSION := 0.13.8

# The first Python that is there, works and is within range. `make PYTHON=/path/to/python ...` chooses another.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' >/dev/null 2>&1 && { echo $$p; break; }; \
	done)

BIN := .venv/bin
UV := .venv/uv/bin/uv
SYNC = $(UV) pip sync --quiet --require-hashes --python $(BIN)/python requirements.lock
READY := .venv/ready

# Waiting threads sleep instead of spinning: two cores that are shared stay usable.
export OMP_WAIT_POLICY ?= passive

# Tests need no network, and are not let near it. Two processes share the files of tests (WORKERS=4: four do), each with
# one thread: sums form in one order.
WORKERS ?= 2
PYTEST = $(BIN)/pytest -q -n $(WORKERS) --dist loadfile
test quick: export HF_HUB_OFFLINE = 1
test quick: export OMP_NUM_THREADS = 1
test quick: export MPLBACKEND = Agg
test quick: export TOKENIZERS_PARALLELISM = false

.DEFAULT_GOAL := help
.PHONY: help lab run test quick notebooks colab machines checkpoints data bench lint format lock clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

lab: $(READY)  ## open the course in JupyterLab (LAB="--no-browser --port 9000": with Jupyter's own options)
	$(BIN)/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) --ServerApp.root_dir="$(CURDIR)" \
		--LabApp.default_url=/lab/tree/notebooks/00_start.ipynb $(LAB)

run: $(READY)  ## run a lesson without a browser: make run LESSON=06
	@test -n "$(LESSON)" || { echo "say which lesson: make run LESSON=06 (course lessons lists them)" >&2; exit 2; }
	@$(BIN)/course run $(LESSON)

test: lint  ## everything: lint, unit tests, every notebook executed and compared, sources and notebooks in step
	@$(BIN)/python -m course_lib.authoring.machines $(UV) --prepare
	$(PYTEST) --nbval --elsewhere tests $(wildcard notebooks solutions)

quick: $(READY)  ## the fast unit tests only
	$(PYTEST) -m "not slow" tests

notebooks: $(READY)  ## build and execute the notebooks whose sources changed (LESSON=06: only that; FORCE=1: even so)
	$(BIN)/python -m course_lib.authoring.notebooks $(if $(FORCE),--force) $(LESSON)

colab: $(READY)  ## Colab's versions on Python 3.13 in build/colab, the install cell run there, lessons 01 and 06 compared
	$(BIN)/python -m course_lib.authoring.colab $(UV) $(LESSON)

machines: $(READY)  ## notebooks compared with other CPU kernels, 1, 2 and 4 threads, another Python (LESSON=06 ON=threads-1)
	$(BIN)/python -m course_lib.authoring.machines $(UV) $(addprefix --on ,$(ON)) $(LESSON)

checkpoints: $(READY)  ## train the embedded checkpoints again
	$(BIN)/python -m course_lib.authoring.checkpoints

data: $(READY)  ## write the embedded data again
	$(BIN)/python -m course_lib.authoring.dataset

bench: $(READY)  ## measure speed beside the references (LESSON=06: only that)
	$(BIN)/python -m course_lib.authoring.bench.table $(LESSON)

lint: $(READY)  ## check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(READY)  ## put style right
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(UV)  ## resolve requirements.lock anew: Colab's versions, Jupyter's own current
	@.venv/uv/bin/python -m course_lib.authoring.lock $(CURDIR)/$(UV)

clean:  ## remove the set-up and what was built beside the sources
	rm -rf .venv build

# --- set-up -----------------------------------------------------------------------------------------------------------

# An environment holds the place where it was made: in a clone that was moved it is made again.
ifneq ($(wildcard $(READY)),)
ifneq ($(shell cat $(READY)),$(CURDIR))
.PHONY: moved
moved:
	@echo "this clone was moved here: making .venv again"
	@rm -rf .venv
$(UV) $(READY): moved
endif
endif

# First from uv's cache alone, so that a set-up which has all it needs works without a network.
$(READY): requirements.lock pyproject.toml | $(UV)
	@test -x $(BIN)/python || $(PYTHON) -m venv --without-pip .venv
	@$(SYNC) --offline 2>/dev/null || $(SYNC)
	@$(UV) pip install --quiet --no-deps --no-build-isolation --python $(BIN)/python --editable .
	@echo "$(CURDIR)" > $(READY)
	@echo "set up: $$($(BIN)/python --version), $$($(UV) pip list --quiet --python $(BIN)/python | wc -l) packages in .venv"

$(UV):
	@test -n "$(PYTHON)" || { echo "no Python 3.11, 3.12 or 3.13 is here: install one, or name it: make PYTHON=/path/to/python3.13" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || { echo "$(PYTHON) is not Python 3.11, 3.12 or 3.13: name another, make PYTHON=/path/to/python3.13" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) has no venv module: install it (Debian, Ubuntu: apt install python3-venv)" >&2; exit 2; }
	@echo "setting the course up in .venv, once; about a minute and 8 GB on Linux"
	@$(PYTHON) -m venv .venv/uv
	@.venv/uv/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
