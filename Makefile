# Everything a newcomer types. `make help` lists it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
LOCK := requirements.txt
# Two pytest workers: what two cores carry, and TensorFlow in each fits into memory.
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help demo test slow containers check format bench lock schema textures clean

help:  ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.local textures  ## Set everything up and make the textures of manifests/quickstart.yaml
	$(BIN)/swatch submit manifests/quickstart.yaml --watch
	@echo 'To type `swatch` yourself:  source $(BIN)/activate'

test: $(VENV)/.test  ## Set everything up and run the tests
	$(BIN)/python -m pytest -n $(WORKERS) -m "not slow and not docker"

slow: $(VENV)/.test  ## Run the slow tests: real synthesis, end to end
	$(BIN)/python -m pytest -n $(WORKERS) -m "slow and not docker"

containers: $(VENV)/.test  ## Run the tests with a real Docker engine and registry
	$(BIN)/python -m pytest -m docker

check: $(VENV)/.test  ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.test  ## Put the code into the house's form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.test textures  ## Measure; docs/benchmarks.md holds results
	$(BIN)/python -m tests.bench

lock: $(VENV)/.python  ## Resolve both requirements.txt anew: that of pyproject.toml, and the image's
	$(PIP) install uv
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --upgrade --quiet \
	  --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" --output-file $(LOCK)
	$(BIN)/uv pip compile job_image/requirements.in --constraint $(LOCK) --universal --python-version 3.11 --quiet \
	  --generate-hashes --no-annotate --no-emit-index-url --no-emit-find-links \
	  --custom-compile-command "make lock" --output-file job_image/requirements.txt

schema: $(VENV)/.test  ## Write manifests/schema.json from the types
	$(BIN)/python -m orchestrator.manifest > manifests/schema.json

textures: manifests/textures/.made  ## Paint the source textures of the quickstart

manifests/textures/.made: manifests/make_textures.py $(VENV)/.local
	$(BIN)/python manifests/make_textures.py --into manifests/textures
	@touch $@

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Swatch needs Python 3.11 or later; name one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

# What a job on this machine needs, and nothing else: no cloud, no test tools.
$(VENV)/.local: $(VENV)/.python pyproject.toml $(LOCK)
	@echo "Installing Swatch and its engine into $(VENV) ..."
	$(PIP) install --constraint $(LOCK) --editable '.[local]'
	@touch $@

$(VENV)/.test: $(VENV)/.python pyproject.toml $(LOCK)
	@echo "Installing Swatch, its engine, AWS' SDKs and the test tools into $(VENV) ..."
	$(PIP) install --constraint $(LOCK) --editable '.[local,aws,sdk,test]'
	@touch $@ $(VENV)/.local

clean:  ## Remove what was installed and made here (jobs stay in the store)
	rm -rf $(VENV) outputs manifests/textures build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
