# The two commands are `make demo` and `make test`; each sets up what it needs in .venv first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
OUT ?= out/demo
# Kernels for the GPU are compiled where there is one; `make G2VLM_CUDA=ON ...` compiles them anywhere.
G2VLM_CUDA ?= $(if $(shell command -v nvidia-smi 2>/dev/null),AUTO,OFF)
# Tests on every core, of which each computes with one.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n $(shell nproc) --maxprocesses 8 --dist worksteal
NATIVE := CMakeLists.txt $(shell find csrc kernels/cuda python -type f)

.PHONY: demo test test-slow test-benchmarks test-gpu bench lint format stubs setup clean

demo: setup
	$(BIN)/g2vlm-fast run --out $(OUT) --overwrite --ask "what is left of the table?"

test: setup
	$(PYTEST) -m "not slow and not gpu"

test-slow: setup
	$(PYTEST) -m "slow and not gpu"

test-benchmarks: setup
	$(PYTEST) benchmarks --benchmark-disable

test-gpu: setup
	$(BIN)/pytest -m gpu

bench: setup
	$(BIN)/pytest benchmarks

stubs: setup
	$(BIN)/python python/stub.py
	$(BIN)/ruff format g2vlm_fast/_C.pyi

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	git ls-files '*.cpp' '*.h' '*.cu' '*.cuh' | xargs $(BIN)/clang-format --dry-run --Werror

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	git ls-files '*.cpp' '*.h' '*.cu' '*.cuh' | xargs $(BIN)/clang-format -i

setup: $(VENV)/.installed

$(VENV)/.environment: requirements/torch.txt requirements/dev.txt requirements/oracles.txt \
		requirements/constraints.txt requirements/system.sh
	./requirements/system.sh
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/torch.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements/oracles.txt
	touch $@

$(VENV)/.installed: $(VENV)/.environment pyproject.toml $(NATIVE)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps \
		-Ccmake.define.G2VLM_CUDA=$(G2VLM_CUDA) -e .
	touch $@

clean:
	rm -rf build dist wheelhouse out $(VENV)
