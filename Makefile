# Everything runs in .venv, made from requirements.lock; no target needs anything installed beforehand but
# Python 3.11+, make and a C compiler.
PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Two threads per process make small tensor calls slower, not faster: parallelism is one worker per core.
export OMP_NUM_THREADS ?= 1
# Longest chain of the slow sides of the benchmarks: 8 takes half an hour, 12 one and a half.
LONGEST ?= 8
# Processes that share the tests, by whole files; each may hold 3 GiB.
TESTERS ?= 2

.PHONY: install environment-sevennet environment-allegro quickstart lint test test-all test-slurm test-gpu test-weights reference-tables store report bench lock clean

install: .venv/installed

.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

# Models that cannot be installed with the others have an environment each, named by `environment` in their cards.
# Editable like .venv, since driver and workers must run the same code.
environment-sevennet: .venv-sevennet/installed

.venv-sevennet/installed: environments/sevennet.txt pyproject.toml
	$(PYTHON) -m venv .venv-sevennet
	.venv-sevennet/bin/python -m pip install --quiet --requirement environments/sevennet.txt
	.venv-sevennet/bin/python -m pip install --quiet --no-deps --editable .
	touch $@

# Environment for Allegro networks of generalization campaigns.
environment-allegro: .venv-allegro/installed

.venv-allegro/installed: environments/allegro.txt pyproject.toml
	$(PYTHON) -m venv .venv-allegro
	.venv-allegro/bin/python -m pip install --quiet --requirement environments/allegro.txt
	.venv-allegro/bin/python -m pip install --quiet --no-deps --editable .
	touch $@

quickstart: install
	$(BIN)/hbcoop run quickstart quickstart.zarr
	$(BIN)/hbcoop analyse quickstart.zarr --figure quickstart.png

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/python -m pytest -n $(TESTERS) --dist worksteal --durations=25 -m "not slow and not slurm and not gpu and not weights"

test-all: lint
	$(BIN)/python -m pytest

# Needs the packages that tests/slurm/mini_slurm.py names; without them the tests are skipped with a reason.
test-slurm: install environment-sevennet
	$(BIN)/python -m pytest -m "slurm and not slow" tests/slurm

# The models and a campaign on a CUDA device against the same on the CPU; skips where there is none.
test-gpu: install
	$(BIN)/python -m pytest -m gpu tests/gpu

# Published models against the paper, each wherever its checkpoint is found; hbcoop models fetch downloads those missing.
test-weights: install
	$(BIN)/python -m pytest -m weights tests/weights

# Writes docs/reference-levels.md: the bundled references, and the models of the published store beside them.
reference-tables: install
	$(BIN)/python analysis/reference_tables.py store/nma.zarr.zip

# Makes the published stores again: every model whose parameters are found (HBCOOP_CHECKPOINTS), hours on two cores; it
# continues after any interruption. Exit code 1 means that some cells have no result, with their reasons in the store.
store: install environment-sevennet
	$(BIN)/hbcoop run store/nma.yaml published.zarr --cluster store/pools.yaml || [ $$? -eq 1 ]
	$(BIN)/hbcoop run store/slow.yaml published.zarr --cluster store/pools.yaml || [ $$? -eq 1 ]
	$(BIN)/hbcoop export published.zarr -o store/nma.zarr.zip
	$(BIN)/hbcoop run twins twins.zarr || [ $$? -eq 1 ]
	$(BIN)/hbcoop export twins.zarr -o store/twins.zarr.zip
	$(BIN)/hbcoop run store/rotamers.yaml rotamers.zarr || [ $$? -eq 1 ]
	$(BIN)/hbcoop export rotamers.zarr -o store/rotamers.zarr.zip

report: install
	$(BIN)/hbcoop report store/nma.zarr.zip -o report.html --title "Published store"

# Every script measures both parts of its ratios; minimise.py continues where it was interrupted.
bench: install
	$(BIN)/python benchmarks/ani_kernel.py
	$(BIN)/python benchmarks/minimise.py calls
	$(BIN)/python benchmarks/minimise.py ours so3lr $(LONGEST)
	$(BIN)/python benchmarks/minimise.py ours ani-2x
	$(BIN)/python benchmarks/minimise.py ase so3lr $(LONGEST)
	$(BIN)/python benchmarks/minimise.py sella so3lr $(LONGEST)
	$(BIN)/python benchmarks/minimise.py geometric so3lr 3
	$(BIN)/python benchmarks/minimise.py report
	$(BIN)/python benchmarks/overhead.py

# Pins the packages of the current .venv; edit pyproject.toml, install, then run this.
lock:
	$(BIN)/python -m pip freeze --all --exclude-editable | grep -v '^pip==' | sed -E 's/\+cpu$$//; s/\+cu[0-9]+$$//' > requirements.lock

clean:
	rm -rf .venv .venv-sevennet .venv-allegro build dist .pytest_cache .mypy_cache .ruff_cache quickstart.zarr quickstart.zarr.* quickstart.png published.zarr published.zarr.* twins.zarr twins.zarr.* rotamers.zarr rotamers.zarr.* report.html
