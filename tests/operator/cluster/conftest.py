"""A real API server, a real operator process, and pods that are played by writing their status."""

import itertools
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hack.kube import control_plane
from hack.kube.binaries import BuildFailure
from hack.kube.control_plane import ControlPlane
from tests.operator.cluster.cluster import Cluster

from stoker_operator.api.crd import crd
from stoker_operator.api.resources import RESOURCES

OPERATOR_NAMESPACE = "stoker-system"
STOP_S = 20


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """etcd and the API server, once per session."""
    with started_plane(tmp_path_factory.mktemp("plane")) as made:
        yield made


@contextmanager
def started_plane(folder: Path) -> Iterator[ControlPlane]:
    try:
        with control_plane.running(folder, build=False) as made:
            with Cluster(made) as administrator:
                install(administrator)
            yield made
    except BuildFailure as error:
        pytest.fail(str(error))


def install(cluster: Cluster) -> None:
    """Our resources, and the operator's namespace."""
    for resource in RESOURCES:
        cluster.apply(crd(resource))
    for resource in RESOURCES:
        cluster.wait(
            crd(resource),
            lambda found: any(c["type"] == "Established" for c in found.get("status", {}).get("conditions") or ()),
        )
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": OPERATOR_NAMESPACE}})


@pytest.fixture(scope="session")
def cluster(plane: ControlPlane) -> Iterator[Cluster]:
    """The administrator's view."""
    with Cluster(plane) as made:
        yield made


@pytest.fixture(scope="session")
def operator(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator["OperatorProcess"]:
    """An operator that acts on the session's cluster."""
    with started_operator(plane, tmp_path_factory.mktemp("operator"), "session") as made:
        yield made


class OperatorProcess:
    """`python -m stoker_operator run`."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.process, self.log = process, log

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_S)

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait(STOP_S)


@contextmanager
def started_operator(
    plane: ControlPlane, folder: Path, identity: str, *arguments: str, kubeconfig: Path | None = None
) -> Iterator[OperatorProcess]:
    folder.mkdir(exist_ok=True)
    log = folder / f"{identity}.log"
    command = [sys.executable, "-m", "stoker_operator", "run", f"--namespace={OPERATOR_NAMESPACE}"]
    command += [f"--identity={identity}", f"--kubeconfig={kubeconfig or plane.kubeconfig}"]
    command += ["--listen=127.0.0.1:0", "--demand-listen=127.0.0.1:0"]
    command += ["--worker-image=cpu=worker:cpu", "--worker-image=example.com/gpu=worker:gpu", *arguments]
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    try:
        yield OperatorProcess(process, log)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        sys.stderr.write(f"operator {identity}:\n{log.read_text(errors='replace')[-6000:]}\n")


_numbers = itertools.count(1)


@pytest.fixture
def team(cluster: Cluster) -> str:
    """A namespace of account `acme`, of this test's own."""
    return make_team(cluster)


def make_team(cluster: Cluster) -> str:
    name = f"team-{next(_numbers)}"
    labels = {"stoker.dev/account": "acme"}
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    return name
