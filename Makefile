# make demo   the whole path on synthetic drives, or on yours: make demo DATA=folder FORMAT=kitti
# make test   the tests;  make test-all  with the slow ones
# make venv   the environment alone, in .venv
# Every target does its own set-up. No options are needed; PYTHON=python3.12 picks an interpreter.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
OUT ?= demo
export OMP_NUM_THREADS ?= 2

.PHONY: venv demo test test-all lint clean

venv: $(VENV)/.ready

$(VENV)/.ready: setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 10) else f"Python 3.10 or newer is needed, {sys.executable} is {v[0]}.{v[1]}: make venv PYTHON=python3.12")'
	@$(PYTHON) -m venv --help >/dev/null 2>&1 && $(PYTHON) -c 'import ensurepip' 2>/dev/null \
		|| apt-get install -y python3-venv \
		|| { echo "python3-venv is missing: sudo apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --constraint constraints.txt torch
	$(VENV)/bin/pip install --quiet --constraint constraints.txt --editable '.[train,viz,waymo,dev]'
	@touch $@

demo: venv
	$(RUN) -m cosmos_lidar.cli demo --out $(OUT) $(if $(DATA),--data $(DATA)) $(if $(FORMAT),--format $(FORMAT))

test: venv lint
	$(RUN) -m pytest -m "not slow"

test-all: venv lint
	$(RUN) -m pytest

lint: venv
	$(RUN) -m ruff check .

clean:
	rm -rf $(VENV) $(OUT) dump_results checkpoints
