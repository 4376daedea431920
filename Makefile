# make demo: a real search to its end. make chaos: every fault. make test: everything that CI runs. make check: lint, types, layers.
PYTHON ?= python3
BIN := .venv/bin
SEED ?= 1
STAMP := .venv/.installed

.PHONY: demo check test unit chaos docs chromium bench-%

demo: $(STAMP)
	@$(BIN)/spikefront run studies/digits.yaml --workers 2

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check chromium
	$(BIN)/pytest -m 'not full'

unit: $(STAMP)
	$(BIN)/pytest tests/unit

chaos: $(STAMP)
	CHAOS_SEED=$(SEED) $(BIN)/pytest tests/chaos
	$(BIN)/pytest -m full tests/unit tests/integration

docs: $(STAMP)
	$(BIN)/python docs/generate.py

bench-%: $(STAMP)
	$(BIN)/python -m tests.bench.$*

# The browser tests need a Chromium of the system: installed where apt may, named where not.
chromium:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null \
	 || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && apt-get install -y -qq chromium; } \
	 || { echo "the browser tests need Chromium: install the package 'chromium' (apt-get install chromium)"; exit 1; }

$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 or newer is needed: set PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: set PYTHON=/path/to/it")'
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv .venv
	@echo "installing into .venv (a minute or two)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@
