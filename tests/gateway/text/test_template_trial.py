import asyncio
from pathlib import Path

import pytest

from stoker_core.text import TextBundle
from stoker_gateway.text.errors import TemplateError
from stoker_gateway.text.template_trial import problem_of, verify_template

CAREFUL = """{{ bos_token }}{% for message in messages %}
{% if (message.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}{% endif %}
{{ message.role }}: {{ message.content | trim }}
{% endfor %}"""


def made_of(source: str) -> TextBundle:
    return TextBundle(
        tokenizer={"big": "x" * 1000}, chat_templates={"default": source}, bos_token="<s>", eos_token="</s>"
    )


async def test_the_models_own_template_passes(bundle: TextBundle) -> None:
    await verify_template(bundle)


async def test_a_model_without_templates_passes() -> None:
    await verify_template(TextBundle(tokenizer={}))


def test_a_template_may_refuse_some_chats() -> None:
    assert problem_of(made_of(CAREFUL)) == ""


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("{% for i in range(10**9) %}{% endfor %}", "steps"),
        ("{{ 'a' * 10**9 }}", "repeats"),
        ('{{ "%1000000000d" | format(1) }}', "MemoryError"),
        ("{{ 'a' | center(10**9) }}", "MemoryError"),
        ("{% for m in messages[:1000] %}{% set x = (messages * 100) | sort(attribute='content') %}{% endfor %}", "time or memory"),
        ("{% if messages | length > 100 %}{{ ''.__class__.__mro__ }}{% endif %}", "__class__"),
        ("{{ raise_exception('never') }}", "never"),
        ("{% for message in messages %}", "line 1"),
    ],
)  # fmt: skip
async def test_a_hostile_or_useless_template_is_refused(source: str, sentence: str) -> None:
    with pytest.raises(TemplateError, match=sentence):
        await verify_template(made_of(source))


async def test_a_cancelled_trial_leaves_no_process() -> None:
    forever = "{% for m in messages[:1000] %}{% set x = (messages * 100) | sort(attribute='content') %}{% endfor %}"
    before = children()
    trial = asyncio.create_task(verify_template(made_of(forever)))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await trial
    assert trial.cancelled()
    assert children() == before


def children() -> list[str]:
    """Processes that this one has started and not yet waited for."""
    return sorted(
        child for task in Path("/proc/self/task").iterdir() for child in (task / "children").read_text().split()
    )
