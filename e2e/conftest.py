"""A real node with Stoker on it, for all stories together. Each story brings its own objects and takes them away."""

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e.kit import evidence, record
from e2e.kit.manifests import cpu_pool, namespace
from e2e.kit.stoker import NAMESPACE, Stoker, clean, import_images
from hack.kube import node
from hack.kube.node import Cluster

GPUS = 8
TAG = "e2e"
# Those that take the release itself apart come last.
STORIES = (
    "first_deployment",
    "update_under_traffic",
    "gpu_accounting",
    "scale_to_zero_and_back",
    "worker_killed",
    "operator_killed",
    "api_server_away",
    "bad_source",
    "alias_moves",
    "impostor",
    "chart_upgrade",
    "uninstall",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record", action="store_true", help="write the table of stories into bench/results and docs")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: STORIES.index(item.path.parent.name))
    for item in items:
        item.add_marker(pytest.mark.timeout(600))  # the first one may have to make images


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A real node with this tree's images."""
    folder = tmp_path_factory.mktemp("cluster")
    with node.running(folder, gpus=GPUS) as made:
        import_images(made, folder / "images", TAG)
        yield made


@pytest.fixture(scope="session")
def stoker(cluster: Cluster) -> Iterator[Stoker]:
    """Stoker, installed by its chart into a namespace that enforces restricted pods."""
    with cluster.client() as api:
        made = Stoker(cluster, api)
        released = namespace(NAMESPACE)
        del released["metadata"]["labels"]["stoker.dev/account"]
        cluster.apply(released)
        made.helm("install", TAG)
        yield made


@pytest.fixture
def tenant(stoker: Stoker, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of the key's account, and a pool of CPUs; in the end nothing of the story is left."""
    name = request.path.parent.name.replace("_", "-")
    stoker.cluster.apply(namespace(name), cpu_pool())
    yield name
    clean(stoker)


stories: list[dict[str, Any]] = []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    story = Path(item.path).parent.name
    if report.failed and "cluster" in getattr(item, "funcargs", {}):
        report.sections.append(("the cluster", evidence.gather(item.funcargs["cluster"], story)))  # type: ignore[attr-defined]
    if report.when == "call":
        row = {"story": story, "test": item.name, "outcome": report.outcome, "seconds": round(report.duration, 1)}
        stories.append(row | {"measured": dict(report.user_properties)})
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for row in stories:
        terminalreporter.write_line(f"{row['seconds']:6.1f} s  {row['outcome']:7}  {row['story']}  {row['measured']}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.config.getoption("--record") and stories:
        record.write(stories)
