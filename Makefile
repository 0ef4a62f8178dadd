# Two commands for a fresh machine with Python 3.11+ and make: `make course` and `make test`.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	if $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2])' 2>/dev/null; then command -v $$p; break; fi; done)
BIN := .venv/bin
READY := .venv/ready
# One thread a process: the work runs in parallel processes, and more threads than cores slow each other down.
export OMP_NUM_THREADS ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help setup course test lint lab serve picture clean

help:
	@echo "make course   set up, build the book, grade the sample class"
	@echo "make test     set up, run the whole test suite"
	@echo "make lab      open the notebooks in JupyterLab"
	@echo "make serve    show the built book on http://127.0.0.1:8000"
	@echo "make clean    remove what was built (not .venv)"

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@if [ -z "$(PYTHON)" ]; then echo "Python 3.11 or newer is needed and was not found; install it, or name it: make PYTHON=/path/to/python3"; exit 2; fi
	@echo "Setting up .venv with $(PYTHON) (some minutes the first time) …"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt "torch==2.13.0"
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	@touch $(READY)

course: $(READY)
	@$(BIN)/course make

test: $(READY) lint
	@$(BIN)/python -m pytest -n 2

lint: $(READY)
	@$(BIN)/ruff check --quiet . && $(BIN)/ruff format --check --quiet . && $(BIN)/mypy
	@$(BIN)/course release --check

lab: $(READY)
	@$(BIN)/course lab

serve: $(READY)
	@echo "The book is on http://127.0.0.1:8000 (Ctrl-C stops it)"
	@$(BIN)/python -m http.server --bind 127.0.0.1 --directory _build/html 8000

picture: $(READY)
	@$(BIN)/python tests/browser/picture.py

clean:
	rm -rf _build
