# Two commands do everything on a fresh machine: `make demo` and `make test`. Both set themselves up first.
SHELL := /bin/bash
PYTHON ?= python3
UV := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)
RUN := .venv/bin
# A variable of an active environment must not lead uv or Python elsewhere.
unexport VIRTUAL_ENV PYTHONPATH PYTHONHOME CONDA_PREFIX

.PHONY: help setup demo tour test check soak compat mutants bench audit format clean

help: ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: .venv/.ready ## create .venv with everything in it (installs uv itself where it is missing)

.venv/.ready: pyproject.toml uv.lock
	@test -x "$(UV)" || { echo "installing uv into .uv"; $(PYTHON) -m venv .uv && .uv/bin/pip install --quiet uv; }
	$(UV) sync --frozen --all-extras
	@touch $@

demo: setup ## phantom -> CLIP and M-FLAG -> table and runs/demo/report.html (5 to 15 minutes)
	$(RUN)/lingula demo --overwrite

tour: setup ## phantom -> G2D, CLIP and M-FLAG -> every task and runs/tour/report.html with overlays (at most 40 minutes)
	$(RUN)/lingula tour --overwrite

test: setup ## the test suite, without the long tests (at most 10 minutes)
	OMP_NUM_THREADS=1 $(RUN)/pytest -n 2 --dist worksteal -q

check: setup ## format, lint, types, import directions
	$(RUN)/ruff format --check .
	$(RUN)/ruff check .
	$(RUN)/mypy
	$(RUN)/lint-imports

soak: setup ## the long tests
	OMP_NUM_THREADS=1 $(RUN)/pytest -q -m soak --timeout 5400

compat: setup ## our numbers against the published colipri package, in an environment of its own (needs a package index)
	OMP_NUM_THREADS=1 $(RUN)/pytest -q -n 0 -m compat -rP tests/compat

mutants: setup ## seed faults into a copy of the source, one by one: the tests must see each (table on standard output)
	$(RUN)/python tests/mutants/run.py

bench: setup ## speed of the parts, each as a ratio within one run
	for script in benchmarks/*.py; do $(RUN)/python $$script || exit 1; done

audit: setup ## hashes of the lock file, licences, known vulnerabilities (needs the network)
	PATH="$(abspath $(dir $(UV))):$$PATH" $(RUN)/python tools/audit.py

format: setup ## put the code in its format
	$(RUN)/ruff format .
	$(RUN)/ruff check --fix .

clean: ## remove what the targets made
	rm -rf .venv .uv runs/demo stores/demo
