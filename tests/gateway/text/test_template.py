from datetime import UTC, datetime
from typing import Any

import pytest

from stoker_core.text import TextBundle
from stoker_gateway.text.errors import TemplateError, UnsafeTemplate
from stoker_gateway.text.template import ChatTemplate

CHAT = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello <b>&"}]
TOOLS = [{"type": "function", "function": {"name": "look_up", "parameters": {"enum": ["é", "<"]}}}]


def template(source: str, **templates: str) -> ChatTemplate:
    bundle = TextBundle(
        tokenizer={},
        chat_templates={"default": source, **templates},
        bos_token="<s>",
        eos_token="</s>",
        special_tokens={"pad_token": "<pad>"},
    )
    return ChatTemplate(bundle, now=lambda: datetime(2026, 11, 21, tzinfo=UTC))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param("{{ bos_token }}|{{ eos_token }}|{{ pad_token }}", "<s>|</s>|<pad>", id="special tokens by name"),
        pytest.param("  {% if true %}\nx\n  {% endif %}\ny", "x\ny", id="blocks leave no whitespace"),
        pytest.param("{% for m in messages %}{% if loop.last %}{% break %}{% endif %}{{ m.role }}{% endfor %}", "user"),
        pytest.param(
            "{% for m in messages %}{% if m.role == 'user' %}{% continue %}{% endif %}{{ m['role'] }}{% endfor %}",
            "assistant",
        ),
        pytest.param("{% for m in messages[::-1] %}{{ loop.revindex0 }}{{ loop.length }}{% endfor %}", "1202"),
        pytest.param(
            "{% for r in messages | map(attribute='role') %}{{ loop.index }}{{ r }}{% if not loop.last %},{% endif %}{% endfor %}",
            "1user,2assistant",
            id="a loop over what has no length",
        ),
        pytest.param("{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}", "Hi"),
        pytest.param("{% for m in nothing %}x{% else %}none{% endfor %}", "none", id="a loop over nothing"),
        pytest.param("{% for k, v in messages[0].items() %}{{ k }}={{ v }};{% endfor %}", "role=user;content=Hi;"),
        pytest.param("{{ tools | tojson }}", '[{"type": "function", "function": {"name": "look_up", "parameters": {"enum": ["é", "<"]}}}]'),
        pytest.param("{{ {'b': 1, 'a': 'é'} | tojson(indent=1, sort_keys=true) }}", '{\n "a": "é",\n "b": 1\n}'),
        pytest.param("{{ ['é'] | tojson(ensure_ascii=true, separators=(',', ':')) }}", '["\\u00e9"]'),
        pytest.param("{% generation %}{{ messages[1].content }}{% endgeneration %}", "Hello <b>&"),
        pytest.param("{{ strftime_now('%d %b %Y') }}", "21 Nov 2026"),
        pytest.param("{{ date_string is defined }} {{ documents is none }}", "False True"),
        pytest.param("{% if add_generation_prompt %}go{% endif %}", "go"),
        pytest.param("{% set ns = namespace(n=1) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}", "3"),
        pytest.param("{% macro say(x) %}[{{ x }}]{% endmacro %}{{ say('a') }}{{ dict(context=1, obj=2) }}", "[a]{'context': 1, 'obj': 2}"),
        pytest.param("{{ '%s-%03d' | format('a', 7) }}{{ '=' * 3 }}{{ 2 ** 10 }}", "a-007===1024"),
        pytest.param("{{ 'é<' }}{{ messages[1].content }}", "é<Hello <b>&", id="nothing is escaped for HTML"),
        pytest.param("a\n", "a", id="the last newline of the source is dropped"),
    ],
)  # fmt: skip
def test_templates_mean_what_hugging_face_says(source: str, expected: str) -> None:
    assert template(source).render(CHAT, TOOLS) == expected


def test_the_tool_template_serves_chats_with_tools_only() -> None:
    templates = template("plain", tool_use="tools")
    assert [templates.render(CHAT), templates.render(CHAT, TOOLS), templates.render(CHAT, [])] == [
        "plain",
        "tools",
        "plain",
    ]


def test_extra_variables_reach_the_template_but_replace_none_of_ours() -> None:
    source = "{{ enable_thinking }} {{ documents[0].title }}"
    extra = {"enable_thinking": False, "documents": [{"title": "T"}]}
    assert template(source).render(CHAT, extra=extra) == "False T"
    with pytest.raises(TemplateError, match="'bos_token' cannot be set"):
        template(source).render(CHAT, extra={"bos_token": "x"})


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("{{ raise_exception('Roles must alternate') }}", "refuses these messages: Roles must alternate"),
        ("{{ messages[0].tool_calls[0].id }}", "has no attribute 'tool_calls'"),
        ("{{ messages[0].content + none }}", "can only concatenate str"),
        ("{{ messages[0].content | int + [] }}", "unsupported operand"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
        ("{{ nothing | tojson }}", "not JSON serializable"),
        ("{% for m in none %}{% endfor %}", "not iterable"),
        ("{% include 'other' %}", "no loader"),
    ],
)
def test_a_template_that_cannot_render_says_why(source: str, sentence: str) -> None:
    with pytest.raises(TemplateError, match=sentence) as caught:
        template(source).render(CHAT, TOOLS)
    assert not isinstance(caught.value, UnsafeTemplate)


def test_errors_of_python_do_not_quote_messages() -> None:
    with pytest.raises(TemplateError) as caught:
        template("{{ dict([messages[0].content, messages[0].content]).x }}").render([{"content": "secret"}])
    assert "secret" not in str(caught.value)
    assert "ValueError" in str(caught.value)


@pytest.mark.parametrize(
    "source",
    [
        "{% for i in range(10 ** 9) %}{% endfor %}",
        "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
        "{% for a in range(9999) %}{% for b in messages | map(attribute='role') %}{% for c in range(999) %}{% endfor %}{% endfor %}{% endfor %}",
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(40) }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{{ 'a' * 10 ** 9 }}",
        "{{ 10 ** 9 * [1] }}",
        "{{ 9 ** 9 ** 9 }}",
        "{{ 'a'.ljust(10 ** 9) }}",
        "{% for i in range(9999) %}{{ 'x' * 9999 }}{% endfor %}",
        "{{ ''.__class__.__mro__ }}",
        "{{ ''['__class__']['__mro__'] }}",
        "{{ messages.append(1) }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ '{0.__class__.__mro__}'.format('') }}",
        "{% set ns = namespace(__class__=1) %}",
        "{% set ns = namespace() %}{% set ns.__html__ = 1 %}",
    ],
)  # fmt: skip
def test_a_template_that_runs_away_or_reaches_out_is_stopped(source: str) -> None:
    with pytest.raises(UnsafeTemplate):
        template(source).render(CHAT)


@pytest.mark.parametrize("source", ["{{ '%1000000000d' | format(1) }}", "{{ 'a' | center(10 ** 9) }}", "{{ 1 / 0 }}"])
def test_compiling_evaluates_nothing(source: str) -> None:
    assert template(source).takes_chat


@pytest.mark.parametrize(
    ("source", "sentence"),
    [("a\n{{ messages", "'default', line 2"), ("{% nonsense %}", "unknown tag"), ("{{ x | nonsense }}", "No filter named"), ("{{ " + "(" * 5000, "cannot be compiled")],
)  # fmt: skip
def test_source_that_is_no_template_is_refused_at_once(source: str, sentence: str) -> None:
    with pytest.raises(TemplateError, match=sentence):
        template(source)


def test_a_model_without_a_chat_template_says_so() -> None:
    templates = ChatTemplate(TextBundle(tokenizer={}))
    assert not templates.takes_chat
    with pytest.raises(TemplateError, match="completions endpoint"):
        templates.render(CHAT)


def test_many_messages_are_no_runaway() -> None:
    messages: list[Any] = CHAT * 5000
    source = "{% for m in messages %}{{ m.role }}{% endfor %}{{ messages | selectattr('role', 'eq', 'user') | list | length }}"
    assert template(source).render(messages).endswith("5000")
