SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
PYTHON_PATHS := python tests examples benches
RUST_SOURCES := $(shell find rust -type f \( -name '*.rs' -o -name '*.sql' -o -name Cargo.toml \)) Cargo.toml Cargo.lock
# Every recipe that calls cargo starts with this: it finds Rust, or fetches it.
RUST := env="$$(scripts/rust-env)" && eval "$$env" &&
QUIET_PIP := PIP_DISABLE_PIP_VERSION_CHECK=1

.PHONY: help setup demo test test-rust test-python models loom fuzz faults bench bench-core bench-peers bench-faults bench-detection bench-sheets fmt lint types docs check clean

help: ## Show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

setup: .venv/.built ## Make .venv and build the package into it (release)

demo: .venv/.built ## Train a small model, kill its monitor halfway, count every point
	@$(BIN)/python examples/demo.py

test: test-rust test-python ## Run all tests, Rust and Python

test-rust: .venv/.ready ## Run the Rust tests; SEED=n for other random cases
	@$(RUST) PROPTEST_RNG_SEED=$(or $(SEED),1) cargo test --workspace --locked --quiet

test-python: .venv/.built ## Run the Python tests; T="-k name" narrows them
ifdef T
	@$(BIN)/python -m pytest -q $(T)
else
	@$(BIN)/python -m pytest -q -n 4 --dist worksteal tests/unit tests/integration tests/meta tests/gpu
	@$(BIN)/python -m pytest -q -n 2 tests/faults
endif

models: .venv/.ready ## Compare lanes and store with plain models; CASES=1000 random histories
	@$(RUST) PROPTEST_CASES=$(or $(CASES),1000) \
		cargo test --workspace --release --locked --quiet --test model

loom: .venv/.ready ## Check the lane protocol under every thread interleaving
	@$(RUST) CARGO_TARGET_DIR=target/loom RUSTFLAGS="--cfg loom" \
		cargo test -p training-monitor-spool --lib --release --locked --quiet model::

fuzz: .venv/.ready ## Feed hostile bytes to every decoder; N=1000000 inputs each
	@$(RUST) BOLERO_RANDOM_ITERATIONS=$(or $(N),1000000) \
		cargo test -p training-monitor-spool -p training-monitor-core --lib --release --locked fuzz

faults: .venv/.built ## Run the long fault tests, print one board; ROWS="1 5" narrows, SEED=n repeats
	@PYTHONPATH=tests $(BIN)/python -m faults.board --rows "$(ROWS)" $(if $(SEED),--seed $(SEED))

bench: .venv/.built ## Measure everything, other trackers too; benches/out/results.md
	@mkdir -p benches/out
	@{ for bench in benches/python/bench_*.py; do $(BIN)/python $$bench; echo; done; \
		$(MAKE) bench-core; echo; $(MAKE) bench-peers; } | tee benches/out/results.md

bench-core: .venv/.ready ## Measure the append path and the store in Rust
	@$(RUST) cargo bench --locked --quiet -p training-monitor-spool --bench spool
	@echo
	@$(RUST) cargo bench --locked --quiet -p training-monitor-core --bench store
	@echo
	@$(RUST) cargo bench --locked --quiet -p training-monitor-core --bench statistics

bench-peers: .venv/.built ## Measure other trackers beside ours; ONLY="jsonl wandb" narrows
	@PYTHONPATH=benches:benches/python $(BIN)/python -m peers --only "$(ONLY)"

bench-detection: .venv/.built ## Score detections and predictions on curves; DATA=dir EVERY=n ONLY="spike eta" JOBS=n OUT=file
	@PYTHONPATH=benches OMP_NUM_THREADS=1 $(BIN)/python -m detection --data "$(DATA)" --every $(or $(EVERY),1) \
		--only "$(ONLY)" --jobs $(or $(JOBS),1) --out $(or $(OUT),benches/out/detection.md)

bench-sheets: .venv/.built ## Draw curves with what is said of them; DATA=dir EVERY=n ONLY="spike plateau" OUT=dir
	@PYTHONPATH=benches OMP_NUM_THREADS=1 $(BIN)/python -m detection.sheets --data "$(DATA)" --every $(or $(EVERY),1) \
		--only "$(ONLY)" --out $(or $(OUT),benches/out/sheets)

bench-faults: .venv/.built ## Let other trackers meet the same kills, full disks and forks
	@PYTHONPATH=benches:benches/python $(BIN)/python -m peers.faults --only "$(ONLY)"

fmt: .venv/.ready ## Format Rust and Python
	@$(RUST) cargo fmt --all
	@$(BIN)/ruff check -q --fix-only $(PYTHON_PATHS)
	@$(BIN)/ruff format -q $(PYTHON_PATHS)

lint: .venv/.built ## Formatting, clippy, ruff
	@$(RUST) cargo fmt --all --check
	@$(RUST) cargo clippy --workspace --all-targets --locked --quiet -- -D warnings
	@$(BIN)/ruff check -q $(PYTHON_PATHS)
	@$(BIN)/ruff format -q --check $(PYTHON_PATHS)

types: .venv/.built ## mypy --strict; the stub of the extension is checked by the tests
	@$(BIN)/mypy --no-error-summary

docs: .venv/.built ## Run the examples in the documents and check the help texts
	@$(BIN)/python -m pytest -q tests/meta -k "readme or help or document"

check: lint types test loom ## Everything that CI runs, and loom

clean: ## Remove what was built; runs and downloads stay
	@rm -rf target .venv .mypy_cache .ruff_cache .pytest_cache dist
	@find python tests benches examples \( -name '*.so' -o -name __pycache__ \) -prune -exec rm -rf {} +

.venv/.ready: pyproject.toml scripts/setup-venv
	@echo "making .venv"
	@scripts/setup-venv
	@$(QUIET_PIP) $(BIN)/python -m pip install -q 'maturin>=1.14,<2'
	@touch $@

.venv/.built: .venv/.ready $(RUST_SOURCES)
	@echo "building the package (the first time takes two minutes)"
	@$(RUST) export $(QUIET_PIP) && { $(BIN)/maturin develop -q --release --locked --extras dev > .venv/build.log 2>&1 \
		|| { cat .venv/build.log; false; }; }
	@touch $@
