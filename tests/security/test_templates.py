"""Chat templates of strangers: what checkpoints really use renders; loops, bombs and ways into Python are refused within a second."""

import json
import subprocess
import sys
import time

import pytest

from duomo.core.errors import DataError
from duomo.core.template import LONGEST_TEMPLATE, render

TALK = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "你好 <b>"}]
CHATML = (
    "{%- for message in messages %}\n    {%- if loop.first and message.role != 'system' %}{{ '<|im_start|>system\\nDefault<|im_end|>\\n' }}"
    "{% endif %}\n{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}\n{%- endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
BIG = "10000000000"
BUSY = 0.5
"""Seconds that a busy machine may add."""
TRICKS = {
    "loop": "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}{% endfor %}{% endfor %}{% endfor %}",
    "silent loop": "{% set n = namespace(x=0) %}{% for a in range(99999) %}"
    "{% for b in range(99999) %}{% set n.x = n.x + 1 %}{% endfor %}{% endfor %}",
    "recursion": "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}",
    "recursive loop": "{% for x in [[1]] recursive %}{{ loop([[1]]) }}{% endfor %}",
    "doubling": "{% set n = namespace(x='a') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x }}",
    "product": "{{ 'a' * " + BIG + " }}",
    "list": "{{ [0] * " + BIG + " }}",
    "power": "{{ 9 ** (9 ** 9) }}",
    "format": "{{ '%" + BIG + "d' % 1 }}",
    "format method": "{{ '{:>" + BIG + "}'.format(1) }}",
    "format map": "{{ '{x:>" + BIG + "}'.format_map({'x': 1}) }}",
    "ljust": "{{ 'a'.ljust(" + BIG + ") }}",
    "zfill": "{{ 'a'.zfill(" + BIG + ") }}",
    "tabs": "{{ 'a\\tb'.expandtabs(2147483640) }}",
    "centre": "{{ 'a'|center(" + BIG + ") }}",
    "indent": "{{ 'a\nb'|indent(" + BIG + ") }}",
    "tojson": "{{ [[1]]|tojson(indent=" + BIG + ") }}",
    "slices": "{{ range(9)|slice(" + BIG + ")|list }}",
    "batch": "{{ range(9)|batch(" + BIG + ", 'x')|list }}",
    "range": "{{ range(" + BIG + ")|list }}",
    "lipsum": "{{ lipsum(n=100000) }}",
    "replace": "{% set n = namespace(x='a' * 1000) %}{% for i in range(9) %}{% set n.x = n.x|replace('a', n.x) %}{% endfor %}{{ n.x }}",
    "join": "{{ (['a' * 100000] * 100000)|join }}",
    "brackets": "{{ " + "(" * 50_000 + "1" + ")" * 50_000 + " }}",
    "nested blocks": "{% if 1 %}" * 5_000 + "{% endif %}" * 5_000,
    "sum": "{{ " + "+".join(["1"] * 30_000) + " }}",
    "long output": "{% for a in range(99999) %}{{ 'a' * 1000 }}{% endfor %}",
    "class": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "class by filter": "{{ (''|attr('__class__')).__mro__ }}",
    "class by map": "{{ [('')]|map(attribute='__class__')|list|first|attr('mro') }}{{ missing.x }}",
    "format attribute": "{{ '{0.__class__.__mro__}'.format('') .y.z }}",
    "globals": "{{ cycler.__init__.__globals__.os.system('true') }}",
    "globals of ours": "{{ raise_exception.__globals__['sys'].exit() }}",
    "self": "{{ self._TemplateReference__context.environment.x.y }}",
    "generator": "{{ (range(3)|map('string')).gi_frame.f_globals }}",
    "import": "{% import 'os' as os %}{{ os }}",
    "include": "{% include '/etc/passwd' %}",
    "change messages": "{{ messages.append(1) }}",
    "change message": "{{ messages[0].update({'content': 'x'}) }}",
    "clear": "{{ messages.clear() }}",
    "syntax": "{% if %}",
    "division": "{{ 1 / 0 }}",
    "no such filter": "{{ 1|nothing }}",
}
SLOW = ("loop", "silent loop", "sum", "join", "doubling", "slices", "lipsum", "power")
"""Refused by the clock: no need to wait for them twice."""


def test_what_checkpoints_use() -> None:
    text = render(CHATML, TALK, add_generation_prompt=True)
    assert text == "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\n你好 <b><|im_end|>\n<|im_start|>assistant\n"
    assert render("{{ bos_token }}{{ messages[1].content | trim | tojson }}", TALK, {"bos_token": "<s>"}) == '<s>"你好 <b>"'
    assert render("{% generation %}a{% endgeneration %}{% for x in [1, 2] %}{% break %}{% endfor %}", TALK) == "a"
    assert len(render("{{ strftime_now('%Y') }}", [])) == 4
    assert render("{{ tools[0].name }}", TALK, extra={"tools": [{"name": "f"}]}) == "f"
    with pytest.raises(DataError, match="system only"):
        render("{{ raise_exception('system only') }}", TALK)


def test_blocks_are_trimmed() -> None:
    """Whitespace as transformers 4.57 leaves it (its output, written down)."""
    template = "{% for m in messages %}\n  {% if m.role == 'user' %}\n{{ m | tojson(indent=1) }}\n  {% endif %}\n{% endfor %}"
    assert render(template, TALK) == '{\n "role": "user",\n "content": "你好 <b>"\n}\n'


@pytest.mark.parametrize("name", TRICKS)
def test_a_trick_is_refused_within_a_second(name: str) -> None:
    render("{{ 1 }}", [])  # a child that had to be killed before is started anew: that is not this trick's time
    start = time.monotonic()
    with pytest.raises(DataError):
        render(TRICKS[name], TALK)
    assert time.monotonic() - start < 1.0 + BUSY
    assert TALK[1]["content"] == "你好 <b>"
    assert render("{{ messages|length }}", TALK) == "2"


def test_too_large() -> None:
    with pytest.raises(DataError, match="at most"):
        render(" " * (LONGEST_TEMPLATE + 1), [])
    with pytest.raises(DataError, match="at most"):
        render("{{ 1 }}", [{"role": "user", "content": "a" * (1 << 24)}])
    assert render("{{ messages[0].content|length }}", [{"role": "user", "content": "é" * (1 << 22)}]) == str(1 << 22)


def test_without_asserts() -> None:
    """The same under `python -O`."""
    code = """
import json, sys
from duomo.core.errors import DataError
from duomo.core.template import render
left, tricks = [], json.load(sys.stdin)
for name, template in tricks.items():
    try:
        render(template, [{"role": "user", "content": "x"}, {"role": "user", "content": "x"}])
        left.append(name)
    except DataError:
        pass
print(json.dumps(left))
"""
    tricks = json.dumps({name: template for name, template in TRICKS.items() if name not in SLOW})
    found = subprocess.run([sys.executable, "-O", "-c", code], input=tricks, check=True, capture_output=True, text=True)
    assert json.loads(found.stdout) == []
