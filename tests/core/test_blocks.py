"""Gateway and worker name the same prefixes alike, and different ones differently."""

from hypothesis import given
from hypothesis import strategies as st

from stoker_core.blocks import CHAIN_UNIT, chain, chain_root, chain_step

TOKENS = st.lists(st.integers(0, 2**32 - 1), max_size=80)


@given(TOKENS)
def test_only_full_units_have_a_key(tokens: list[int]) -> None:
    assert len(list(chain(tokens, chain_root()))) == len(tokens) // CHAIN_UNIT


@given(TOKENS, TOKENS)
def test_keys_agree_exactly_as_far_as_the_tokens_do(left: list[int], right: list[int]) -> None:
    units = min(len(left), len(right)) // CHAIN_UNIT
    for index, (a, b) in enumerate(zip(chain(left, chain_root()), chain(right, chain_root()), strict=False)):
        end = (index + 1) * CHAIN_UNIT
        assert (a == b) == (left[:end] == right[:end])
        assert index < units


def test_salt_adapter_and_media_each_change_the_keys() -> None:
    unit = list(range(CHAIN_UNIT))
    roots = [chain_root(), chain_root(b"a"), chain_root(b"", b"a"), chain_root(b"a", b"a"), chain_root(b"1:a", b"")]
    keys = [chain_step(root, unit) for root in roots] + [chain_step(chain_root(), unit, b"image")]
    assert len(set(keys)) == len(keys)


def test_a_key_never_changes_between_versions() -> None:
    """Gateways and workers of different versions meet during a rollout."""
    assert chain_step(chain_root(), list(range(CHAIN_UNIT))).hex() == "7ce3f83338e92de3182ecd6316135e13"
