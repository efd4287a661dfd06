# These targets do everything on a machine with Python and make:
#   make demo                    install, then the main job on a synthetic dataset (minutes)
#   make demo DATASET=folder     the same on a folder DatasetXXX_Name in nnU-Net's raw format
#   make docs                    install with the extra docs, build the documentation's site into build/site
#   make test                    install with all extras of the tests, lint, type check, all tests
#   make coverage                all tests once more, and the share of lines that they run
#   make quick                   lint, type check, and the tests of rooms that train nothing (2 minutes)
#   make bench                   short forms of the studies of speed, beside their peers (under 10 minutes of 2 cores)
#   make bench BENCH=4           also of prediction and of the start of commands, on raw dataset 4
# Another interpreter: make demo PYTHON=python3.12

PYTHON ?= python3
VENV ?= .venv
DATASET ?=
BENCH ?=
JOBS ?= 2

ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif

# Stamps: written after success only, so that an interrupted install is repeated and a complete one is not.
CREATED := $(VENV)/created.stamp
INSTALLED := $(VENV)/installed.stamp
INSTALLED_TEST := $(VENV)/installed-test.stamp
INSTALLED_DOCS := $(VENV)/installed-docs.stamp
INPUTS := setup.py pyproject.toml constraints.txt

# What `quick` runs: rooms whose tests need no training, and the rules of the code itself.
QUICK := tests/dataset tests/planning tests/registration tests/evaluation \
	tests/test_architecture.py tests/test_array_files.py tests/test_code_limits.py tests/test_console.py \
	tests/test_errors.py tests/test_files.py tests/test_schema.py tests/test_temporaries.py

.PHONY: demo test quick coverage docs lint unit bench help

help:
	@sed -n '1,10s/^# \{0,1\}//p' Makefile

demo: $(INSTALLED)
	$(BIN)/samunet_demo $(if $(DATASET),--dataset "$(DATASET)")

test: lint unit

# The site has every page, and fails on a link or an anchor that leads nowhere.
docs: $(INSTALLED_DOCS)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

lint: $(INSTALLED_TEST)
	$(BIN)/ruff check .
	$(BIN)/mypy

# Processes run in parallel, each on one thread; tests/conftest.py gives the order of the files.
unit: $(INSTALLED_TEST)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

# Lines that only processes started by tests run (workers of nnU-Net, killed commands) do not count.
coverage: $(INSTALLED_TEST)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder \
		--cov=samunet --cov-report=term --cov-report=json:build/coverage.json

quick: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile -m "not slow" $(QUICK)

# Nothing is recorded; build/bench holds the models of the last two.
bench: $(INSTALLED_TEST)
	mkdir -p build/bench
	$(BIN)/python studies/preprocess_speed.py --volumes 2 --size 256 256 100 -o build/bench
	$(BIN)/python studies/metrics_speed.py --size 100 256 256 --classes 4
	$(BIN)/python studies/export_speed.py --size 192 192 200 -o build/bench
	$(BIN)/python studies/train_step.py --shape 36 50 35 --rounds 2
	$(BIN)/python studies/scaling.py --factors 1 2 --slices 8 --side 48
	$(BIN)/python studies/encoder_speed.py --encoders mini --input-sizes 256 --rounds 1
	$(BIN)/python studies/cache_speed.py --encoders mini --heads linear_head --rounds 1 --iterations 2
ifneq ($(BENCH),)
	$(BIN)/python studies/predict_speed.py -d $(BENCH) --cases 5 --minutes 0.1 -o build/bench
	$(BIN)/python studies/startup.py -d $(BENCH) --rounds 1 -o build/bench
endif

$(CREATED):
	@command -v "$(PYTHON)" >/dev/null 2>&1 || { \
	  echo "error: there is no '$(PYTHON)'."; \
	  echo "  mend: install Python 3.11, 3.12 or 3.13, or name one: make PYTHON=/path/to/python3.12"; exit 2; }
	@"$(PYTHON)" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "error: samunet needs Python 3.11, 3.12 or 3.13, and '$(PYTHON)' is $$($(PYTHON) --version 2>&1)."; \
	  echo "  mend: install one of them and name it: make PYTHON=python3.12"; exit 2; }
	@"$(PYTHON)" -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "error: '$(PYTHON)' has no venv module, which creates the environment in $(VENV)."; \
	  echo "  mend: install it; on Debian and Ubuntu: apt install python3-venv"; exit 2; }
	"$(PYTHON)" -m venv "$(VENV)"
	@touch $@

$(INSTALLED): $(CREATED) $(INPUTS)
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(INSTALLED_TEST): $(CREATED) $(INPUTS)
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e ".[test,nnunet,cluster,video,annotate,dicom,monai,tensorboard,wandb]"
	@touch $(INSTALLED) $@

$(INSTALLED_DOCS): $(CREATED) $(INPUTS)
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e ".[docs]"
	@touch $(INSTALLED) $@
