"""Reading a model tells how far it has come."""

from pathlib import Path

from stoker_worker.weights.open import open_model
from stoker_worker.weights.progress import ProgressSource


def test_progress_grows_to_the_whole_model_and_changes_no_tensor(smollm2_gguf: Path) -> None:
    plain, told = open_model(smollm2_gguf), list[tuple[int, int]]()
    source = ProgressSource(plain, lambda done, total: told.append((done, total)))
    for name in source.names():
        tensor = source.read(name)
        assert tensor.shape == source.shape(name)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert {total for _, total in told} == {told[-1][0]}
    assert source.config == plain.config
    assert (source.path, source.revision, source.total_bytes) == (plain.path, plain.revision, plain.total_bytes)
    assert source.text() == plain.text()
