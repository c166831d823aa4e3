# `make` alone lists the targets. Every target does its own set-up; PYTHON=python3.12 picks an interpreter.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
OUT ?= demo
SPELLED := $(wildcard *.md *.toml *.cfg *.yml *.cff) Makefile .github .ci benchmarks cosmos_lidar docker docs energon_tasks launch recipes tests
# Tests run in JOBS processes, a file at a time, the expensive files first (tests/README.md). Without bytecode on the disk
# every process would compile all modules again: 20 s for pytest alone.
JOBS ?= 2
MYPY = $(RUN) -m mypy --num-workers $(JOBS)
PYTEST = OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(RUN) -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder
export OMP_NUM_THREADS ?= 2

.PHONY: help venv demo test test-slow test-nightly test-all lint types format docs clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*##  *\(.*\)/make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-14s %s\n", $$1, $$2}'

venv: $(VENV)/.ready  ## install everything that constraints.txt pins into .venv

$(VENV)/.ready: setup.cfg setup.py pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 10) else f"Python 3.10 or newer is needed, {sys.executable} is {v[0]}.{v[1]}: make venv PYTHON=python3.12")'
	@$(PYTHON) -m venv --help >/dev/null 2>&1 && $(PYTHON) -c 'import ensurepip' 2>/dev/null \
		|| apt-get install -y python3-venv \
		|| { echo "python3-venv is missing: sudo apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --constraint constraints.txt torch
	$(VENV)/bin/pip install --quiet --constraint constraints.txt --editable '.[train,trackers,text,viz,datasets,dev,docs]'
	@touch $@

demo: venv  ## every model with its embedded weights on one page, report.html; on yours: make demo DATA=folder FORMAT=kitti; STEPS=60: less training
	$(RUN) -m cosmos_lidar.cli demo --out $(OUT) $(if $(DATA),--data $(DATA)) $(if $(FORMAT),--format $(FORMAT)) $(if $(STEPS),--steps $(STEPS))

test: venv lint  ## the tests, without the slow ones, JOBS (2) at a time
	$(PYTEST) -m "not slow and not nightly"

test-slow: venv  ## the tests that take minutes
	$(PYTEST) -m "slow and not nightly"

test-nightly: venv  ## further cases of what the other tests show once
	$(PYTEST) -m nightly

test-all: venv lint  ## all tests
	$(PYTEST)

lint: venv  ## check style, spelling and types
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(VENV)/bin/codespell $(SPELLED)
	$(MYPY)

types: venv  ## check types with mypy
	$(MYPY)

format: venv  ## format the code
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

docs: venv  ## build the documentation with the API reference into build/docs, and check its links
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --quiet --strict
	$(RUN) docs/site/check_links.py build/docs

clean:  ## remove the environment and everything that was generated
	rm -rf $(VENV) $(OUT) build dump_results checkpoints .mypy_cache .pytest_cache .ruff_cache
