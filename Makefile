# Everything that people and CI do here. The first call makes .venv and installs into it;
# later calls start at once, until pyproject.toml or constraints.txt changes.
# Works with GNU make 3.81 and later.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
PYTEST_ARGS ?= -n 2

# Small matrices: more threads than one make them slower, and two test processes fight over the cores.
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1
export MKL_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM ?= false

.DEFAULT_GOAL := help
.PHONY: help demo test browser lint format evals evals-findings evals-sources evals-serve evals-api train-head evals-suggest evals-search evals-documents bench-store build smoke clean

help: ## list what there is
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## (.*)/  make \1	\2/'

demo: $(READY) ## the whole story on real trainings, offline, in about a minute
	$(BIN)/advisor demo

test: $(READY) ## run the tests
	$(BIN)/python -m pytest $(PYTEST_ARGS)

browser: ## install Debian's Chromium, in which the tests look at the page
	@command -v chromium >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; }

lint: $(READY) ## style, types, architecture
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY) ## rewrite the files in the style that lint asks for
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

evals: $(READY) ## measure on real data: findings, suggestions; tables and JSON under build/evals
	@mkdir -p build/evals
	$(BIN)/python evals/findings_deepobs.py --out build/evals/findings_deepobs.json
	$(BIN)/python evals/configuration_deepobs.py --out build/evals/configuration_deepobs.json
	$(BIN)/python evals/forecast_coverage.py --out build/evals/forecast_coverage.json
	$(BIN)/python evals/suggest_transfer --quick --out build/evals/suggest_transfer_quick.json
	$(BIN)/python evals/suggest_latency.py --quick --out build/evals/suggest_latency_quick.json
	$(BIN)/python evals/log_latency.py --out build/evals/log_latency.json
	$(BIN)/python evals/start_cost.py --out build/evals/start_cost.json
	$(BIN)/python evals/sigkill.py --out build/evals/sigkill.json
	$(BIN)/python evals/watch_storm.py --out build/evals/watch_storm.json
	$(BIN)/python evals/disk_full.py --out build/evals/disk_full.json
	$(BIN)/python evals/optuna_storage.py --out build/evals/optuna_storage.json
	$(BIN)/python evals/bytes_per_point.py --out build/evals/bytes_per_point.json
	$(BIN)/python evals/store_scale.py --out build/evals/store_scale.json
	$(BIN)/python evals/many_writers.py --out build/evals/many_writers.json
	$(BIN)/python evals/many_writers.py --compacting --out build/evals/many_writers_compacting.json
	$(BIN)/python evals/many_writers.py --s3 --out build/evals/many_writers_s3.json

evals-findings: $(READY) ## findings on injected faults, DeepOBS, loud faults and a storm of runs; FINDINGS_ARGS=--quick in 5 minutes
	@mkdir -p build/evals
	$(BIN)/python evals/findings_injected --out build/evals/findings_injected.json $(FINDINGS_ARGS)
	$(BIN)/python evals/findings_deepobs.py --out build/evals/findings_deepobs.json
	$(BIN)/python evals/findings_algoperf.py --out build/evals/findings_algoperf.json $(FINDINGS_ARGS)
	$(BIN)/python evals/loud_faults.py --out build/evals/loud_faults.json $(FINDINGS_ARGS)
	$(BIN)/python evals/watch_storm.py --out build/evals/watch_storm.json $(FINDINGS_ARGS)

train-head: $(READY) ## rebuild what findings have learned (advisor/findings/data) from trainings, in 40 minutes
	$(BIN)/python evals/findings_injected/learning.py

evals-suggest: $(READY) ## suggestions with a past beside Optuna's, and their latency, in an hour; SUGGEST_ARGS=--quick in minutes
	$(BIN)/python evals/suggest_transfer $(SUGGEST_ARGS)
	$(BIN)/python evals/suggest_latency.py --out build/evals/suggest_latency.json $(filter --quick,$(SUGGEST_ARGS))

evals-sources: $(READY) ## imports: speed, memory, how soon a watcher tells, damaged files; SOURCES_ARGS=--inputs=500 tries the latter
	@mkdir -p build/evals
	$(BIN)/python evals/sources_import.py --out build/evals/sources_import.json
	$(BIN)/python evals/watch_latency.py --out build/evals/watch_latency.json
	$(BIN)/python evals/sources_fuzz.py --out build/evals/sources_fuzz.json $(SOURCES_ARGS)

evals-serve: $(READY) ## the page on 100,000 runs, and 50 viewers beside a training, in about 10 minutes; SERVE_ARGS=--no-browser
	@mkdir -p build/evals
	$(BIN)/python evals/serve_scale.py --store build/evals/serve-store --out build/evals/serve_scale.json $(SERVE_ARGS)
	$(BIN)/python evals/serve_viewers.py --out build/evals/serve_viewers.json

evals-api: $(READY) ## 10,000 made-up requests against the JSON API, in half an hour; API_ARGS=--requests=500 tries it
	@mkdir -p build/evals
	$(BIN)/python -W ignore evals/api_fuzz.py --out build/evals/api_fuzz.json $(API_ARGS)

evals-search: $(READY) ## how well searches find runs again, and how fast; SEARCH_ARGS=--quick tries it
	@mkdir -p build/evals
	$(BIN)/python evals/search --out build/evals/search.json $(SEARCH_ARGS)
	$(BIN)/python evals/search_latency.py --out build/evals/search_latency.json $(filter --quick,$(SEARCH_ARGS))

evals-documents: $(READY) ## lies, orders in notes and failing language models against documents, in half an hour; DOCUMENTS_ARGS=--quick in minutes
	$(BIN)/python -W ignore evals/documents_adversarial --out build/evals/documents.json $(DOCUMENTS_ARGS)

bench-store: $(READY) ## our store beside trackio, wandb, MLflow and Aim, in 20 minutes; BENCH_ARGS=--quick tries it
	$(BIN)/python evals/store_rivals $(BENCH_ARGS)

build: $(READY) ## build the wheel into dist/
	$(BIN)/python -m build --wheel

smoke: build ## install the wheel into an empty environment without extras, and try it there
	rm -rf build/smoke && $(PYTHON) -m venv build/smoke
	build/smoke/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt dist/*.whl
	build/smoke/bin/advisor --help >build/smoke/help.txt
	cd build/smoke && bin/python ../../examples/01_track_a_run.py store && bin/python ../../examples/02_ask_what_next.py store && bin/advisor --store store runs && bin/advisor --store store doctor

clean: ## remove what was built; .venv stays
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find advisor storage tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(not (3, 11) <= v[:2] < (3, 14) and "Python 3.11, 3.12 or 3.13 is needed, but $(PYTHON) is {}.{}. Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)".format(v[0], v[1]))'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "$(PYTHON) cannot make a virtual environment; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "installing into $(VENV); the first time this takes some minutes" >&2
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all,dev]'
	@touch $@
