# make demo: everything from nothing to two fronts.  make test: what CI runs.  Both make and reuse .venv/.
PYTHON ?= python3
BIN := .venv/bin
EXAMPLE := examples/fashion_mnist

.DEFAULT_GOAL := help
.PHONY: help demo test test-board lint types imports generated pytest test-torch format benchmark clean

help:
	@echo "make demo        install into .venv and search the bundled example on two simulated boards"
	@echo "make test        everything CI checks"
	@echo "make test-board  everything on an emulated board, installed over ssh (Debian 12, x86-64; root to build it once)"
	@echo "make test-torch  export the networks of tests/models with torch again and compare their outputs (minutes)"
	@echo "make format      let ruff format the code"
	@echo "make benchmark   the figures of docs/benchmarks.md (an hour; other tools go into .venv-rivals, .venv-onnx2tf)"
	@echo "make clean       remove environments and the example's study"

.venv/bin/python:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip

.venv/installed: pyproject.toml | .venv/bin/python
	@echo "installing edgepareto into .venv (about a minute)"
	$(BIN)/python -m pip install --quiet --editable '.[host,agent]'
	@touch $@

.venv/installed-dev: pyproject.toml | .venv/bin/python
	@echo "installing edgepareto and its development tools into .venv (about a minute)"
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@ .venv/installed

demo: .venv/installed
	cd $(EXAMPLE) && ../../$(BIN)/host search --devices pi1,jetson2 \
	  $(if $(wildcard $(EXAMPLE)/study/study.sqlite),--resume)

test: lint types imports generated pytest

lint: .venv/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: .venv/installed-dev
	$(BIN)/mypy host agent proto

imports: .venv/installed-dev
	$(BIN)/lint-imports

generated: .venv/installed-dev
	$(BIN)/python proto/generate.py --check

pytest: .venv/installed-dev
	$(BIN)/python -m pytest

# Where there can be no board the tests are skipped, the last lines say why, and that is no failure.
test-board: .venv/installed-dev
	$(BIN)/python -m pytest -m board tests/on_board

.venv-torch/installed: tests/models/requirements-torch.txt
	@echo "installing torch into .venv-torch (minutes)"
	$(PYTHON) -m venv .venv-torch
	.venv-torch/bin/python -m pip install --quiet --upgrade pip
	.venv-torch/bin/python -m pip install --quiet --requirement $<
	@touch $@

test-torch: .venv-torch/installed
	cd tests && ../.venv-torch/bin/python -m models.make_torch_models --check

format: .venv/installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

benchmark: .venv/installed
	$(BIN)/python benchmarks/pruning.py
	$(BIN)/python benchmarks/export.py
	$(BIN)/python benchmarks/int8.py
	$(BIN)/python benchmarks/studies.py
	$(BIN)/python benchmarks/search.py
	$(BIN)/python benchmarks/deployments.py
	$(BIN)/python benchmarks/measurement.py
	$(BIN)/python benchmarks/upload.py

clean:
	rm -rf .venv .venv-proto .venv-tflite-legacy .venv-torch .venv-rivals .venv-onnx2tf $(EXAMPLE)/study
