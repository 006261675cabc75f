"""Model references name a model and its revision."""

import pytest

from stoker_core.names import ModelRef


def test_a_reference_comes_back_from_its_text() -> None:
    assert ModelRef.parse("accounts/a/models/m@1f2e") == ModelRef("accounts/a/models/m", "1f2e")
    assert str(ModelRef("accounts/a/models/m", "1f2e")) == "accounts/a/models/m@1f2e"


@pytest.mark.parametrize("text", ["", "model", "model@", "@revision"])
def test_a_reference_without_both_parts_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write <model id>@<revision>"):
        ModelRef.parse(text)
