# Two commands do everything, set-up included:
#   make run              open napari on the phantom (SCAN=path for a scan of yours); without a display, take screenshots
#   make test             lint, types, import contracts, all tests
# Further: make bench, make screenshots (the pictures in docs), make format, make clean

SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SCAN ?=
# for `make screenshots`: scans to train on, or a model in place of training, and for how long to train
CASES ?=
MODEL ?=
MINUTES ?= 1
SCREEN := xvfb-run -a -s "-screen 0 1600x1000x24"
# tests never open windows on a real screen where a virtual one can be had
HEADLESS = $(if $(shell command -v xvfb-run),$(SCREEN))
# Real scans, where they are: tests marked "real" run on them and are skipped elsewhere.
export GENESIS_DATA

.PHONY: help run test lint tests engine-tests plugin-tests bench screenshots format clean system

help:
	@sed -n '1,5p' Makefile | sed 's/^# \{0,1\}//'

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "napari-genesis needs Python 3.11 or newer, this is " + sys.version)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade "pip>=25.1"
	$(BIN)/python -m pip install -q -c constraints.txt --group dev -e '.[all]'
	@touch $@

system:
	@bash tools/system_libraries.sh $(PURPOSE)

run: $(VENV)/.ready system
	@if [ -n "$$DISPLAY$$WAYLAND_DISPLAY" ] || [ "$$(uname -s)" != Linux ]; then \
	  $(BIN)/python -m napari_genesis.tour $(if $(SCAN),--scan "$(SCAN)"); \
	else \
	  $(SCREEN) $(BIN)/python -m napari_genesis.tour --screenshots screenshots $(if $(SCAN),--scan "$(SCAN)"); \
	fi

test: PURPOSE := test
test: $(VENV)/.ready system lint tests

lint: $(VENV)/.ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/npe2 validate napari_genesis/napari.yaml

# The engine's tests run where Qt and napari cannot be imported; the plugin's under a virtual display; both at once.
tests: $(VENV)/.ready
	$(MAKE) --no-print-directory -j2 $(if $(filter output-sync,$(.FEATURES)),--output-sync=target) engine-tests plugin-tests

engine-tests: $(VENV)/.ready
	GENESIS_NO_QT=1 $(BIN)/python -m pytest tests/engine tests/golden tests/science -p no:napari -p no:npe2 -p no:pytest-qt $(PYTEST_ARGS)

plugin-tests: $(VENV)/.ready
	$(HEADLESS) $(BIN)/python -m pytest tests/plugin tests/packaging $(PYTEST_ARGS)

bench: $(VENV)/.ready system
	$(BIN)/python -m benchmarks

screenshots: $(VENV)/.ready system
	$(SCREEN) $(BIN)/python -m napari_genesis.tour --screenshots docs/images --minutes $(MINUTES) \
	  $(if $(SCAN),--scan "$(SCAN)") $(if $(CASES),--cases $(CASES)) $(if $(MODEL),--model "$(MODEL)")

format: $(VENV)/.ready
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
