"""Container images from files, without a registry, a daemon or root: OCI archives that `ctr images import` reads.

The same input gives the same bytes: no times, no owners, entries in order.
"""

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LAYER = "application/vnd.oci.image.layer.v1.tar"
CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
SKIPPED = "__pycache__"
WORLD_WRITABLE = frozenset({"tmp", "var/tmp"})

Content = Path | bytes


class BadImage(ValueError):
    """An image that cannot be made; the text says why."""


@dataclass(frozen=True, slots=True)
class Layer:
    """An uncompressed tar archive; `digest` is its SHA-256 in hex."""

    path: Path
    digest: str
    size: int

    @classmethod
    def of(cls, path: Path) -> "Layer":
        """An archive that exists already, such as a whole root file system."""
        with path.open("rb") as file:
            return cls(path, hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size)


@dataclass(frozen=True, slots=True)
class Image:
    """A name with its tag, layers from the base upwards, and what a container runs by default.

    user   "uid:gid" or a name that the layers know; empty means root
    """

    name: str
    layers: tuple[Layer, ...]
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    user: str = ""
    folder: str = "/"
    labels: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        """Raises BadImage for a name that a kubelet would read in another way."""
        last = self.name.rpartition("/")[2]
        if "/" not in self.name or ":" not in last:
            raise BadImage(f"an image is named host/name:tag, such as localhost/pause:1, not {self.name!r}")


def write_layer(path: Path, files: Mapping[str, Content], *, mode: int | None = None) -> Layer:
    """Write a layer of files: where each goes in the image, and its content, a file, or a folder with all below it.

    Everything belongs to root; what its owner may execute, all may; `mode` sets the permissions of plain files instead.
    Raises BadImage for a place that is not absolute, or a path that does not exist.
    """
    entries = dict(entry for place, content in files.items() for entry in _entries(place, content))
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for place in sorted(_parents(entries) | entries.keys()):
            _add(archive, place, entries.get(place), mode)
    return Layer.of(path)


def write_image(path: Path, image: Image) -> str:
    """Write the archive; returns the image's digest, `sha256:...`, by which registries and runtimes know it."""
    config = _json(_config(image))
    layers = [_descriptor(LAYER, layer.digest, layer.size) for layer in image.layers]
    described = _descriptor(CONFIG, _sha256(config), len(config))
    manifest = _json({"schemaVersion": 2, "mediaType": MANIFEST, "config": described, "layers": layers})
    digest = _sha256(manifest)
    names = {"io.containerd.image.name": image.name, "org.opencontainers.image.ref.name": image.name.rpartition(":")[2]}
    entry = {**_descriptor(MANIFEST, digest, len(manifest)), "annotations": names}
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        _put(archive, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
        _put(archive, "index.json", _json({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}))
        for blob in (manifest, config):
            _put(archive, f"blobs/sha256/{_sha256(blob)}", blob)
        for layer in {layer.digest: layer for layer in image.layers}.values():
            with layer.path.open("rb") as file:
                archive.addfile(_info(f"blobs/sha256/{layer.digest}", layer.size, 0o644), file)
    return f"sha256:{digest}"


def _config(image: Image) -> dict[str, Any]:
    return {
        "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {
            "Entrypoint": image.entrypoint or None,
            "Cmd": image.command or None,
            "Env": [f"{name}={value}" for name, value in {"PATH": SYSTEM_PATH, **dict(image.env)}.items()],
            "User": image.user,
            "WorkingDir": image.folder,
            "Labels": dict(image.labels) or None,
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer.digest}" for layer in image.layers]},
    }


def _entries(place: str, content: Content) -> Iterator[tuple[str, Content]]:
    """A file, or the files, links and empty folders below a folder; places without the leading slash."""
    if not place.startswith("/") or ".." in PurePosixPath(place).parts:
        raise BadImage(f"files go to an absolute path of the image, not to {place!r}")
    root = str(PurePosixPath(place)).lstrip("/")
    if isinstance(content, bytes) or not content.is_dir():
        if isinstance(content, Path) and not content.exists():
            raise BadImage(f"{content} does not exist")
        yield root, content
        return
    yield root, content
    for path in sorted(content.rglob("*")):
        if SKIPPED not in path.parts:
            yield str(PurePosixPath(root) / path.relative_to(content)), path


def _parents(places: Mapping[str, Content]) -> set[str]:
    return {str(parent) for place in places for parent in PurePosixPath(place).parents} - {"."}


def _add(archive: tarfile.TarFile, place: str, content: Content | None, mode: int | None) -> None:
    if isinstance(content, bytes):
        _put(archive, place, content, mode or 0o644)
    elif content is not None and content.is_symlink():
        link = _info(place, 0, 0o777)
        link.type, link.linkname = tarfile.SYMTYPE, str(content.readlink())
        archive.addfile(link)
    elif content is None or content.is_dir():
        folder = _info(place, 0, 0o1777 if place in WORLD_WRITABLE else 0o755)
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
    else:
        status = content.stat()
        with content.open("rb") as file:
            archive.addfile(_info(place, status.st_size, mode or (0o755 if status.st_mode & 0o100 else 0o644)), file)


def _put(archive: tarfile.TarFile, name: str, data: bytes, mode: int = 0o644) -> None:
    archive.addfile(_info(name, len(data), mode), io.BytesIO(data))


def _info(name: str, size: int, mode: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, mode
    return info


def _descriptor(kind: str, digest: str, size: int) -> dict[str, Any]:
    return {"mediaType": kind, "digest": f"sha256:{digest}", "size": size}


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _json(value: Mapping[str, Any] | Sequence[Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
