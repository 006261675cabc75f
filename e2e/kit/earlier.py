"""The tree as it was one commit ago, and its images."""

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

from e2e.kit.stoker import CHART, IMAGES, ROOT
from hack.kube.node import Cluster


def checkout(folder: Path) -> Path | None:
    """Put the previous commit's files into `folder`; None if the history is not here, or that commit had no chart."""
    archive = subprocess.run(["git", "-C", str(ROOT), "archive", "HEAD^"], capture_output=True, check=False)
    if archive.returncode:
        return None
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    return folder if (folder / CHART.relative_to(ROOT)).exists() else None


def import_images(cluster: Cluster, tree: Path, tag: str) -> None:
    """Make the images of that tree, by its own recipe, known to the node."""
    images = tree / "build" / "images"
    command = [sys.executable, "-m", "hack.images", str(images), *IMAGES, "--tag", tag]
    environment = os.environ | {"PYTHONPATH": str(tree)}
    subprocess.run(command, cwd=tree, env=environment, check=True, capture_output=True)
    for archive in images.glob("*.tar"):
        cluster.import_image(archive)
        archive.unlink()
