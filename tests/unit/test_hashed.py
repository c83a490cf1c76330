"""Hashed words and n-grams beside an embedder: what they say, and that they are heard."""

import numpy as np
import pyarrow as pa
import pytest
import torch

import duomo
from duomo.core.kinds import text
from duomo.core.recipe import EncodeConfig
from duomo.nn.hashed import BANDS, KINDS, PLACES, Hashed, band

SYLLABLES = ("ba", "ko", "ri", "tu", "me", "sho", "ly", "dan", "fe", "gor")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Pairs that share a name that no other has: nothing to be learned by heart tells of the names in the test."""
    random = np.random.default_rng(0)
    names = sorted({"".join(random.choice(SYLLABLES, 4)) for _ in range(200)})
    rows = [{"question": f"Where does {name} live?", "answer": f"The house of {name.upper()} is by the sea."} for name in names]
    settings = {"data": {"task": "embed"}, "encode": {"vocabulary": 300, "tokenizer": "bpe"}}
    settings |= {"train": {"steps": 3}, "model": {"name": "bert", "size": "small", "options": {"width": 32, "depth": 0, "hashed": 256}}}
    return duomo.train(rows, settings, out=tmp_path_factory.mktemp("hashed") / "run")


def test_names_that_were_never_seen_find_their_partner(run):
    model, *baselines = run.scorecard["results"]
    assert model["metrics"]["recall_1"]["value"] > 0.9 and len(baselines) == 3
    shares = run.scorecard["facts"]["voices"]
    assert set(shares) == {"network", "letters"} and sum(shares.values()) == pytest.approx(1)


def test_a_vector_is_of_the_stated_size_and_the_same_alone_and_in_company(run):
    texts = ["Where does Tumeba live?", "x", "Tumeba lives in a house by the sea, and has lived there for long. " * 3]
    vectors = np.array([answer["prediction"] for answer in run.predict(texts)])
    assert vectors.shape == (3, 32 + 256) and np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-3)
    assert [run.predict([one])[0]["prediction"] for one in texts] == vectors.tolist()


def test_products_are_those_of_tf_idf():
    """Against the definition, of words alone: all other kinds weigh nothing."""
    texts = ["red apple red", "green apple", "blue sky over red hills"]
    state = text.learn(pa.chunked_array([pa.array(texts, pa.large_string())]), EncodeConfig(tokenizer="characters"))
    hashed = Hashed(PLACES - 5)
    weight_NK = torch.zeros(KINDS, BANDS)
    weight_NK[0] = torch.arange(1.0, BANDS + 1)
    hashed.put(spelled_VL=torch.from_numpy(text.spelling(state["json"], state["size"])), weight_NK=weight_NK)
    hashed.put(band_P=torch.full((PLACES + 1,), 2, dtype=torch.uint8))
    ids = [torch.from_numpy(row.astype(np.int64)) for row in text.encode_text(state, texts)]
    found = hashed(torch.nn.utils.rnn.pad_sequence(ids, batch_first=True))
    words = sorted({word for one in texts for word in one.split()})
    counts = np.array([[one.split().count(word) for word in words] for one in texts])
    dense = np.where(counts > 0, 1 + np.log(np.maximum(counts, 1)), 0)
    dense /= np.linalg.norm(dense, axis=1, keepdims=True)
    assert (found @ found.T).numpy() == pytest.approx(dense @ dense.T, abs=1e-5)
    assert band(torch.tensor([0, 1, 3, 4, 15, 16, 1e9])).tolist() == [0, 1, 1, 2, 2, 3, BANDS - 1]
