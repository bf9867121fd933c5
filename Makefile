# make setup | test | test-slow | check | demo | clean. Every target works in .venv and makes it where it is missing.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup check test test-slow demo clean
setup: .venv/ready

.venv/ready: setup.py
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,export,data,plot]'
	touch $@

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: check
	$(BIN)/pytest -n 2

demo: setup
	$(BIN)/reid demo

test-slow: setup
	$(BIN)/pytest -m slow

clean:
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache
