# Needs python3 (3.11 or newer), make and a package index; everything goes into .venv.
PYTHON ?= python3
BIN := .venv/bin
PROCESSES ?= 2
# Folder of cifar10.npz, mnist.npz, ..., for accuracy and pictures
DATA ?= .
# Files with tests marked `kernels`, so that `make kernels` need not collect all files
KERNELS = $(shell grep -rl "mark.kernels" tests)
# The variable silences an advertisement of mkdocs-material for another program
MKDOCS = NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs
# Tests that build no large network
QUICK = tests/cli/test_child.py tests/cli/test_help.py tests/cli/test_streams.py tests/cli/test_tables.py \
	tests/data tests/layers tests/render tests/test_deprecated.py tests/test_machine.py tests/test_package.py

.PHONY: demo test quick test-all kernels bench accuracy pictures runtimes docs docs-serve lint clean

demo: .venv/.installed
	$(BIN)/cnn-train NiN --data digits --epochs 15 --output runs/demo --force
	$(BIN)/cnn-evaluate runs/demo/model.keras --data digits --plot runs/demo/digits.png --force
	$(BIN)/cnn-export runs/demo/model.keras --format all --output runs/demo/exports --force
	@echo "The plot: runs/demo/digits.png"

test: lint
	$(BIN)/python -m pytest -n $(PROCESSES) --dist loadscope -m "not slow"
	$(MAKE) kernels

# For a look between two edits, in about two minutes on two cores
quick: .venv/.installed-test
	$(BIN)/python -m pytest -n $(PROCESSES) --dist loadscope -m "not slow" $(QUICK)

# In parts, each in fresh processes, as TensorFlow releases little of the memory that each network takes
test-all: .venv/.installed-test-all .venv-runtimes/.installed lint docs
	$(BIN)/python -m pytest -n $(PROCESSES) tests/applications
	$(BIN)/python -m pytest -n $(PROCESSES) tests/export
	$(BIN)/python -m pytest -n $(PROCESSES) --ignore=tests/applications --ignore=tests/export
	$(MAKE) kernels

# Tests of numerics, with the kernels that TensorFlow uses on other processors: without oneDNN, and oneDNN without AVX-512
kernels: .venv/.installed-test
	TF_ENABLE_ONEDNN_OPTS=0 $(BIN)/python -m pytest -n $(PROCESSES) -m "kernels and not slow" $(KERNELS)
	TF_ENABLE_ONEDNN_OPTS=1 ONEDNN_MAX_CPU_ISA=AVX2 $(BIN)/python -m pytest -n $(PROCESSES) -m "kernels and not slow" $(KERNELS)

bench: .venv/.installed
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/kernels.py --isa AVX2
	$(BIN)/python benchmarks/training_steps.py
	$(BIN)/python benchmarks/training_engine.py
	$(BIN)/python benchmarks/input_pipeline.py
	$(BIN)/python benchmarks/inference.py
	$(BIN)/python benchmarks/evaluation.py
	$(BIN)/python benchmarks/gpu_training.py
	$(BIN)/python benchmarks/devices.py
	$(BIN)/python benchmarks/exports.py
	$(BIN)/python benchmarks/exports.py --foreign ConvNeXtTiny DenseNet121 EfficientNetV2B0 MobileNetV2 MobileNetV3Small
	$(BIN)/python benchmarks/dense_crf.py
	$(BIN)/python benchmarks/masks.py
	$(BIN)/python benchmarks/boxes.py
	$(BIN)/python scripts/speed_table.py

# Measures every network that ships on its test split again
accuracy: .venv/.installed
	$(BIN)/python scripts/measure_accuracy.py "$(DATA)"

# Draws docs/images of the networks that ship
pictures: .venv/.installed
	$(BIN)/python scripts/draw_shipped.py "$(DATA)"

# Builds the documentation into site/; a broken link, anchor or reference fails (mkdocs.yml)
docs: .venv/.installed-docs
	$(MKDOCS) build

# Shows the documentation at http://127.0.0.1:8000, and again after each edit
docs-serve: .venv/.installed-docs
	$(MKDOCS) serve

# Writes docs/runtimes.md: the networks that ship, in other runtimes
runtimes: .venv/.installed .venv-runtimes/.installed
	$(BIN)/python scripts/runtimes_table.py

# Writes the notebooks, docs/notebooks/*.ipynb, from their sources
.PHONY: notebooks
notebooks: .venv/.installed-notebooks
	$(BIN)/jupytext --quiet --to ipynb docs/notebooks/*.py

lint: .venv/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell cli keras_cnns scripts benchmarks tests examples docs README.md README.zh.md CHANGELOG.md CONTRIBUTING.md SECURITY.md .github Makefile setup.cfg
	$(BIN)/mypy

# --no-compile: pip would compile all of TensorFlow, which takes long; Python compiles only the imported modules
.venv/.installed: setup.cfg pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --no-compile -e .
	touch $@

# One stamp per extra, as demo needs none of them
.venv/.installed-%: .venv/.installed
	$(BIN)/python -m pip install --quiet --no-compile -e .[$*]
	touch $@

# Runtimes that are not dependencies, in a separate environment; tests skip the missing ones
.venv-runtimes/.installed:
	test -x .venv-runtimes/bin/python || $(PYTHON) -m venv .venv-runtimes
	for package in numpy openvino opencv-python-headless tflite-micro onnx; do \
		.venv-runtimes/bin/python -m pip install --quiet --no-compile $$package || echo "$$package is missing"; done
	mkdir -p .venv-runtimes/node
	cd .venv-runtimes/node && echo '{"private": true}' > package.json && \
		npm install --no-audit --no-fund --silent onnxruntime-web || echo "onnxruntime-web is missing"
	touch $@

clean:
	rm -rf .venv .venv-runtimes build dist runs exports site *.egg-info .ruff_cache
