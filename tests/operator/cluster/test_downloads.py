"""How far a download is, from the fetching step's own mouth, in the status of the Deployment that waits for it."""

import pytest
from tests.operator.cluster.cluster import Cluster
from tests.operator.cluster.stage import Players, child, container, deployment, make_model, make_pool, wait_reason

from stoker_operator.planning.pod import METRICS_PORT
from stoker_worker.fetch.progress import Progress, serving
from stoker_worker.settings import Address

POD_IP = "127.0.0.90"  # this machine plays the pod

pytestmark = pytest.mark.usefixtures("operator")


def test_a_status_tells_how_far_a_download_is(cluster: Cluster, team: str) -> None:
    pool = make_pool(cluster, 8)
    manifest = deployment(team, make_model(cluster, source={"uri": "s3://bucket/m"}), pool.accelerator)
    cluster.apply(manifest)
    wait_reason(cluster, manifest, "Scheduling")
    players = Players(cluster, team)
    pod = players.add(child(team, pool), pool.add_node(8))
    progress = Progress()
    with serving(progress, Address(host=POD_IP, port=METRICS_PORT)):
        fetching = container(state={"running": {}}) | {"name": "fetch"}
        players.status(pod, podIP=POD_IP, podIPs=[{"ip": POD_IP}], initContainerStatuses=[fetching])
        wait_message(cluster, manifest, "asking what there is to download")
        progress.plan(2_000_000_000, 3)
        progress.add(930_000_000)
        wait_message(cluster, manifest, "45 % of 2.0 GB")
    done = container(state={"terminated": {"exitCode": 0}}) | {"name": "fetch"}
    starting = container(state={"running": {}})
    players.status(pod, phase="Running", initContainerStatuses=[done], containerStatuses=[starting])
    wait_reason(cluster, manifest, "EngineStarting")


def wait_message(cluster: Cluster, manifest: dict[str, object], words: str) -> None:
    cluster.wait(
        manifest,
        lambda found: any(
            one["reason"] == "Downloading" and words in one["message"] for one in found["status"]["conditions"]
        ),
    )
