# Two commands on a fresh machine with Python 3.11, 3.12 or 3.13: `make demo` and `make test`.
# Both do all their own installing; `make setup` is what they call first.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
  "$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo "$$p" && break; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# What `make check` leaves to `make test`, so that it ends within two minutes.
QUICK := not slow and not kafka and not mqtt and not browser and not prometheus

.PHONY: setup demo test check bench docs lock lock-jars clean

setup: $(VENV)/.installed

$(VENV)/.installed: requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "BioTwin needs Python 3.11, 3.12 or 3.13; name one: make setup PYTHON=/path/to/python3.11"; exit 1; }
	@echo "Setting up $(VENV) from requirements.lock; the first time this downloads some hundred MB"
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --require-hashes --requirement requirements.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

# DEMO passes options on: make demo DEMO="--patients 50"
demo: setup
	@$(BIN)/python -m deploy.system_packages mosquitto
	@$(BIN)/biotwin demo $(DEMO)

# Everything, in the order of what fails soonest; pytest comes last whatever failed before it.
test: setup
	@$(BIN)/python -m deploy.system_packages
	@failed=""; \
	$(BIN)/ruff check . || failed="$$failed ruff-check"; \
	$(BIN)/ruff format --check . || failed="$$failed ruff-format"; \
	$(BIN)/mypy || failed="$$failed mypy"; \
	$(BIN)/pytest || failed="$$failed pytest"; \
	test -z "$$failed" || { echo "Failed:$$failed"; exit 1; }

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest --quiet -m "$(QUICK)"

# W1: one worker process against the embedded Kafka, beside a plain drain of the same records.
bench: setup
	@$(BIN)/biotwin bench twin --workload w1 --records 1000000 --patients 10000 --json

docs: setup
	$(BIN)/biotwin metrics document > docs/metrics.md
	$(BIN)/python -m deploy.configuration_document > docs/configuration.md
	$(BIN)/python -m deploy.api.schema > docs/command.schema.json
	$(BIN)/python -m deploy.schemas docs/schemas
	$(BIN)/python -m deploy.alert_documents docs
	$(BIN)/python -m deploy.ward_document docs

lock:
	uv pip compile pyproject.toml --group dev --extra demo --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --custom-compile-command 'make lock' --output-file requirements.lock

# Needs Maven.
lock-jars: setup
	$(BIN)/python -m deploy.resolve_jars

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
