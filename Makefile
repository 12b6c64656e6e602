# `make run` sets everything up and starts Tare; `make test` runs every check. `make help` lists the rest.

PORT ?= 8501
HOST ?= 127.0.0.1
SEEDS ?= 1
IMAGE ?= tare
# Test files that run at a time; each takes several GB of memory.
WORKERS ?= 2
# Beside this folder, or where Keras keeps what its tutorials downloaded.
DATA ?= $(firstword $(wildcard mnist.npz ../*/data/mnist.npz $(HOME)/.keras/datasets/mnist.npz))

# MLPerf Tiny's ResNet-8 and CIFAR-10 for it.
RESNET ?= $(firstword $(wildcard resnet8.h5 ../*/corpus/models/001_tiny_resnet8_cifar10.h5))
IMAGES ?= $(firstword $(wildcard cifar10.npz ../*/data/cifar10_12k.npz))

VENV := .venv
PIP := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check
STORE := $(or $(TARE_HOME),var)/mlflow.db

# What every measurement is told.
BENCH = --seeds $(SEEDS) $(if $(EPOCHS),--epochs $(EPOCHS)) $(if $(OUT),--out "$(OUT)")

.PHONY: help run setup dev test check format docs bench bench-mnist bench-pairs bench-corpus bench-tables bench-ui chaos fuzz backup restore upgrade image clean screenshots

help: ## list these targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

run: setup ## set up what is missing and start the dashboard (PORT=8501, HOST=127.0.0.1)
	@echo "Tare is starting on http://$(HOST):$(PORT)"
	@exec $(VENV)/bin/streamlit run app.py --server.port $(PORT) --server.address $(HOST)

setup: $(VENV)/.runtime ## make .venv with the pinned versions, and the run store
	@test -n "$$MLFLOW_TRACKING_URI" || test -e "$(STORE)" || $(VENV)/bin/python -m runs.prepare

$(VENV)/.runtime: requirements.txt
	@python=$$(scripts/find-python) || exit 1; \
	if ! PYTHON=$(VENV)/bin/python scripts/find-python >/dev/null 2>&1; then \
		echo "Making $(VENV) with $$python"; "$$python" -m venv --clear $(VENV); \
	fi
	@echo "Installing what requirements.txt names; the first time takes some minutes"
	@$(PIP) -r requirements.txt
	@touch $@

dev: setup $(VENV)/.dev

$(VENV)/.dev: requirements-dev.txt $(VENV)/.runtime
	@$(PIP) -r requirements-dev.txt
	@touch $@

test: check ## format, lint, types, and all tests with the browser journeys
	@scripts/install-chromium
	$(VENV)/bin/python -m pytest --numprocesses $(WORKERS) --dist loadfile $(ARGS)

check: dev ## format, lint and types only
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy .

format: dev ## format the code and mend what the linter can
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

docs: setup ## write the generated parts of docs/ again
	$(VENV)/bin/python -m docs.generate

bench: setup $(VENV)/.dev ## how quick it is, beside plain scripts (DATA=mnist.npz, OUT=rows.csv, ONLY=run,sweep)
	@scripts/install-chromium
	$(VENV)/bin/python -m bench.ratios $(if $(DATA),--data "$(DATA)") $(if $(ONLY),--only "$(ONLY)") \
		$(if $(OUT),--out "$(OUT)")

bench-mnist: setup ## measure every technique on MNIST (DATA=mnist.npz, OUT=rows.csv, SEEDS=1, EPOCHS=n)
	@test -n "$(DATA)" || { echo "Name the MNIST file: make bench-mnist DATA=path/to/mnist.npz"; exit 1; }
	$(VENV)/bin/python -m bench.mnist "$(DATA)" $(BENCH)

bench-pairs: setup ## measure other kinds of input (CSV=file LABEL=column, ZIP=images.zip MODEL=model)
	$(VENV)/bin/python -m bench.pairs $(BENCH) $(if $(CSV),--csv "$(CSV)") $(if $(LABEL),--label "$(LABEL)") \
		$(if $(ZIP),--zip "$(ZIP)") $(if $(MODEL),--model "$(MODEL)")

bench-corpus: setup ## every technique on every model of a folder (DIR=folder, OUT=rows.csv, JOBS=2)
	@test -d "$(DIR)" || { echo "Name a folder of Keras models: make bench-corpus DIR=path/to/models"; exit 1; }
	$(VENV)/bin/python -m bench.corpus "$(DIR)" --jobs $(or $(JOBS),2) $(if $(OUT),--out "$(OUT)")

bench-tables: setup ## published tables, ours beside theirs (DATA=mnist.npz, RESNET=resnet8.h5, IMAGES=cifar10.npz, SEEDS=3)
	@test -n "$(DATA)" || { echo "Name the MNIST file: make bench-tables DATA=path/to/mnist.npz"; exit 1; }
	$(VENV)/bin/python -m bench.tables "$(DATA)" --seeds $(if $(filter file,$(origin SEEDS)),3,$(SEEDS)) \
		$(if $(RESNET),--model "$(RESNET)") $(if $(IMAGES),--images "$(IMAGES)") $(if $(ONLY),--only "$(ONLY)") \
		$(if $(OUT),--out "$(OUT)")

bench-ui: setup $(VENV)/.dev ## time to draw a project's page with 20 runs and with 1,000 (OUT=rows.csv)
	$(VENV)/bin/python -m bench.ui $(if $(OUT),--out "$(OUT)")

chaos: setup $(VENV)/.dev ## kill and starve the real app, and see what became of its runs (ONLY=worker_killed,store_away)
	@scripts/install-chromium
	$(VENV)/bin/python -m bench.chaos $(if $(ONLY),--only "$(ONLY)")

fuzz: setup ## open thousands of spoilt files of every format (COUNT=4000, SEED=0)
	$(VENV)/bin/python -m bench.fuzz --count $(or $(COUNT),4000) --seed $(or $(SEED),0)

backup: setup ## save projects, uploads and runs, also while the dashboard works (FILE=tare-backup.tar.gz)
	@$(VENV)/bin/python -m runs.backup save $(or $(FILE),tare-backup.tar.gz)

restore: setup ## unpack a backup into an empty home folder (FILE=tare-backup.tar.gz, TARE_HOME=folder)
	@$(VENV)/bin/python -m runs.backup restore $(or $(FILE),tare-backup.tar.gz)

upgrade: setup ## bring the runs of an older version up to date, keeping a copy of their database
	@$(VENV)/bin/python -m runs.upgrade

screenshots: setup $(VENV)/.dev ## photograph every page in both themes (ONLY=run,run-graph)
	@scripts/install-chromium
	$(VENV)/bin/python -m bench.screenshots $(if $(ONLY),--only "$(ONLY)")

image: ## build the container image (IMAGE=tare)
	docker build --tag $(IMAGE) .

clean: ## remove .venv and caches; the runs in var/ stay
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
