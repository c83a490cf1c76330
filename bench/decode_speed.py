"""Writing speed of a GPT-2 of 124 M random weights: `transformers.generate` (float32), Duomo's own loop, llama.cpp through Duomo.

    python bench/decode_speed.py [--tokens 64] [--llama]      tokens a second, and how many times the peer

Needs `pip install transformers` and, for --llama, `pip install llama-cpp-python` compiled on the machine
(CMAKE_ARGS="-DGGML_NATIVE=ON").
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from duomo.core.contract import Field, Head
from duomo.core.device import Execution
from duomo.core.kinds import text as text_kind
from duomo.core.pretrained import Pretrained
from duomo.decode.engine import Engine, Engines
from duomo.decode.llama import LlamaEngine, agreement
from duomo.decode.loop import Language
from duomo.decode.quantize import quantize
from duomo.decode.sampling import Sampling
from duomo.exchange import gguf_models
from duomo.models import gpt

VOCABULARY, CONTEXT, PROMPT = 50257, 512, 64
BARS = {"bf16": 2.6, "int8": 4.5, "bf16 × 8": 3.0, "int8 × 8": 3.0, "llama f16": 4.0, "llama q8_0": 6.0, "llama q4_0": 10.0}


def vocabulary() -> dict:
    """A byte-level vocabulary of GPT-2's size; which words it has does not matter here."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = {
        token: place for place, token in enumerate([*alphabet, *(f"Ġw{n}" for n in range(VOCABULARY - len(alphabet) - 1)), "<|endoftext|>"])
    }
    tokenizer = Tokenizer(models.BPE(words, []))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    return text_kind.given(tokenizer.to_str(), {"end": "<|endoftext|>"})


def rate(engine: Engines, prompts: list[list[int]], tokens: int) -> float:
    """Tokens a second of all prompts at once, the fastest of three."""
    asked = Sampling(temperature=0, new_tokens=tokens)
    found = []
    for _ in range(3):
        start = time.perf_counter()
        streams = [engine.submit(prompt, asked) for prompt in prompts]
        for stream in streams:
            stream.text()
        found.append(sum(stream.written_tokens for stream in streams) / (time.perf_counter() - start))
    return max(found)


def peer(batch: int, tokens: int) -> float:
    config = transformers.GPT2Config(n_positions=CONTEXT)
    model = transformers.GPT2LMHeadModel(config).eval()
    prompt = torch.randint(0, VOCABULARY - 1, (batch, PROMPT))
    found = []
    for _ in range(3):
        start = time.perf_counter()
        written = model.generate(
            prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False, pad_token_id=0
        )
        found.append(batch * (written.shape[1] - PROMPT) / (time.perf_counter() - start))
    return max(found)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--llama", action="store_true")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    model = gpt.Model(gpt.SIZES["gpt2"], {"tokens": Field("tokens", (CONTEXT,), (VOCABULARY,))}, Head(VOCABULARY, "step")).eval()
    state = vocabulary()
    language = Language(state, frozenset())
    prompts = torch.randint(0, VOCABULARY - 1, (8, PROMPT)).tolist()
    peers = {1: peer(1, arguments.tokens), 8: peer(8, arguments.tokens)}
    print(f"{'transformers float32':24} {peers[1]:8.1f}  1.00x\n{'transformers float32 × 8':24} {peers[8]:8.1f}  1.00x", flush=True)

    def show(name: str, found: float, batch: int, note: str = "") -> None:
        ratio, bar = found / peers[batch], BARS.get(name, 0.0)
        print(f"{name:24} {found:8.1f} {ratio:5.2f}x  bar {bar}x {'met' if ratio >= bar else 'MISSED'} {note}", flush=True)

    execution = Execution(matmul="medium", threads=torch.get_num_threads())
    plain = Engine(model, language, CONTEXT, execution=execution)
    for precision in ("bf16", "int8"):
        engine = Engine(quantize(model, precision), language, CONTEXT, execution=execution)
        same = agreement(plain, engine, prompts[:2])
        show(
            precision,
            rate(engine, prompts[:1], arguments.tokens),
            1,
            f"greedy tokens as float32's up to the first that differs: {same:.0%}",
        )
        show(f"{precision} × 8", rate(engine, prompts, arguments.tokens), 8)
        engine.close()
    plain.close()
    if not arguments.llama:
        return
    with tempfile.TemporaryDirectory() as folder:
        options = gpt.SIZES["gpt2"].__dict__ | {"longest": CONTEXT}
        exported = Pretrained("gpt", options, model.state_dict(), {"text": state})
        for kind in ("f16", "q8_0", "q4_0"):
            path = Path(folder) / f"{kind}.gguf"
            gguf_models.write(path, exported, kind)
            other = LlamaEngine(path, language, CONTEXT)
            show(f"llama {kind}", rate(other, prompts[:1], arguments.tokens), 1)
            other.close()


if __name__ == "__main__":
    sys.exit(main())
