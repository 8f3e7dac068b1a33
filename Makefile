# Three commands: `make demo`, `make test`, `make style`. Each sets up what it needs from nothing.
# On a machine with an NVIDIA GPU and TensorRT a fourth: `make gpu-check`.
PYTHON ?= python3
# The CPU build, so that pip never fetches gigabytes of CUDA unasked.
# With a GPU: make setup TORCH=torch==2.13.0
ifeq ($(shell uname -s),Linux)
TORCH ?= torch==2.13.0+cpu
else
TORCH ?= torch==2.13.0
endif
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
STAMP := .venv/.segship-installed
# For one test that runs the real class in a process of its own. torchvision from PyPI is the CUDA
# build: inside .venv, beside a CPU torch, it would make transformers fail to import.
SMP := segmentation-models-pytorch==0.6.0 timm==1.0.31 torchvision==0.28.0

.PHONY: setup smp mlflow demo demo-checkpoint gpu-check test check style lock clean help

help:  ## Show what can be made
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /make \1\t/' | expand -t 24

setup: $(STAMP)  ## Make .venv with segship, its runtimes and the developer's tools

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 10) <= v <= (3, 13) else "Expected Python 3.10 to 3.13, but got %d.%d: make setup PYTHON=python3.12" % v)'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing into .venv (the first time: a minute or three) ..."
	$(PIP) install --quiet --upgrade pip
	$(PIP) install --quiet --no-deps --retries 1 --extra-index-url "$(TORCH_INDEX)" "$(TORCH)"
	$(PIP) install --quiet -c constraints.txt -e '.[openvino,dev]'
	@mkdir -p .venv/typing && ln -sfn "$$PWD" .venv/typing/segship
	@touch $@

smp: setup  ## The real segmentation_models_pytorch for its parity test, into .venv/smp (11 MB)
	$(PIP) install --quiet --no-deps --upgrade --target .venv/smp $(SMP)

mlflow: setup  ## A real MLflow server for its tests, into .venv/mlflow (large; without it they skip)
	$(PIP) install --quiet --upgrade --target .venv/mlflow mlflow

demo: setup  ## Checkpoint to measured report, on pictures drawn here (a minute or two)
	$(BIN)/python -m segship.cli run examples/demo/recipe.yaml

demo-checkpoint: setup  ## Train the demo's checkpoint again, into runs/demo-checkpoint (16 minutes)
	@mkdir -p runs
	$(BIN)/python examples/demo/train.py -o runs/demo-checkpoint

gpu-check: setup  ## On an NVIDIA GPU: engines of B0 and B2 beside torch, into benchmarks/results
	$(BIN)/python benchmarks/gpu_check.py $(GPU_CHECK)

test: check  ## Everything CI runs: linters, types, tests, doctests, README commands
	@test -d .venv/smp || $(MAKE) --no-print-directory smp || echo "Without segmentation_models_pytorch: its parity tests will skip."
	$(BIN)/python -m pytest -q

check: setup  ## Lint, format check and strict types
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	MYPYPATH=.venv/typing $(BIN)/python -m mypy --strict -p segship

style: setup  ## Repair what the linters can
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .

lock: setup  ## Resolve constraints.txt again, keeping the pins that still stand
	$(PIP) install --quiet uv
	$(BIN)/python -m uv pip compile pyproject.toml --universal --python-version 3.10 \
	  --extra openvino --extra dev --no-header --no-annotate -c constraints.txt -o .venv/lock.txt
	{ grep '^#' constraints.txt; grep -v -E '^(nvidia|cuda|triton)' .venv/lock.txt; } > .venv/lock.new
	mv .venv/lock.new constraints.txt

clean:  ## Remove build output and caches (keeps .venv)
	rm -rf build dist ./*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
