# Set-up and tests, from nothing but Python 3.11 or newer.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Two at a time, a file's tests one after the other in one process: each has up to five ranks of its own. Files in their
# order, because the slowest have few tests, and xdist would keep those for the end, where a worker is then alone.
SPREAD := -n 2 --dist loadfile --no-loadscope-reorder
# Several processes at a time share the processor: with more threads each, they would only wait for one another.
ONE_THREAD := OMP_NUM_THREADS=1
# Dozens of processes import the same modules: they keep what they have compiled, whatever the caller's setting.
export PYTHONDONTWRITEBYTECODE :=
# Python compiles a module when it is first imported, which is a fraction of what pip would compile for half a minute.
PIP := $(BIN)/python -m pip install --disable-pip-version-check --no-compile -q -c constraints.txt

.PHONY: demo lab test lint types imports unit slow frontend notebooks docs bench lowest newest clean

demo: $(VENV)/.demo  ## run the quickstart on two spawned ranks; prints what was measured and where the HTML is
	$(BIN)/python notebooks/execute.py notebooks/00_quickstart.ipynb

lab: $(VENV)/.demo  ## open the quickstart in JupyterLab
	$(BIN)/jupyter lab notebooks/00_quickstart.ipynb

test: lint types imports unit frontend notebooks  ## everything but what `make slow` runs

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# By the environment, because older versions of mypy know no such option.
types: $(VENV)/.test
	MYPY_NUM_WORKERS=2 $(BIN)/mypy

imports: $(VENV)/.test
	$(BIN)/lint-imports

unit: $(VENV)/.test  ## doctests, unit tests, tests with real processes
	$(ONE_THREAD) $(BIN)/python -m pytest -q $(SPREAD) -p no:nbval -m "not frontend and not slow"

slow: $(VENV)/.test  ## benchmarks on small cases, tiles and stages under torchrun on one host
	$(ONE_THREAD) $(BIN)/python -m pytest -q $(SPREAD) -p no:nbval -m slow

frontend: $(VENV)/.test  ## widgets and pages in a browser, with the machine to itself: tests wait 2 s for a cancelled run to end
	$(BIN)/python -m pytest -q -m frontend tests/frontend

# Three at a time: a notebook often waits for a worker that starts. How much memory oneDNN needs depends on the processor's
# widest instructions; stored outputs are those of AVX2.
notebooks: $(VENV)/.test
	$(ONE_THREAD) PYTHONHASHSEED=0 ONEDNN_MAX_CPU_ISA=AVX2 $(BIN)/python -m pytest -q -n 3 --dist loadfile -o addopts= --nbval --nbval-current-env \
		--nbval-sanitize-with notebooks/sanitize.cfg --nbval-cell-timeout 300 notebooks/*.ipynb

# Not a part of `make test`, whose time is nearly used up; tests/test_docs.py and test_docs_run.py are. Needs no network.
docs: $(VENV)/.docs  ## build the documentation into docs/_build/html; a warning is an error
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

# Not a part of `make test`: each takes several gigabytes of downloads. pip itself does not run tools of the tests (lint,
# types, browsers) on other versions than the tested ones.
TOOLS := flip-evaluator ftfy hypothesis nbval peft psutil pytest pytest-xdist pyyaml
WITHOUT_BROWSER := --ignore tests/frontend --ignore tests/support/frontend.py --ignore tests/support/operations.py

lowest:  ## install the lowest versions that pyproject.toml allows, and run the unit tests on them
	$(PYTHON) -m venv --clear .venv-lowest
	.venv-lowest/bin/python -m pip install --disable-pip-version-check -q -c constraints-lowest.txt \
		-e '.[notebook,optuna,train]' $(TOOLS)
	.venv-lowest/bin/python -m pytest -q $(SPREAD) -m "not frontend" $(WITHOUT_BROWSER) -W default

newest:  ## install the newest versions that there are, and run the unit tests on them
	$(PYTHON) -m venv --clear .venv-newest
	.venv-newest/bin/python -m pip install --disable-pip-version-check -q -e '.[notebook,optuna,train]' $(TOOLS)
	.venv-newest/bin/python -m pytest -q $(SPREAD) -m "not frontend" $(WITHOUT_BROWSER) -W default

bench: $(VENV)/.demo
	$(BIN)/python -m toolkit bench tiles

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing the toolkit and what its notebooks need into $(VENV): two minutes or more, mostly downloads."
	$(PIP) -e '.[notebook]'
	touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing the toolkit and what its tests need into $(VENV): two minutes or more, mostly downloads."
	$(PIP) -e '.[test]'
	touch $@ $(VENV)/.demo

$(VENV)/.docs: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e '.[docs]'
	touch $@

clean:
	rm -rf $(VENV) .venv-lowest .venv-newest build docs/_build docs/notebooks
