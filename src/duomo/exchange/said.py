"""What a Hugging Face folder cannot say by its weights alone: how a run answers beyond them, in words, and in a file beside.

transitions.json    of a tagger: which class may follow which, and how much that counts; README.md has the lines that apply it
"""

from dataclasses import replace
from pathlib import Path

from duomo.core.files import write_atomically, write_json
from duomo.core.messages import tr
from duomo.core.pretrained import Pretrained

SEARCH = '''import json
from pathlib import Path
import numpy as np, torch
from transformers import AutoModelForTokenClassification, AutoTokenizer

folder = Path(".")
model, tokenizer = AutoModelForTokenClassification.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
told = json.loads((folder / "transitions.json").read_text())
moves, starts, stops = (np.array(told[name]) for name in ("moves", "starts", "stops"))

def classes(text, begins):
    """The class of each word of `text`; `begins`: at which character each begins."""
    read = tokenizer(text, return_offsets_mapping=True, return_tensors="pt")
    ends = read.pop("offset_mapping")[0, :, 1].numpy()
    pieces = [int(np.flatnonzero(ends > begin)[0]) for begin in begins]
    with torch.inference_mode():
        scores = model.eval()(**read).logits[0].log_softmax(-1)[pieces].numpy()
    best, back = scores[0] + starts, []
    for score in scores[1:]:
        both = best[:, None] + moves
        back, best = [both.argmax(0), *back], both.max(0) + score
    path = [int((best + stops).argmax())]
    for step in back:
        path.insert(0, int(step[path[0]]))
    return [told["labels"][place] for place in path]
'''
POOLED = """import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

model, tokenizer, weights = AutoModel.from_pretrained("."), AutoTokenizer.from_pretrained("."), load_file("model.safetensors")
read = tokenizer(["a text"], return_tensors="pt", truncation=True, padding=True)
inside = read["attention_mask"].unsqueeze(-1)
mean = (model.eval()(**read).last_hidden_state * inside).sum(1) / inside.sum(1)
logits = mean @ weights["classifier.weight"].T + weights["classifier.bias"]
"""


def answering(model: Pretrained) -> Pretrained:
    """The model with its head divided by the temperature that validation chose, so that its softmax is the run's own confidence."""
    temperature = float(model.facts.get("temperature", 1.0))
    if model.model != "bert" or temperature == 1.0 or "head.weight" not in model.tensors:
        return model
    head = {name: model.tensors[name] / temperature for name in ("head.weight", "head.bias")}
    return replace(model, tensors={**model.tensors, **head}, facts={**model.facts, "temperature": 1.0})


def beside(place: Path, model: Pretrained, temperature: float = 1.0) -> list[str]:
    """Writes what belongs beside the weights, and says in sentences what others must know to get the run's answers."""
    said, code = [], ""
    labelled = "head.weight" in model.tensors and model.model == "bert"
    if model.facts.get("task") == "tag" and labelled:
        told, code = model.facts.get("transitions") or {}, SEARCH
        said.append(tr("Each label is its token's own best for others; the run also weighs which may follow which. transitions.json holds "
                       "that, README.md the lines that apply it, for texts that the model reads at once."))  # fmt: skip
        labels = [label for _, label in sorted(dict(model.facts["labels"]).items(), key=lambda pair: int(pair[0]))]
        write_json(place / "transitions.json", {"labels": labels, **told})
    elif labelled and "pooler.weight" not in model.tensors:
        code = POOLED
        said.append(tr("This classifier answers from the mean over all tokens; the classes of transformers read the first token alone and "
                       "would leave its head out. README.md has the lines that answer as the run does."))  # fmt: skip
    if labelled and temperature != 1.0:
        said.append(tr("The head is divided by the temperature {value:.3g}, so that probabilities are the run's own.", value=temperature))
    if said:
        parts = [f"# {place.name}", *said, *([f"```python\n{code}```"] if code else [])]
        write_atomically(place / "README.md", ("\n\n".join(parts) + "\n").encode())
    return said
