# Everything runs in .venv, which is made from the lock when it is missing or the lock has changed.
# Only make and Python 3.11+ are assumed to be there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
READY_DEV := $(VENV)/.ready-dev
OUT ?= out

.PHONY: setup run test test-long check bench lab lock clean
.DELETE_ON_ERROR:

setup: $(READY_DEV)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name one: make PYTHON=python3.12 ..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(READY_DEV): requirements-dev.lock $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

run: $(READY)
	$(BIN)/vmotion run examples/quickstart.toml --out $(OUT)

test: $(READY_DEV)
	$(BIN)/python -m pytest -n 2 -m "not long"

test-long: $(READY_DEV)
	$(BIN)/python -m pytest -n 2 -m long

check: $(READY_DEV)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# Every claim that needs no data from elsewhere, quickly. One that does not hold is said at the end.
BENCHES := quickstart there_and_back startup rolling_maintenance center_crash throughput blackout dirty_bytes demand_faults line_rate prediction brownout \
  against_qemu drs_schedule drs_peers drs_scale sim_scale
bench: $(READY_DEV)
	@failed=; for name in $(BENCHES); do echo "== $$name"; \
	  $(BIN)/python benchmarks/$$name.py --quick || failed="$$failed $$name"; done; \
	  test -z "$$failed" || { echo "a claim does not hold:$$failed"; exit 1; }

# Three Ray nodes with a Gigabit network between them on this machine; needs root and iproute2.
lab: $(READY_DEV)
	@$(BIN)/python -m tests.netlab.lab

# Resolve the newest versions that pyproject.toml admits; needs uv, which nothing else does.
lock: pyproject.toml
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header pyproject.toml --group runtime-build -o requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header pyproject.toml --group dev -c requirements.lock -o requirements-dev.lock

clean:
	rm -rf $(VENV) $(OUT) .pytest_cache .mypy_cache .ruff_cache
