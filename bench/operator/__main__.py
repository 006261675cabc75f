"""Run the operator benchmark: see the package."""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.document import markdown_table, replace_part
from bench.machine import ROOT, machine, revision
from bench.processes import cpu_s, memory_mb, running, stop_on_sigterm
from hack.kube import control_plane
from hack.kube.control_plane import ControlPlane
from hack.kube.fake_nodes import NodeGroup
from hack.kube.options import FAKE_NODE

from stoker_cli.bench.results import median, quantile
from stoker_operator.api.crd import crd
from stoker_operator.api.resources import RESOURCES
from stoker_operator.planning.workload import child_name

Json = dict[str, Any]

NAMESPACE, SYSTEM = "bench", "stoker-system"
REGIONS = ("us-east-1", "us-west-2", "eu-west-1")
API = "/apis/stoker.dev/v1alpha1"
DEPLOYMENTS = f"{API}/namespaces/{NAMESPACE}/deployments"
WORKLOADS = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
CLIENTS = 8
GIVE_UP_S = 600.0
ROOMY = 30  # the last Deployments are on a pool that is not full: their changes need not wait for room
APPLY = {"Content-Type": "application/apply-patch+yaml"}


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured. `counts`: Deployments at once, one after the other."""

    counts: tuple[int, ...]
    changes: int
    idle_s: float
    nodes: int


FULL = Size((10, 100, 1000), changes=100, idle_s=60, nodes=200)
QUICK = Size((10, 50), changes=20, idle_s=10, nodes=30)


@dataclass(frozen=True, slots=True)
class Round:
    """So many Deployments at once. Seconds from the first request to create one; `applied_s`: until the last was accepted."""

    deployments: int
    applied_s: float
    children_s: float
    ready_s: float
    operator_cpu_s: float
    memory_mb: float


@dataclass(frozen=True, slots=True)
class Found:
    """Everything. The restart is with all Deployments of the last round present."""

    rounds: list[Round]
    change_p50_s: float
    change_p99_s: float
    idle_cpu_share: float
    idle_writes: int
    restart_first_change_s: float
    restart_writes: int


class Bench:
    """One cluster, and whoever asks it."""

    def __init__(self, plane: ControlPlane, folder: Path) -> None:
        self.plane, self.folder, self.http = plane, folder, plane.client()

    @contextmanager
    def operator(self, name: str) -> Iterator["subprocess.Popen[bytes]"]:
        """An operator that leads when the block begins."""
        command = [sys.executable, "-m", "stoker_operator", "run", f"--namespace={SYSTEM}", f"--identity={name}"]
        command += [f"--kubeconfig={self.plane.kubeconfig}", "--worker-image=nvidia.com/gpu=worker:cuda"]
        with running(
            [*command, "--listen=127.0.0.1:0", "--demand-listen=127.0.0.1:0"], self.folder / f"{name}.log"
        ) as process:
            yield process

    def apply(self, path: str, manifest: Json) -> None:
        """Server-side."""
        query = {"fieldManager": "bench", "force": "true"}
        answer = self.http.patch(
            f"{path}/{manifest['metadata']['name']}", params=query, content=json.dumps(manifest), headers=APPLY
        )
        answer.raise_for_status()

    def items(self, path: str) -> list[Json]:
        """All objects below a path."""
        found: list[Json] = self.http.get(path).raise_for_status().json()["items"]
        return found


def prepare(bench: Bench) -> None:
    """Resources, a pool per region, a model, and the namespace of an account."""
    for resource in RESOURCES:
        bench.apply("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd(resource))
    wait(lambda: all(bench.http.get(f"{API}/{one.plural}").is_success for one in RESOURCES), "our resources", 0.2)
    for name, labels in ((SYSTEM, {}), (NAMESPACE, {"stoker.dev/account": "bench"})):
        metadata = {"name": name, "labels": labels}
        bench.apply("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    spec = {"id": "accounts/bench/models/m", "account": "bench", "source": {"uri": "embedded://m.gguf"}}
    bench.apply(f"{API}/models", custom("Model", "m", spec))
    for region in REGIONS:
        bench.apply(f"{API}/gpupools", custom("GPUPool", f"h100-{region}", pool(region)))


def pool(region: str) -> Json:
    """kwok's nodes of a region."""
    return {
        "accelerator": "H100",
        "region": region,
        "resourceName": "nvidia.com/gpu",
        "nodeSelector": {"topology.kubernetes.io/region": region},
        "tolerations": [{"key": FAKE_NODE.partition("=")[0], "operator": "Exists"}],
    }


def custom(kind: str, name: str, spec: Json, **metadata: Any) -> Json:
    """One of our resources."""
    return {"apiVersion": "stoker.dev/v1alpha1", "kind": kind, "metadata": {"name": name, **metadata}, "spec": spec}


def deployment(number: int, **spec: Any) -> Json:
    """One replica on one accelerator."""
    made = {"model": "m", "accelerator": {"type": "H100"}, "replicas": 1} | spec
    return custom("Deployment", f"d-{number:04d}", made, namespace=NAMESPACE)


def at_once(bench: Bench, numbers: range, process: "subprocess.Popen[bytes]") -> Round:
    """Create them all, and watch for their workloads and for what the operator tells of them."""
    say(f"{len(numbers)} Deployments at once")
    names = {f"d-{number:04d}" for number in numbers}
    with ThreadPoolExecutor(CLIENTS + 2) as pool_:
        children = pool_.submit(seen_all, bench, WORKLOADS, names, owner_of)
        ready = pool_.submit(seen_all, bench, DEPLOYMENTS, names, ready_name)
        before, began = cpu_s(process.pid), time.monotonic()
        list(pool_.map(lambda number: bench.apply(DEPLOYMENTS, deployment(number)), numbers))
        applied = time.monotonic() - began
        children_s, ready_s = children.result() - began, ready.result() - began
    return Round(len(numbers), applied, children_s, ready_s, cpu_s(process.pid) - before, memory_mb(process.pid))


def seen_all(bench: Bench, path: str, names: set[str], name_of: Callable[[Json], str]) -> float:
    """When a watch had brought every name. A watch costs the API server little; lists of a thousand objects would not."""
    missing, deadline = set(names), time.monotonic() + GIVE_UP_S
    query = {"watch": "1", "timeoutSeconds": str(int(GIVE_UP_S))}
    with bench.http.stream("GET", path, params=query, timeout=GIVE_UP_S) as stream:
        for line in stream.iter_lines():
            missing.discard(name_of(json.loads(line)["object"]))
            if not missing:
                return time.monotonic()
            if time.monotonic() > deadline:
                break
    raise TimeoutError(f"{path}: {len(missing)} are missing after {GIVE_UP_S:g} s, {min(missing)} for one")


def owner_of(workload: Json) -> str:
    """The Deployment that a workload belongs to."""
    return str(workload["metadata"]["ownerReferences"][0]["name"])


def ready_name(found: Json) -> str:
    """A Deployment's name, once it is Ready."""
    conditions = found.get("status", {}).get("conditions", ())
    is_ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
    return str(found["metadata"]["name"]) if is_ready else ""


def change(bench: Bench, number: int, max_batch: int) -> float:
    """Seconds from a change of a spec until the workload has it; seen by a watch that stands before the change."""
    name = f"d-{number:04d}"
    found = bench.http.get(f"{DEPLOYMENTS}/{name}").raise_for_status().json()
    child = child_name(name, found["status"]["placements"][0]["pool"])
    query = {"watch": "1", "fieldSelector": f"metadata.name={child}", "timeoutSeconds": "60"}
    with bench.http.stream("GET", WORKLOADS, params=query) as stream:
        began = time.monotonic()
        bench.apply(DEPLOYMENTS, deployment(number, engine={"maxBatch": max_batch}))
        for line in stream.iter_lines():
            options = json.loads(line)["object"]["spec"]["template"]["spec"]["containers"][0]["args"]
            if f"--max-batch-sequences={max_batch}" in options:
                return time.monotonic() - began
    raise TimeoutError(f"{name} was not applied within 60 s")


def versions(bench: Bench) -> dict[str, str]:
    """Of whatever the operator writes, but its Lease."""
    paths = (DEPLOYMENTS, WORKLOADS, f"/api/v1/namespaces/{NAMESPACE}/secrets", f"{API}/gpupools", f"{API}/models")
    return {
        f"{path}/{one['metadata']['name']}": one["metadata"]["resourceVersion"]
        for path in paths
        for one in bench.items(path)
    }


def differing(before: dict[str, str], after: dict[str, str]) -> set[str]:
    """Objects that were written in between."""
    return {key for key, version in after.items() if before.get(key) != version}


def settle(bench: Bench) -> dict[str, str]:
    """Wait until nothing is written any more."""
    say("until all is quiet")
    last = versions(bench)
    deadline = time.monotonic() + GIVE_UP_S
    while time.monotonic() < deadline:
        time.sleep(5)
        now = versions(bench)
        if now == last:
            return now
        last = now
    raise TimeoutError("something is written for ever")


def idle(bench: Bench, process: "subprocess.Popen[bytes]", seconds: float) -> tuple[float, int]:
    """Share of a core, and objects written, while nothing happens."""
    before = settle(bench)
    say(f"nothing for {seconds:g} s")
    cpu, began = cpu_s(process.pid), time.monotonic()
    time.sleep(seconds)
    share = (cpu_s(process.pid) - cpu) / (time.monotonic() - began)
    return share, len(differing(before, versions(bench)))


def measure(bench: Bench, size: Size) -> Found:
    """Everything, on one cluster; each round's Deployments stay."""
    rounds, first = [], 0
    with bench.operator("first") as process:
        for count in size.counts:
            rounds.append(at_once(bench, range(first, first + count), process))
            first += count
        share, writes = idle(bench, process, size.idle_s)
        say(f"{size.changes} changes, one at a time")
        changes = [change(bench, first - 1 - number % ROOMY, 8 + number) for number in range(size.changes)]
    before = settle(bench)
    say("a restart")
    began = time.monotonic()
    with bench.operator("second"):
        change(bench, first - 1, 4096)
        first_change = time.monotonic() - began
        after = settle(bench)
    # The change's own: the Deployment, its workload, and the pools whose pods it replaced.
    own = {key for key in after if f"/d-{first - 1:04d}" in key or "/gpupools/" in key}
    return Found(
        rounds=rounds,
        change_p50_s=median(changes),
        change_p99_s=quantile(sorted(changes), 0.99),
        idle_cpu_share=share,
        idle_writes=writes,
        restart_first_change_s=first_change,
        restart_writes=len(differing(before, after) - own),
    )


def wait(is_so: Callable[[], bool], what: str, every_s: float) -> float:
    """When it came to be so. Raises TimeoutError."""
    deadline = time.monotonic() + GIVE_UP_S
    while time.monotonic() < deadline:
        if is_so():
            return time.monotonic()
        time.sleep(every_s)
    raise TimeoutError(f"{what}: not within {GIVE_UP_S:g} s")


def table(found: Found) -> str:
    """The figures as Markdown."""
    curve = markdown_table(
        ["Deployments at once", "accepted", "workloads applied", "all Ready", "operator CPU", "memory (PSS)"],
        [
            [
                str(one.deployments),
                f"{one.applied_s:.1f} s",
                f"{one.children_s:.1f} s",
                f"{one.ready_s:.1f} s",
                f"{one.operator_cpu_s:.1f} s",
                f"{one.memory_mb:.0f} MB",
            ]
            for one in found.rounds
        ],
    )
    rest = markdown_table(
        [f"with {sum(one.deployments for one in found.rounds)} Deployments present", ""],
        [
            ["from a spec change to the applied workload, median", f"{found.change_p50_s * 1e3:.0f} ms"],
            ["the same, p99", f"{found.change_p99_s * 1e3:.0f} ms"],
            ["CPU while nothing happens", f"{found.idle_cpu_share:.1%} of a core"],
            ["objects written while nothing happens", str(found.idle_writes)],
            ["from the start of a new process to its first change applied", f"{found.restart_first_change_s:.1f} s"],
            ["objects written by a restart", str(found.restart_writes)],
        ],
    )
    return f"{curve}\n\n{rest}"


def say(what: str) -> None:
    """Progress, for whoever waits."""
    print(f"bench.operator: {what} …", file=sys.stderr, flush=True)


def main() -> int:
    """Measure, write the figures, print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.operator", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke run; its figures go to no document")
    parser.add_argument("--output", type=Path, help="file for the figures  [default: bench/results/DATE-operator.json]")
    arguments = parser.parse_args()
    stop_on_sigterm()
    size = QUICK if arguments.quick else FULL
    today = datetime.now(UTC).date().isoformat()
    conditions = {"date": today, "revision": revision(), "machine": machine(), "nodes": size.nodes}
    logs = ROOT / ".cache" / "bench-operator"
    logs.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        control_plane.running(
            Path(folder), build=False, nodes=(NodeGroup(count=size.nodes, regions=REGIONS),)
        ) as plane,
    ):
        bench = Bench(plane, logs)
        prepare(bench)
        found = measure(bench, size)
        bench.http.close()
    text = table(found)
    print(text)
    if not arguments.quick or arguments.output:
        output = arguments.output or ROOT / "bench" / "results" / f"{today}-operator.json"
        output.write_text(json.dumps({**conditions, **asdict(found)}, indent=2) + "\n")
    if not arguments.quick:
        replace_part(ROOT / "docs" / "benchmarks.md", "operator", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
