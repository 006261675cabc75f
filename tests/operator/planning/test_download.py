"""What a status says of a download."""

import pytest

from stoker_operator.planning.download import Progress, in_words


@pytest.mark.parametrize(
    ("bytes_", "total", "sentence"),
    [
        (0, 0, "asking what there is to download"),
        (0, 140_000_000_000, "0 % of 140.0 GB"),
        (69_000_000_000, 140_000_000_000, "45 % of 140.0 GB"),
        (140_000_000_000, 140_000_000_000, "100 % of 140.0 GB"),
        (150, 100, "100 % of 0 kB"),
        (50_000, 100_000, "50 % of 100 kB"),
        (1, 2_500_000_000_000, "0 % of 2.5 TB"),
        (5, 93_400_000, "0 % of 93.4 MB"),
    ],
)
def test_progress_in_words(bytes_: int, total: int, sentence: str) -> None:
    assert in_words(Progress(bytes_, total)) == sentence


def test_the_words_change_seldom() -> None:
    assert len({in_words(Progress(done, 10_000)) for done in range(10_001)}) == 21
