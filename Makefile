# Two commands do everything on a fresh machine: `make demo` runs a proven round, `make test` passes the tests.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: demo test quick lint bench clean

demo: $(VENV)/installed
	$(BIN)/zkmarket demo $(ARGS)

test: $(VENV)/installed
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/pytest $(ARGS)

quick: $(VENV)/installed
	$(BIN)/pytest -m unit $(ARGS)

lint: $(VENV)/installed
	$(BIN)/ruff check --fix . && $(BIN)/ruff format .

bench: $(VENV)/installed
	$(BIN)/python -m benchmarks.bench_round $(ARGS)

$(VENV)/installed: setup.cfg constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test]"
	touch $@

clean:
	rm -rf $(VENV) *.egg-info build dist .pytest_cache .ruff_cache .hypothesis
