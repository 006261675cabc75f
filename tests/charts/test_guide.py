"""What the guide says of rights and sizes is so."""

from hack import chart


def test_the_guide_is_current() -> None:
    assert chart.GUIDE.read_text() == chart.guide(), "run `make chart-docs` and commit the result"


def test_no_definition_is_too_large_to_apply() -> None:
    assert all(file.stat().st_size < 100_000 for file in chart.CRDS.glob("*.yaml"))
