"""The peer, run by against_keras.py in a virtual environment of its own: Keras 3 on TensorFlow, `fit` as commonly written.

Reads one request a line from standard input, {"net": name, "steps": n} or {"net": name, "data": file, "epochs": n}, and answers with one
line of JSON: {"net", "parameters", "rate" (rows a second)} or {"accuracy", "seconds"}.
"""

import json
import os
import sys
import time

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
from keras import layers

BATCH = 32


@keras.saving.register_keras_serializable()
class Places(layers.Layer):
    """Learned positions."""

    def build(self, shape):
        self.places = self.add_weight(shape=shape[1:], name="places")

    def call(self, x):
        return x + self.places


def cnn(shape=(28, 28, 1), classes=10):
    body = [layers.Conv2D(32, 3, activation="relu"), layers.MaxPooling2D(), layers.Conv2D(64, 3, activation="relu"), layers.MaxPooling2D()]
    return keras.Sequential([keras.Input(shape), *body, layers.Flatten(), layers.Dense(128, activation="relu"), layers.Dense(classes)])


def series(shape=(100, 32), classes=10):
    cells = [layers.LSTM(128, return_sequences=True), layers.LSTM(128, return_sequences=True), layers.LSTM(128)]
    return keras.Sequential([keras.Input(shape), *cells, layers.Dense(classes)])


def text(shape=(100,), classes=2):
    return keras.Sequential([keras.Input(shape), layers.Embedding(1000, 64), layers.LSTM(64), layers.Dense(classes)])


def encoder(shape=(100,), classes=2):
    tokens = keras.Input(shape)
    x = Places()(layers.Embedding(1000, 256)(tokens))
    for _ in range(2):
        read = layers.Dropout(0.1)(layers.MultiHeadAttention(4, 64, dropout=0.1)(x, x))
        x = layers.LayerNormalization(epsilon=1e-6)(x + read)
        fed = layers.Dropout(0.1)(layers.Dense(256)(layers.Dense(1024, activation="relu")(x)))
        x = layers.LayerNormalization(epsilon=1e-6)(x + fed)
    return keras.Model(tokens, layers.Dense(classes)(layers.GlobalAveragePooling1D()(x)))


def resnet(shape=(28, 28, 1), classes=10):
    """He et al. 2015 for small pictures: a 3×3 convolution, pooled and then normalised, and three blocks of 32, 64 and 128 channels."""

    def window(x, width, side=3, stride=1):
        return layers.Conv2D(width, side, stride, padding="same", use_bias=False, kernel_initializer="he_normal")(x)

    pictures = keras.Input(shape)
    x = layers.ReLU()(layers.BatchNormalization()(layers.MaxPooling2D()(window(pictures, 32))))
    for width, stride in ((32, 1), (64, 2), (128, 2)):
        kept = layers.BatchNormalization()(window(x, width, 1, stride)) if stride > 1 else x
        x = layers.ReLU()(layers.BatchNormalization()(window(x, width, 3, stride)))
        x = layers.BatchNormalization(gamma_initializer="zeros")(window(x, width))
        x = layers.ReLU()(layers.Add()([x, kept]))
    return keras.Model(pictures, layers.Dense(classes)(layers.GlobalAveragePooling2D()(x)))


NETS = {"cnn": cnn, "series": series, "text": text, "encoder": encoder, "resnet": resnet}
PICTURES = ("cnn", "resnet")


def compiled(name, **sizes):
    model = NETS[name](**sizes)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return model


def rate(models, name, steps):
    random = np.random.default_rng(0)
    rows = steps * BATCH
    if name in (*PICTURES, "series"):
        x = random.normal(size=(rows, 28, 28, 1) if name in PICTURES else (rows, 100, 32)).astype("float32")
    else:
        x = random.integers(1, 1000, (rows, 100))
    y = random.integers(0, 10 if name in (*PICTURES, "series") else 2, rows)
    if name not in models:
        models[name] = compiled(name)
        models[name].fit(x, y, batch_size=BATCH, verbose=0)
    start = time.perf_counter()
    models[name].fit(x, y, batch_size=BATCH, verbose=0)
    seconds = time.perf_counter() - start
    parameters = sum(int(np.prod(weight.shape)) for weight in models[name].trainable_weights)
    return {"net": name, "parameters": parameters, "rate": rows / seconds}


def accuracy(path, name, epochs, seed=None):
    data = np.load(path)
    if seed is not None:
        keras.utils.set_random_seed(seed)
    x, x_test = (data[part][..., None] if name in PICTURES else data[part] for part in ("x", "x_test"))
    model = compiled(name, shape=x.shape[1:], classes=int(data["y"].max()) + 1)
    start = time.perf_counter()
    model.fit(x, data["y"], batch_size=BATCH, epochs=epochs, verbose=0)
    seconds = time.perf_counter() - start
    return {"accuracy": float(model.evaluate(x_test, data["y_test"], verbose=0)[1]), "seconds": seconds}


if __name__ == "__main__":
    models = {}
    for line in sys.stdin:
        wanted = json.loads(line)
        found = (
            rate(models, wanted["net"], wanted["steps"]) if "steps" in wanted else accuracy(wanted.pop("data"), wanted.pop("net"), **wanted)
        )
        print("answer " + json.dumps(found), flush=True)
