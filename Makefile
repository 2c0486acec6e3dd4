# Two commands set everything up from nothing but Python: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready-$(shell cksum < pyproject.toml | cut -d' ' -f1)
# Else each process of a test compiles all of finetop again: a third of the time of its start.
unexport PYTHONDONTWRITEBYTECODE
# Four on two cores: tests wait for processes a third of their time and more.
WORKERS ?= 4

.PHONY: demo test quick check faults slow nightly durations gpu bench screenshots versions wheel clean

demo: $(READY)          ## the whole story, small: train, check, verdict
	$(BIN)/finetop demo

PYTEST = $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

test: $(READY)          ## all tests but the long ones; what needs a GPU, a hub or extra data skips, saying so
	$(PYTEST) tests --ignore=tests/faults

.PHONY: static
static: $(READY)        ## format, lint, types, imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy -p finetop.core -p finetop.tui
	PYTHONPATH=.typing $(BIN)/lint-imports

# SINCE=main: of a branch. The nearest tests come first; those whose turn does not come are counted.
SINCE ?= HEAD
quick: static           ## before a commit, in a minute: the same, and the tests that are nearest to what changed
	@tests=$$($(BIN)/python tests/rig/near_tests.py $(SINCE)) || exit 1; \
	  [ -z "$$tests" ] || FINETOP_TEST_SECONDS=35 $(BIN)/python -m pytest -q -n 2 --dist load --maxschedchunk 2 $$tests

check: static test      ## before a change is sent: all tests too

faults: WORKERS = 5     # they wait for longer
faults: $(READY)        ## every fault that it claims to survive, and their table
	FINETOP_FAULTS_PAGE=docs/reliability.md $(PYTEST) tests/faults -m 'not nightly'

slow: $(READY)          ## the long tests: methods on architectures, the statistics simulated, some drawn by the day
	$(PYTEST) tests --ignore=tests/faults -m 'slow and not nightly'

# Where the time goes, by kind of cost and by test. PORTIONS=slow: of one. Half an hour, on a machine that is quiet.
PORTIONS ?= test faults slow
durations: $(READY)     ## the tests again, with a table of what each kind of cost takes, and the 60 dearest tests
	@rm -f $(patsubst %,$(VENV)/%.jsonl,$(PORTIONS))
	for portion in $(PORTIONS); do FINETOP_TEST_DURATIONS=$(VENV)/$$portion.jsonl $(MAKE) $$portion; done
	@$(BIN)/python tests/rig/durations.py $(patsubst %,$(VENV)/%.jsonl,$(PORTIONS))

nightly: export FINETOP_TEST_KILLS_S = 3600
nightly: export FINETOP_TEST_TRACES = 1000
nightly: export FINETOP_TEST_REPEATS = 200
nightly: export FINETOP_TEST_LIMIT_S = 14400
nightly: faults slow    ## all three in full: each loop, each pair, each trace, an hour of random kills
	$(PYTEST) tests -m nightly

# PY=python3: by a Python that has torch, where nothing can be installed; GPU='--only peers': more words for it.
PY ?= $(BIN)/python
gpu: $(if $(filter $(BIN)/python,$(PY)),$(READY))  ## all that needs a GPU, in ten minutes: tests, speed and memory as docs/gpu-report.md
	$(PY) tests/bench/gpu_report.py --to docs/gpu-report.md $(GPU)

bench: $(READY)         ## measurements, each beside its peer
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	@for file in tests/bench/*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

screenshots: $(READY)   ## the pictures of the README, made by the app
	$(BIN)/python docs/screenshots.py

# Each Python that runs, by name or path, with the torch that pip is set up to take here and with the registry's own (on
# Linux that is the CUDA build, 3 GB): what continuous integration does not repeat each time.
PYTHONS ?= python3.11 python3.12 python3.13
BUILDS ?= here registry
versions:               ## make test by each Python and each build of torch, in environments of their own; a table
	@for python in $(PYTHONS); do for build in $(BUILDS); do ( \
	  version=$$($$python -c 'import platform; print(platform.python_version())' 2> /dev/null) \
	    || { echo "$$python  not found"; exit 0; }; \
	  venv=.venv-$$version-$$build; \
	  if [ $$build = registry ]; then export PIP_CONFIG_FILE=/dev/null PIP_FIND_LINKS= PIP_CONSTRAINT=; fi; \
	  $(MAKE) test PYTHON=$$python VENV=$$venv > $$venv.log 2>&1; code=$$?; \
	  torch=$$($$venv/bin/python -c 'import torch; print(torch.__version__)' 2> /dev/null || echo none); \
	  tests=$$(grep -E '(passed|failed|error).* in ' $$venv.log | tail -1 | tr -d =); \
	  echo "$$version $$build  torch $$torch  $${tests:-no tests: $$venv.log says why}"; \
	  sed -nE 's/^SKIPPED \[([0-9]+)\] [^ ]+ /\1 /p' $$venv.log \
	    | awk '{n = $$1; $$1 = ""; skips[$$0] += n} END {for (why in skips) print "    skipped " skips[why] ":" why}'; \
	  exit $$code; \
	) || failed=1; done; done; exit $${failed:-0}

wheel:                  ## dist/finetop-….whl, to install on machines without a checkout
	$(PYTHON) -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .
	@ls dist/finetop-*.whl

$(READY):
	$(PYTHON) -c 'import sys; sys.exit("finetop needs Python 3.11 or newer, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	rm -f $(VENV)/.ready-*
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
