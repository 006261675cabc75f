"""Images from files: what a runtime will find in the archive, and the same bytes each time."""

import hashlib
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hack.kube.image import BadImage, Image, Layer, write_image, write_layer


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with a script, a module, its byte code, a link and an empty folder."""
    folder = tmp_path / "site"
    (folder / "pkg" / "__pycache__").mkdir(parents=True)
    (folder / "empty").mkdir()
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o700)
    (folder / "pkg" / "mod.py").write_text("x = 1\n")
    (folder / "pkg" / "mod.py").chmod(0o640)
    (folder / "pkg" / "__pycache__" / "mod.pyc").write_bytes(b"x")
    (folder / "link").symlink_to("pkg/mod.py")
    return folder


def members(path: Path) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(path) as archive:
        return {member.name: member for member in archive}


def read(path: Path, name: str) -> bytes:
    with tarfile.open(path) as archive:
        file = archive.extractfile(name)
        assert file is not None
        return file.read()


def blob(path: Path, descriptor: dict[str, Any]) -> Any:
    """A JSON blob, checked against its descriptor."""
    data = read(path, f"blobs/sha256/{descriptor['digest'].removeprefix('sha256:')}")
    assert len(data) == descriptor["size"]
    assert f"sha256:{hashlib.sha256(data).hexdigest()}" == descriptor["digest"]
    return json.loads(data)


def test_a_layer_holds_folders_before_their_files_and_nothing_of_the_machine(tmp_path: Path, site: Path) -> None:
    layer = write_layer(tmp_path / "layer.tar", {"/app": site, "/etc/note": b"hello", "/tmp/x": b""})
    found = members(layer.path)
    assert list(found) == sorted(found)
    assert found.keys() == {
        *("app", "app/empty", "app/link", "app/pkg", "app/pkg/mod.py", "app/run.sh"),
        *("etc", "etc/note", "tmp", "tmp/x"),
    }
    assert {(one.uid, one.gid, one.uname, one.gname, one.mtime) for one in found.values()} == {(0, 0, "", "", 0)}
    modes = {name: member.mode for name, member in found.items()}
    assert modes["app/run.sh"] == 0o755
    assert modes["app/pkg/mod.py"] == 0o644
    assert modes["tmp"] == 0o1777
    assert found["app/link"].linkname == "pkg/mod.py"
    assert read(layer.path, "etc/note") == b"hello"
    assert layer.digest == hashlib.sha256(layer.path.read_bytes()).hexdigest()


def test_the_same_files_give_the_same_layer_whenever_they_were_written(tmp_path: Path, site: Path) -> None:
    first = write_layer(tmp_path / "1.tar", {"/app": site})
    os.utime(site / "run.sh", (1, 1))
    assert write_layer(tmp_path / "2.tar", {"/app": site}).digest == first.digest


def test_a_mode_for_all_files_leaves_folders_alone(tmp_path: Path) -> None:
    source = tmp_path / "binary"
    source.write_bytes(b"\x7fELF")
    found = members(write_layer(tmp_path / "layer.tar", {"/bin/tool": source}, mode=0o555).path)
    assert found["bin/tool"].mode == 0o555
    assert found["bin"].mode == 0o755


def test_an_archive_is_an_oci_layout_whose_digests_hold(tmp_path: Path) -> None:
    base = write_layer(tmp_path / "base.tar", {"/base": b"1"})
    top = write_layer(tmp_path / "top.tar", {"/top": b"2"})
    image = Image(
        "localhost/app:1",
        (base, top),
        entrypoint=("python3", "/top"),
        env=(("PYTHONPATH", "/site"),),
        user="65532:65532",
        labels=(("a", "b"),),
    )
    digest = write_image(tmp_path / "app.tar", image)
    assert json.loads(read(tmp_path / "app.tar", "oci-layout")) == {"imageLayoutVersion": "1.0.0"}
    (entry,) = json.loads(read(tmp_path / "app.tar", "index.json"))["manifests"]
    assert entry["digest"] == digest
    assert entry["annotations"]["io.containerd.image.name"] == "localhost/app:1"
    manifest = blob(tmp_path / "app.tar", entry)
    config = blob(tmp_path / "app.tar", manifest["config"])
    assert [layer["digest"] for layer in manifest["layers"]] == [f"sha256:{base.digest}", f"sha256:{top.digest}"]
    assert config["rootfs"]["diff_ids"] == [layer["digest"] for layer in manifest["layers"]]
    assert config["config"]["Entrypoint"] == ["python3", "/top"]
    assert config["config"]["Env"][1:] == ["PYTHONPATH=/site"]
    assert config["config"]["User"] == "65532:65532"
    for layer in (base, top):
        assert read(tmp_path / "app.tar", f"blobs/sha256/{layer.digest}") == layer.path.read_bytes()


def test_the_same_image_gives_the_same_bytes(tmp_path: Path) -> None:
    layer = write_layer(tmp_path / "layer.tar", {"/a": b"1"})
    digests = {write_image(tmp_path / name, Image("localhost/a:1", (layer, layer))) for name in ("1.tar", "2.tar")}
    assert len(digests) == 1
    assert (tmp_path / "1.tar").read_bytes() == (tmp_path / "2.tar").read_bytes()


def test_an_archive_that_exists_serves_as_a_layer(tmp_path: Path) -> None:
    layer = write_layer(tmp_path / "layer.tar", {"/a": b"1"})
    assert Layer.of(layer.path) == layer


@pytest.mark.parametrize("place", ["app", "../app", "/app/../../etc/passwd"])
def test_a_place_outside_the_image_is_refused(tmp_path: Path, place: str) -> None:
    with pytest.raises(BadImage, match="absolute path of the image"):
        write_layer(tmp_path / "layer.tar", {place: b""})


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadImage, match=r"nothing\.py does not exist"):
        write_layer(tmp_path / "layer.tar", {"/a": tmp_path / "nothing.py"})


@pytest.mark.parametrize("name", ["app:1", "localhost/app", "localhost:5000/app"])
def test_a_name_that_kubelet_would_complete_is_refused(name: str) -> None:
    with pytest.raises(BadImage, match="host/name:tag"):
        Image(name, ())
