"""Language models there and back: the same numbers as `transformers`, the same words as llama.cpp.

    python bench/parity_language.py DATA [families] [minilm] [smollm2]

DATA holds minilm/ and smollm2/ (scripts/fetch_data.py DATA minilm smollm2).

Needs transformers and llama-cpp-python. Prints one table: every family with random weights, all-MiniLM-L6-v2's embeddings,
SmolLM2-135M-Instruct's greedy texts on 20 prompts from its GGUF, and round trips through a Hugging Face folder and a GGUF of 16 bits.
"""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from common import command_line
from duomo.core.kinds import text as text_kind
from duomo.core.pretrained import Pretrained
from duomo.core.template import render
from duomo.exchange import hf, parity
from duomo.exchange.convert import convert
from duomo.exchange.opening import open_pretrained

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "unit"))
QUESTIONS = (
    "What is the capital of France?", "Name three fruits.", "How many days has a week?", "What is 7 + 5?", "Who wrote Hamlet?",
    "Translate 'good morning' into Spanish.", "What is photosynthesis?", "Write a haiku about rain.", "What colour is the sky?",
    "Give me a synonym of 'fast'.", "What does HTTP stand for?", "List the planets.", "What is the boiling point of water?",
    "Why do leaves fall?", "Tell me a short joke.", "What is a prime number?", "Who painted the Mona Lisa?", "Explain gravity to a child.",
    "What is Python used for?", "How do I boil an egg?",
)  # fmt: skip
NEW = 32
SENTENCES = (
    "A man is eating food.",
    "Der Mann isst.",
    "The stock market fell sharply today after the announcement.",
    "a",
    "猫坐在垫子上",
    "Is it?",
)


def row(what: str, value: str) -> None:
    print(f"| {what} | {value} |", flush=True)


def families() -> None:
    from test_exchange_families import CASES, difference, ours, reference

    for case in CASES:
        theirs = reference(case)
        with tempfile.TemporaryDirectory() as folder:
            theirs.save_pretrained(folder)
            row(f"{case}: largest difference of logits from transformers", f"{difference(theirs, ours(hf.read(Path(folder)))):.1e}")


@torch.inference_mode()
def minilm(folder: Path) -> None:
    """Mean over true positions, then length one, as sentence-transformers does; theirs from transformers' BertModel."""
    found = open_pretrained(folder)
    mine, _ = parity.rebuilt(found)
    theirs, tokenizer = transformers.AutoModel.from_pretrained(folder).eval(), transformers.AutoTokenizer.from_pretrained(folder)
    worst = 0.0
    for sentence in SENTENCES:
        batch = tokenizer(sentence, return_tensors="pt")
        wanted = torch.nn.functional.normalize(theirs(**batch).last_hidden_state.mean(1), dim=1)
        text = found.learned["text"]
        ids = torch.from_numpy(text_kind.framed(text, text_kind.encode_text(text, [sentence])[0]).astype(np.int64))
        assert ids.tolist() == batch["input_ids"][0].tolist()
        output = mine({"text": ids.unsqueeze(0), "text.length": torch.tensor([len(ids)])})
        worst = max(worst, float((torch.nn.functional.normalize(output, dim=1) - wanted).abs().max()))
    row(f"all-MiniLM-L6-v2: largest difference of embeddings, {len(SENTENCES)} sentences", f"{worst:.1e}")


@torch.inference_mode()
def greedy(pretrained: Pretrained, prompts: Sequence[Sequence[int]], new: int) -> tuple[list[list[int]], list[list[float]]]:
    """The likeliest tokens after each prompt until the end of the answer, and by how many standard deviations of the logits each won."""
    model: Any = parity.rebuilt(pretrained)[0]
    end, found, leads = text_kind.special(pretrained.learned["text"], "end"), [], []
    for prompt in prompts:
        cache, tokens, lead = model.start(1, len(prompt) + new), list[int](), list[float]()
        logits = model.forward_cached(torch.tensor([list(prompt)]), cache)[0, -1]
        while len(tokens) < new:
            best = logits.topk(2)
            tokens.append(int(best.indices[0]))
            lead.append(float((best.values[0] - best.values[1]) / logits.std()))
            if tokens[-1] == end:
                break
            logits = model.forward_cached(torch.tensor([tokens[-1:]]), cache)[0, -1]
        found.append(tokens)
        leads.append(lead)
    return found, leads


def theirs(path: Path, prompts: Sequence[Sequence[int]], new: int, end: int) -> list[list[int]]:
    import llama_cpp

    model, found = llama_cpp.Llama(str(path), n_ctx=512, verbose=False, n_threads=1), []
    for prompt in prompts:
        tokens: list[int] = []
        model.reset()
        for token in model.generate(list(prompt), temp=0.0, repeat_penalty=1.0, top_k=1):
            tokens.append(token)
            if token == end or len(tokens) == new:
                break
        found.append(tokens)
    model.close()
    return found


def prompts_of(pretrained: Pretrained) -> list[list[int]]:
    text = pretrained.learned["text"]
    tokenizer = text_kind.tokenizer_of(text)
    asked = [
        render(text["chat_template"], [{"role": "user", "content": question}], text["names"], add_generation_prompt=True)
        for question in QUESTIONS
    ]
    tokenizer.encode_special_tokens = False  # a template writes special tokens; a user's text may not
    found = [tokenizer.encode(one, add_special_tokens=False).ids for one in asked]
    tokenizer.encode_special_tokens = True
    return found


def compare(what: str, mine: list[list[int]], other: list[list[int]], leads: list[list[float]]) -> None:
    """How many texts are the same, and how narrow the choice was where the others part."""
    parted, at = [], []
    for a, b, lead in zip(mine, other, leads, strict=True):
        if a != b:
            shorter = min(len(a), len(b)) - 1
            parted.append(next((place for place, pair in enumerate(zip(a, b, strict=False)) if pair[0] != pair[1]), shorter))
            at.append(lead[parted[-1]])
    same = sum(a == b for a, b in zip(mine, other, strict=True))
    narrow = f"; where they part, after {min(parted)} tokens and more, the two best stood {max(at):.3f} σ or less apart" if parted else ""
    row(what, f"{same} of {len(mine)} the same{narrow}")


def smollm2(source: Path) -> None:
    found = open_pretrained(source)
    prompts, end = prompts_of(found), text_kind.special(found.learned["text"], "end")
    mine, leads = greedy(found, prompts, NEW)
    print("  ", repr(text_kind.decode_text(found.learned["text"], mine[0])))
    compare(
        f"SmolLM2-135M-Instruct from its Q4_1 GGUF against llama.cpp on the same file, {NEW} tokens",
        mine,
        theirs(source, prompts, NEW, end),
        leads,
    )
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        convert(source, "duomo", folder / "run")
        for kind in ("f16", "q8_0", "q4_0"):
            out = convert(folder / "run", "gguf", folder / f"{kind}.gguf", kind)
            row(f"duomo → GGUF {kind}: golden logits moved by (allowed)", f"{out['distance']:.2g} ({out['tolerance']})")
        convert(folder / "run", "hf", folder / "hf")
        convert(folder / "hf", "duomo", folder / "back")
        again, _ = greedy(open_pretrained(folder / "back"), prompts, NEW)
        compare("duomo → hf → duomo, greedy", mine, again, leads)
        there = transformers.AutoModelForCausalLM.from_pretrained(folder / "hf").eval()
        with torch.inference_mode():
            ids = torch.tensor([prompts[0]])
            apart = (there(ids).logits[0, -1] - parity.rebuilt(found)[0]({"text": ids})[0, -1]).abs().max()
        row("the folder opened by transformers: largest difference of logits", f"{float(apart):.1e}")
        compare("duomo → GGUF f16 → llama.cpp, greedy", mine, theirs(folder / "f16.gguf", prompts, NEW, end), leads)
        compare("duomo → GGUF q8_0 → llama.cpp, greedy", mine, theirs(folder / "q8_0.gguf", prompts, NEW, end), leads)


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("parts", nargs="*", help="families, minilm, smollm2; all when left out")
    arguments = parser.parse_args()
    data, parts = arguments.data, arguments.parts or ["families", "minilm", "smollm2"]
    print("| what | measured |\n|---|---|")
    if "families" in parts:
        families()
    if "minilm" in parts:
        minilm(data / "minilm" / "model" if (data / "minilm" / "model").is_dir() else data / "minilm")
    if "smollm2" in parts:
        smollm2(data / "smollm2" / "smollm2.gguf")


if __name__ == "__main__":
    main()
