# make demo | test | check | test-slow | test-part | test-all | test-trainers | test-ray | bench | bench-idle | bench-repr | bench-graft | bench-norm | bench-engine | bench-activity | bench-young | bench-memo400 | bench-no-harm | bench-keepalive | bench-ray | bench-family | bench-inspect | zoo: each makes .venv first if it is missing or out of date.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
# A file's tests go to one worker, which makes what they share once; in the order of the folders, the light ones last.
WORKERS = -n $(JOBS) --dist loadfile --no-loadscope-reorder

# What Python compiles it keeps, whatever the environment says: tests start many processes.
export PYTHONDONTWRITEBYTECODE =

.PHONY: demo test test-slow test-part test-all test-trainers test-ray check format bench bench-idle bench-repr bench-graft bench-norm bench-engine bench-activity bench-young bench-memo400 bench-no-harm bench-keepalive bench-ray bench-family bench-inspect zoo clean

$(STAMP): pyproject.toml constraints.txt tools/mend_torchvision.py tools/mended_torchvision.py
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "regrow needs Python 3.11 or newer, this is " + sys.version)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps torchvision timm
	$(BIN)/python tools/mend_torchvision.py
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/regrow run studies/demo-digits.toml --out runs/demo
	$(BIN)/regrow run studies/streams-digits.toml --out runs/demo-stream

test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q $(WORKERS) -m 'not slow and not gpu'

test-slow: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q $(WORKERS) -m 'slow and not gpu'

# As much of the slow tests as fits into MINUTES, those first that the last changes can have touched.
MINUTES ?= 10
test-part: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python tools/slow_part.py --minutes $(MINUTES) --jobs $(JOBS)

test-all: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q $(WORKERS)

# Callbacks, logs and docs/trainers.md against the real packages, which lie in a folder of their own: no other test meets them.
TRAINERS := $(VENV)/trainers
$(TRAINERS)/.installed: constraints-trainers.txt $(STAMP)
	rm -rf $(TRAINERS)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-compile --target $(TRAINERS) -r constraints-trainers.txt
	touch $@

# TABLE=results/trainers/table.md runs the slow ones too, and writes what the tests have shown.
test-trainers: $(TRAINERS)/.installed
	OMP_NUM_THREADS=1 PYTHONPATH=$(TRAINERS) REGROW_TRAINERS_TABLE=$(TABLE) $(BIN)/python -m pytest -q tests/trainers src/regrow/integrations $(if $(TABLE),,-m 'not slow')

# Studies on a cluster of two nodes of this machine, with Ray and a server for S3 in a folder of their own.
RAY := $(VENV)/ray
$(RAY)/.installed: constraints-ray.txt $(STAMP)
	rm -rf $(RAY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-compile --target $(RAY) -r constraints-ray.txt
	touch $@

test-ray: $(RAY)/.installed
	OMP_NUM_THREADS=1 PYTHONPATH=$(CURDIR)/$(RAY) $(BIN)/python -m pytest -q tests/on_ray -m 'not slow'

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports --no-cache
	$(BIN)/pydoclint src
	$(BIN)/codespell src tests docs studies benchmarks examples README.md DESIGN.md CONTRIBUTING.md CHANGELOG.md

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/scoring_overhead.py --out results/scoring-overhead

bench-idle: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/idle_cost.py --rounds 100 --out results/idle-cost

bench-repr: $(STAMP)
	$(BIN)/python benchmarks/repr_cost.py --out results/repr-cost

bench-graft: $(STAMP)
	$(BIN)/python benchmarks/graft_cost.py --out results/graft-cost

bench-norm: $(STAMP)
	$(BIN)/python benchmarks/norm_cost.py --threads 1 2 --out results/norm-cost

bench-engine: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/engine_speed.py --out results/engine-speed

bench-streams: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/stream_speed.py --out results/stream-speed

bench-memo400: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/memo400.py --jobs $(JOBS) --out results/memo400

bench-no-harm: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/no_harm.py --out results/no-harm

bench-activity: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/activity_cost.py --out results/activity-cost

bench-keepalive: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/keepalive_cost.py --out results/keepalive-cost

# Advice followed, networks of torchvision and timm judged, cost. What is measured already is not measured again but for the cost.
bench-inspect: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/inspect_advice.py --out results/inspect
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/inspect_networks.py --out results/inspect-networks
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/inspect_cost.py --out results/inspect-cost

# ccbp-pytorch lies in a folder of its own, as the trainers do; where it cannot be had its rows say so.
PEERS := $(VENV)/peers
bench-family: $(STAMP)
	-$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target $(PEERS) ccbp-pytorch==0.0.3 einops==0.8.2 torch-einops-utils==0.2.0
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/family_cost.py --peers $(PEERS) --out results/family-cost
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/family_cost.py --only Adam --rounds 4 --profile --out results/family-profile

bench-young: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/young_cost.py --out results/young-cost

bench-ray: $(RAY)/.installed
	OMP_NUM_THREADS=1 PYTHONPATH=$(CURDIR)/$(RAY) $(BIN)/python benchmarks/ray_throughput.py --out results/ray/throughput
	OMP_NUM_THREADS=1 PYTHONPATH=$(CURDIR)/$(RAY) $(BIN)/python benchmarks/ray_faults.py --out results/ray/faults

zoo: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/zoo.py

clean:
	rm -rf $(VENV) runs
