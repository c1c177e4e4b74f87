# `make demo` and `make test` do all the set-up a fresh machine needs, in .venv.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# torch comes first and alone, so that the build is yours to choose: TORCH_INDEX names an index of CPU
# wheels where your package index has CUDA builds only, and a torch already in .venv is kept.
TORCH  ?= torch==2.13.0
TORCH_INDEX ?=

.PHONY: demo test fuzz lint gpu-check docs docs-options setup clean help

help:
	@echo "make demo   set up .venv and run the whole chain on the bundled portraits, into ./demo"
	@echo "make test   set up .venv and run the whole test suite"
	@echo "make fuzz   set up .venv and feed damaged files to every reader, SECONDS=600 SEED=0"
	@echo "make lint   ruff and mypy"
	@echo "make gpu-check  compare a GPU with the processor and measure it, into gpu_check.json"
	@echo "make docs   build the documentation's pages into ./site"
	@echo "make docs-options  rewrite the tables in docs/ that the program fills in"
	@echo "make clean  remove .venv, ./demo and caches"

demo: setup
	$(BIN)/mfrkit demo -o demo --force

# One process a core, each with one thread; a file's tests stay together and share what they set up.
test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile

# The test suite does this for 15 seconds.
SECONDS ?= 600
SEED    ?= 0
fuzz: setup
	OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz/campaign.py --seconds $(SECONDS) --seed $(SEED)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# With the python that has a CUDA build of torch, where .venv has none: make gpu-check GPU_PYTHON=python3
GPU_PYTHON ?= $(BIN)/python
gpu-check:
	PYTHONPATH=. $(GPU_PYTHON) examples/gpu_check.py --json gpu_check.json

docs: setup
	$(BIN)/pip install --quiet --editable ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

docs-options: setup
	$(BIN)/python docs/tables.py

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -c "import torch" 2>/dev/null || \
	  $(BIN)/pip install --quiet "$(TORCH)" $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
	$(BIN)/pip install --quiet --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) demo site .pytest_cache .mypy_cache .ruff_cache .hypothesis
