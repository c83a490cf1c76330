"""Writing speed at batch 1 and 8: `transformers.generate` (float32), Duomo's own loop, llama.cpp through Duomo.

    python bench/decode_speed.py [MODEL] [--tokens 64] [--llama]      tokens a second, and how many times the peer

MODEL is a GGUF or a Hugging Face folder of a decoder; without it a GPT-2 of 124 M random weights. Rates are of the tokens behind the first,
when prompts of 64 tokens have been read (what a prompt costs is printed beside them). Needs `pip install transformers`, and for --llama
llama-cpp-python compiled on the machine (CMAKE_ARGS="-DGGML_NATIVE=ON"). Of a real model it also says at how many of 480 places of greedy
answers each engine would write another token than float32, given the same beginning.
"""

import dataclasses
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from common import command_line
from duomo.core.contract import Field, Head
from duomo.core.device import answering
from duomo.core.kinds import text as text_kind
from duomo.core.pretrained import Pretrained
from duomo.decode.engine import Engine, Engines
from duomo.decode.fastest import agreement, tokens_of
from duomo.decode.llama import LlamaEngine
from duomo.decode.loop import Language
from duomo.decode.quantize import quantize
from duomo.decode.sampling import Sampling
from duomo.exchange import gguf_models, hf
from duomo.exchange.opening import open_pretrained
from duomo.models import gpt
from duomo.writing import plain

VOCABULARY, CONTEXT, PROMPT = 50257, 512, 64
BARS = {"bf16": 2.6, "f16": 2.6, "int8": 4.5, "bf16 x 8": 3.0, "f16 x 8": 3.0, "int8 x 8": 3.0}
BARS |= {"llama f16": 4.0, "llama q8_0": 6.0, "llama q4_0": 10.0}
TEXTS = (
    "The history of the bridge begins in",
    "To bake a good loaf of bread you first",
    "In mathematics, a group is",
    "She opened the letter and",
    "The most common cause of",
    "Water boils at",
    "def add(a, b):",
    "Once upon a time there was",
    "The parliament decided yesterday that",
    "My favourite book is",
    "Birds fly south because",
    "To install the program,",
    "The weather tomorrow will be",
    "He was born in a small town",
    "An electron is",
    "The company announced",
    "When the train finally arrived,",
    "List three fruits:",
    "The capital of Italy is",
    "Thank you for your letter",
)


def vocabulary() -> dict[str, Any]:
    """A byte-level vocabulary of GPT-2's size; which words it has does not matter here."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = {
        token: place for place, token in enumerate([*alphabet, *(f"Ġw{n}" for n in range(VOCABULARY - len(alphabet) - 1)), "<|endoftext|>"])
    }
    tokenizer = Tokenizer(models.BPE(words, []))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    return text_kind.given(tokenizer.to_str(), {"end": "<|endoftext|>"})


def opened(path: str) -> Pretrained:
    if path:
        return open_pretrained(path)
    torch.manual_seed(0)
    options = gpt.SIZES["gpt2"].__dict__ | {"longest": CONTEXT}
    model = gpt.Model(gpt.Config(**options), {"tokens": Field("tokens", (CONTEXT,), (VOCABULARY,))}, Head(VOCABULARY, "step"))
    return Pretrained("gpt", options, model.state_dict(), {"text": vocabulary()})


def timed(write: Callable[[int], int], tokens: int) -> tuple[float, float]:
    """Tokens a second behind the first, and seconds up to it: the best of three each."""
    seconds: dict[int, float] = {}
    for length in (1, tokens, 1, tokens, 1, tokens):
        start = time.perf_counter()
        write(length)
        seconds[length] = min(seconds.get(length, 1e9), time.perf_counter() - start)
    return (write(tokens) - write(1)) / max(1e-9, seconds[tokens] - seconds[1]), seconds[1]


def writing(engine: Engines, prompts: list[list[int]]) -> Callable[[int], int]:
    def write(tokens: int) -> int:
        # another first token each time: what was read before must not be reused
        write.turn = getattr(write, "turn", 0) + 1  # type: ignore[attr-defined]
        asked = Sampling(temperature=0, new_tokens=tokens)
        streams = [engine.submit([write.turn + 300, *prompt[1:]], asked) for prompt in prompts]  # type: ignore[attr-defined]
        for stream in streams:
            stream.text()
        return sum(stream.written_tokens for stream in streams)

    return write


def peer(folder: Path, prompts: list[list[int]]) -> Callable[[int], int]:
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    prompt = torch.tensor(prompts)

    def write(tokens: int) -> int:
        written = model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=tokens, min_new_tokens=tokens,
                                 do_sample=False, pad_token_id=0)  # fmt: skip
        return int(written.shape[0] * (written.shape[1] - PROMPT))

    return write


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("model", nargs="?", default="")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--llama", action="store_true")
    parser.add_argument("--precisions", nargs="*", default=["float32", "bf16", "f16", "int8"])
    arguments = parser.parse_args()
    given = opened(arguments.model)
    state = given.learned["text"]
    # nothing ends an answer here: all write equally many tokens
    language, size = Language(state, frozenset()), int(state["size"])
    model = gpt.Model(gpt.Config(**given.options), {"tokens": Field("tokens", (CONTEXT,), (size,))}, Head(size, "step")).eval()
    model.load_state_dict(given.tensors, strict=False)
    generator = torch.Generator().manual_seed(0)
    prompts = torch.randint(300, size - 1, (8, PROMPT), generator=generator).tolist()
    peers: dict[int, float] = {}

    def show(name: str, write: Callable[[int], int], batch: int, note: str = "") -> None:
        found, prompt = timed(write, arguments.tokens)
        ratio, bar = found / peers.setdefault(batch, found), BARS.get(name, 0.0)
        judged = f"bar {bar}x {'met' if ratio >= bar else 'MISSED'}" if bar else ""
        print(f"{name:24} {found:8.1f} tokens/s {ratio:5.2f}x  first token {prompt * 1e3:6.0f} ms  {judged} {note}", flush=True)

    texts = [text_kind.encode_text(state, [text])[0].tolist() for text in TEXTS] if arguments.model else []
    whole = dataclasses.replace(
        answering(model), threads=torch.get_num_threads()
    )  # as a finished run answers; smaller weights as `--prepare`
    truth: list[list[int]] = []

    def gate(engine: Engines) -> str:
        truth[:] = truth or [tokens_of(engine, prompt) for prompt in texts]
        return f"another token at {1 - agreement(truth, engine, texts):.1%}" if texts else ""

    with tempfile.TemporaryDirectory() as folder:
        hf.write(Path(folder) / "hf", given)
        for batch in (1, 8):
            show("transformers float32" + (f" x {batch}" if batch > 1 else ""), peer(Path(folder) / "hf", prompts[:batch]), batch)
        for precision in arguments.precisions:
            execution = whole if precision == "float32" else plain(whole)
            engine: Engines = Engine(quantize(model, precision), language, CONTEXT, execution=execution)
            show(precision, writing(engine, prompts[:1]), 1, gate(engine))
            show(f"{precision} x 8", writing(engine, prompts), 8)
            engine.close()
        for kind in ("f16", "q8_0", "q4_0") if arguments.llama else ():
            path = Path(folder) / f"{kind}.gguf"
            gguf_models.write(path, given, kind)
            engine = LlamaEngine(path, language, CONTEXT, slots=8)
            show(f"llama {kind}", writing(engine, prompts[:1]), 1, gate(engine))
            show(f"llama {kind} x 8", writing(engine, prompts), 8)
            engine.close()


if __name__ == "__main__":
    main()
