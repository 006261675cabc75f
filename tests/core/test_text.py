"""A text bundle is named by its content."""

import pytest

from stoker_core.text import TextBundle, bundle_digest

BUNDLE = TextBundle(
    tokenizer={"model": {"vocab": {"ä": 1}}}, chat_templates={"default": "{{ x }}"}, stop_token_ids=(2, 7)
)


def test_a_bundle_comes_back_from_its_bytes() -> None:
    assert TextBundle.from_bytes(BUNDLE.to_bytes()) == BUNDLE


def test_equal_bundles_have_one_name() -> None:
    other = TextBundle(
        stop_token_ids=(2, 7), chat_templates={"default": "{{ x }}"}, tokenizer={"model": {"vocab": {"ä": 1}}}
    )
    assert bundle_digest(other.to_bytes()) == bundle_digest(BUNDLE.to_bytes())


@pytest.mark.parametrize("data", [b"", b"{", b"{}", b'{"tokenizer": {}, "stop_token_ids": [], "surprise": 1}'])
def test_bytes_that_are_no_bundle_are_refused(data: bytes) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        TextBundle.from_bytes(data)
