"""Tokenizers of Hugging Face folders, and back: vocabulary, special tokens by use, chat template.

The state is that of `core/kinds/text.py`, with `chat_template` (Jinja) and `names` (bos_token and the like, as templates call them) beside.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from duomo.core.errors import ConfigError
from duomo.core.files import write_atomically
from duomo.core.kinds import text as text_kind
from duomo.exchange import pieces

FILE_FAULTS = (OSError, ValueError, RecursionError)
PIECE_FAULTS = (ValueError, TypeError, KeyError)
USES = {"padding": ("pad_token",), "unknown": ("unk_token",), "mask": ("mask_token",),
        "begin": ("bos_token", "cls_token"), "end": ("eos_token", "sep_token")}  # fmt: skip
"""Our uses of special tokens and the names that tokenizer_config.json has for them."""
LARGEST = text_kind.LARGEST_FILE
RENUMBERED = ("xlm-roberta", "camembert")
"""Families whose numbers are not those of their vocabulary's file."""
SENTENCEPIECE = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model")


def read(path: Path, size: int, longest: int, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The tokenizer's state for a model with an embedding of `size` rows; empty where the folder holds none.

    ConfigError where the tokenizer is damaged or has more tokens than the model.
    """
    said = _object(path / "tokenizer_config.json") | _object(path / "special_tokens_map.json")
    names = {key: _name(said.get(key)) for keys in USES.values() for key in keys}
    text = _tokenizer(path, names, said, str(settings.get("model_type", "")))
    if text is None:
        return {}
    special = {use: next((names[key] for key in keys if names[key]), "") for use, keys in USES.items()}
    state = text_kind.given(text, special, size, longest)
    check_size(state, size, path)
    for use, key in (("begin", "bos_token_id"), ("end", "eos_token_id")):
        told = settings.get(key)
        numbers = [number for number in (told if isinstance(told, list) else [told]) if isinstance(number, int) and 0 <= number < size]
        if not special[use] and numbers:  # what config.json says by number stands where the tokenizer's files are silent
            state["special"][use] = numbers[0]
    added = text_kind.tokenizer_of(state).get_added_tokens_decoder()  # an ordinary token is what a family has where nothing was said
    state["ends"] = [number for number in numbers if number in added and number != state["special"].get("end")]
    template = _template(path, said)
    return state | {"names": {key: name for key, name in names.items() if name}} | ({"chat_template": template} if template else {})


def check_size(state: Mapping[str, Any], size: int, source: object) -> None:
    """ConfigError for a tokenizer with tokens that the model has no vector for."""
    if int(state["size"]) > size:
        raise ConfigError(
            "A tokenizer must fit its model; that of {source} has {tokens:,} tokens, the model {size:,}. Give the one it was trained with.",
            source=source, tokens=int(state["size"]), size=size,
        )  # fmt: skip


def write(path: Path, state: Mapping[str, Any]) -> dict[str, Any]:
    """tokenizer.json and tokenizer_config.json; returns what config.json has to say of special tokens."""
    if not state:
        return {}
    tokenizer = text_kind.tokenizer_of(state)
    write_atomically(path / "tokenizer.json", _gapped(state).encode())
    numbers = {use: text_kind.special(state, use) for use in USES}
    names = {keys[0]: tokenizer.id_to_token(numbers[use]) for use, keys in USES.items() if numbers[use] >= 0}
    names |= dict(state.get("names", {}))
    config: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False, **names}
    config |= {"model_max_length": min(int(state["longest"]), 1 << 30)}
    if state.get("chat_template"):
        config["chat_template"] = state["chat_template"]
    write_atomically(path / "tokenizer_config.json", (json.dumps(config, ensure_ascii=False, indent=2) + "\n").encode())
    keys = {"begin": "bos_token_id", "end": "eos_token_id"}
    # said of what there is not as well: a family has numbers of its own for it
    told: dict[str, Any] = {key: numbers[use] if numbers[use] >= 0 else None for use, key in keys.items()}
    told |= {"pad_token_id": numbers["padding"]} if numbers["padding"] >= 0 else {}
    ends = list(dict.fromkeys([*state.get("ends", ()), numbers["end"]]))
    return told | ({"eos_token_id": ends} if len(ends) > 1 and numbers["end"] >= 0 else {})


def _gapped(state: Mapping[str, Any]) -> str:
    """The tokenizer with a mask token that takes the space before it, as a gap of ours does (tasks/fill); a given one is left alone."""
    if state["tokenizer"] == text_kind.GIVEN:
        return str(state["json"])
    made = json.loads(state["json"])
    for token in made["added_tokens"]:
        token["lstrip"] = token["lstrip"] or token["id"] == text_kind.special(state, "mask")
    return json.dumps(made, ensure_ascii=False)


def _object(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError("too large")
        found = json.loads(path.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    except FILE_FAULTS as error:
        raise ConfigError("A model's settings must be readable; {path} is not: {reason}", path=path, reason=str(error)[:120]) from None


def _name(value: Any) -> str:
    value = value.get("content", "") if isinstance(value, dict) else value
    return value if isinstance(value, str) else ""


def _template(path: Path, said: Mapping[str, Any]) -> str:
    """The chat template: a file of its own, or in tokenizer_config.json, alone or named `default`."""
    if (path / "chat_template.jinja").is_file():
        return text_kind.read(path / "chat_template.jinja")
    found = said.get("chat_template")
    if isinstance(found, list):
        found = next((one.get("template") for one in found if isinstance(one, dict) and one.get("name") == "default"), None)
    return found if isinstance(found, str) else ""


def _tokenizer(path: Path, names: Mapping[str, str], said: Mapping[str, Any], family: str) -> str | None:
    """The text of a tokenizer.json, made from older files where there is none; None without those too."""
    if (path / "tokenizer.json").is_file():
        return text_kind.read(path / "tokenizer.json")
    try:
        if made := _older(path, names, said, family):
            return _grown(made, _later(path, said))
    except PIECE_FAULTS as error:
        raise ConfigError("A tokenizer must be a tokenizer.json; this one cannot be read: {reason}", reason=str(error)[:200]) from None
    return None


def _older(path: Path, names: Mapping[str, str], said: Mapping[str, Any], family: str) -> Tokenizer | None:
    if (path / "vocab.json").is_file() and (path / "merges.txt").is_file():
        rule = "qwen2" if family.startswith("qwen") else "gpt-2"
        return _pairs(_object(path / "vocab.json"), text_kind.read(path / "merges.txt"), names, rule)
    if (path / "vocab.txt").is_file():
        return _wordpiece(text_kind.read(path / "vocab.txt").splitlines(), names, said)
    found = next((path / name for name in SENTENCEPIECE if (path / name).is_file()), None)
    if not found:
        return None
    if found.stat().st_size > LARGEST or family in RENUMBERED:
        raise ConfigError("The tokenizer of a {family} must be a tokenizer.json; {path} cannot be read instead. In transformers: "
                          "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)", family=family, path=found)  # fmt: skip
    frame = (bool(said.get("add_bos_token", family != "t5")), bool(said.get("add_eos_token", family == "t5")))
    return Tokenizer.from_buffer(pieces.read(found.read_bytes(), frame).encode())


def _later(path: Path, said: Mapping[str, Any]) -> dict[int, AddedToken]:
    """The tokens that came after a vocabulary was learned, by number."""
    found = {int(number): AddedToken(name, special=True, normalized=False) for name, number in _object(path / "added_tokens.json").items()}
    told = said.get("added_tokens_decoder")
    for number, token in told.items() if isinstance(told, dict) else ():
        flags = {name: token[name] for name in ("special", "normalized", "lstrip", "rstrip", "single_word") if name in token}
        found[int(number)] = AddedToken(token["content"], **flags)
    return found


def _grown(tokenizer: Tokenizer, later: Mapping[int, AddedToken]) -> str:
    """With the tokens that were added to it, each at its number."""
    for number, token in sorted(later.items()):
        tokenizer.add_tokens([token])
        if (place := tokenizer.token_to_id(token.content)) != number:
            raise ConfigError(
                "Tokens that were added to a tokenizer must follow its vocabulary; {name!r} would be {place} and not {number}. Give its "
                "tokenizer.json.", name=token.content, place=place, number=number,
            )  # fmt: skip
    text: str = tokenizer.to_str()
    return text


def _pairs(vocabulary: dict[str, int], lines: str, names: Mapping[str, str], rule: str) -> Tokenizer:
    merges = [(a, b) for a, _, b in (line.partition(" ") for line in lines.splitlines() if line and not line.startswith("#version")) if b]
    made = {"model": {"type": "BPE", "vocab": vocabulary, "merges": merges}, "decoder": pieces.BYTES, "added_tokens": [],
            "normalizer": {"type": "NFC"} if rule == "qwen2" else None, "pre_tokenizer": pieces.RULES[rule]}  # fmt: skip
    tokenizer = Tokenizer.from_buffer(json.dumps(made).encode())
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in dict.fromkeys(names.values()) if name in vocabulary])
    if names.get("cls_token") in vocabulary and names.get("sep_token") in vocabulary:
        one, two = names["cls_token"], names["sep_token"]
        tokenizer.post_processor = processors.RobertaProcessing((two, vocabulary[two]), (one, vocabulary[one]), add_prefix_space=False)
    return tokenizer


def _wordpiece(lines: list[str], names: Mapping[str, str], said: Mapping[str, Any]) -> Tokenizer:
    vocabulary = {token: number for number, token in enumerate(lines)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=names.get("unk_token") or "[UNK]"))
    small, apart = said.get("do_lower_case"), said.get("tokenize_chinese_chars")
    tokenizer.normalizer = normalizers.BertNormalizer(
        handle_chinese_chars=apart is not False, strip_accents=said.get("strip_accents"),
        lowercase=bool("the" in vocabulary and "The" not in vocabulary if small is None else small),
    )  # fmt: skip
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    one, two = names.get("cls_token") or "[CLS]", names.get("sep_token") or "[SEP]"
    usual = [name for name in (*names.values(), "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]") if name in vocabulary]
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in dict.fromkeys(usual)])
    if one in vocabulary and two in vocabulary:
        tokenizer.post_processor = processors.BertProcessing((two, vocabulary[two]), (one, vocabulary[one]))
    return tokenizer
