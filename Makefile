# Two commands do everything on a fresh machine: `make demo` runs a proven round, `make test` passes the tests.
# Tiers of tests: quick (unit tests), test (what CI runs), test-all (the exhaustive cases and many random examples too).
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
NODE_STAMP = node_modules/.installed
PAGE = zkmarket/page/dist/replay.js
SETUP = $(VENV)/installed $(NODE_STAMP) $(PAGE)
PYTEST = $(BIN)/pytest -n 2 --dist worksteal

# In one go: pip and npm wait for their registries, mypy and the Solidity compiler take a core each.
AT_ONCE = @+$(MAKE) --no-print-directory -j2

.PHONY: demo test test-all test-flower test-extras quick lint bench wheel page clean setup check compiled page-tests

demo: setup
	$(BIN)/zkmarket demo $(ARGS)

test: setup
	$(AT_ONCE) check compiled page-tests
	$(PYTEST) $(ARGS)

test-all: setup
	ZKMARKET_TESTS=all $(PYTEST) $(ARGS)

# With the extra `flower`, whose absence fails.
test-flower: $(VENV)/installed
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[flower]"
	$(BIN)/pytest -m flower tests/flower $(ARGS)

# What needs the extra `lora`: peft and what it brings, 160 MB and seconds of imports, which `make test` does without.
test-extras: $(VENV)/installed
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[lora]"
	$(BIN)/pytest -m extras tests/learning/test_lora.py $(ARGS)

setup:
	$(AT_ONCE) $(SETUP)

check: $(SETUP)
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy
	npm run --silent check

page-tests: $(SETUP)
	PYTHON=$(BIN)/python npm run --silent test

compiled: $(SETUP)
	$(BIN)/python -c "from zkmarket.chain import compile_contracts; compile_contracts()"

quick: $(VENV)/installed
	$(PYTEST) -m unit $(ARGS)

lint: $(SETUP)
	$(BIN)/ruff check --fix . && $(BIN)/ruff format . && $(BIN)/mypy
	npm run --silent format

bench: $(VENV)/installed
	$(BIN)/python -m benchmarks.bench_round $(ARGS)

# dist/zkmarket-*.whl, with the compiled contracts in it.
wheel: setup
	$(BIN)/python -m zkmarket.chain.shipping .build/shipped
	rm -rf build dist/zkmarket-*.whl
	$(BIN)/pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist .
	cp constraints.txt dist

page: $(PAGE)

$(PAGE): $(NODE_STAMP) zkmarket/page/build.mjs $(wildcard zkmarket/page/src/*)
	npm run --silent page

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test]"
	touch $@

# The Solidity compiler, OpenZeppelin's contracts, anvil, and what the page is made with; no package's own scripts are run.
$(NODE_STAMP): package.json package-lock.json .npmrc
	npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	touch $@

clean:
	rm -rf $(VENV) node_modules zkmarket/page/dist .build *.egg-info build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis
