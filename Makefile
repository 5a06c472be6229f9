# Each target makes its own virtual environment and installs what it needs.
PYTHON ?= python3
BIN := .venv/bin
export OPENBLAS_NUM_THREADS ?= 1
export OMP_NUM_THREADS ?= 1

.PHONY: demo test test-fast test-scale check bench bench-speed bench-watch bench-drift bench-counters bench-reading bench-scale bench-outlets bench-synthesis bench-faults bench-quality
.PHONY: coverage mutants soak docs licences dist wheel-check clean

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: .venv/installed
	$(BIN)/anomvae demo orders

# Most tests wait for processes, so that four share two cores well.
WORKERS ?= 4
PYTEST := -m pytest -n $(WORKERS) --dist worksteal

test: .venv/installed
	$(BIN)/python $(PYTEST)

# What one waits for while one writes: about a minute on two cores. A file stays with one process, and so do its fixtures.
test-fast: .venv/installed
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder -m 'not slow and not scale'

coverage: .venv/installed
	$(BIN)/coverage erase
	$(BIN)/coverage run $(PYTEST)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --fail-under=90

mutants: .venv/installed
	$(BIN)/python -m benchmarks.mutants

.venv/s3: .venv/installed
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,s3test]'
	touch $@

test-scale: .venv/s3
	$(BIN)/python -m pytest tests/test_scale.py tests/test_places.py -m scale

check: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench bench-speed: .venv/bench
	$(BIN)/python -m benchmarks.bench

bench-watch: .venv/installed
	$(BIN)/python -m benchmarks.watch

bench-drift: .venv/installed
	$(BIN)/python -m benchmarks.drift

bench-reading: .venv/bench
	$(BIN)/python -m benchmarks.reading

bench-counters: .venv/installed
	$(BIN)/python -m benchmarks.counters

bench-scale: .venv/installed
	$(BIN)/python -m benchmarks.scale

bench-outlets: .venv/installed
	$(BIN)/python -m benchmarks.outlets

soak: .venv/installed
	$(BIN)/python -m tests.soak

.venv/bench: .venv/installed
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,bench]'
	touch $@

bench-synthesis: .venv/bench
	$(BIN)/python -m benchmarks.synthesis

bench-faults: .venv/bench
	$(BIN)/python -m benchmarks.faults

# ANOMVAE_BENCH_SETS names a folder of .npz files (X, y), with peers.csv beside it where there are figures of others.
bench-quality: .venv/bench
	$(BIN)/python -m benchmarks.quality

docs: .venv/installed
	for name in schemas commands configuration formats; do $(BIN)/python docs/make_$$name.py || exit; done

.venv/dist: .venv/installed
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,dist]'
	touch $@

licences: .venv/bench .venv/s3 .venv/dist
	$(BIN)/python docs/make_licences.py

dist: .venv/dist
	$(BIN)/python -m build
	$(BIN)/python -m twine check --strict dist/*

# A wheel, installed into an environment of its own. CHECK='--python PATH --without-torch' does it on another Python.
wheel-check: .venv/dist
	$(BIN)/python -m tests.wheel $(CHECK)

clean:
	rm -rf .venv dist build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
