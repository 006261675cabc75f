"""What a story leaves behind: everything one wants to read when it has failed, and what was to be seen on the way."""

import subprocess
from pathlib import Path

from hack.kube.access import CommandFailure
from hack.kube.node import Cluster

FOLDER = Path(__file__).resolve().parents[2] / ".cache" / "e2e"
LENGTH = 8000
VIEWS = {
    "pods": ("get", "pods", "-A", "-o", "wide"),
    "deployments": ("get", "sdep,gpupools,models", "-A", "-o", "wide"),
    "describe": ("describe", "sdep", "-A"),
    "events": ("get", "events", "-A", "--sort-by=.metadata.creationTimestamp"),
}
OURS = "app.kubernetes.io/component in (operator,gateway,worker)"
NAMES = r"jsonpath={range .items[*]}{.metadata.namespace} {.metadata.name}{'\n'}{end}"


def gather(cluster: Cluster, story: str) -> str:
    """Write all into a folder of the story, and return the end of each."""
    folder = FOLDER / story
    folder.mkdir(parents=True, exist_ok=True)
    pods = [line.split() for line in _said(cluster, "get", "pods", "-A", "-l", OURS, "-o", NAMES).splitlines()]
    logs = {f"{pod}.log": ("logs", "-n", namespace, pod, "--all-containers") for namespace, pod in pods}
    before = {name.replace(".log", ".previous.log"): (*view, "--previous") for name, view in logs.items()}
    shown = [f"all of it is in {folder}"]
    for name, view in (VIEWS | logs | before).items():
        text = _said(cluster, *view)
        (folder / name).write_text(text)
        if name not in before:
            shown.append(f"--- {name}\n{text[-LENGTH:]}")
    return "\n".join(shown)


def show(cluster: Cluster, name: str, namespace: str) -> None:
    """Keep what people see of the Deployments now, for the guides."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    views = (("get", "sdep", "-A"), ("describe", "sdep", "-n", namespace))
    text = "\n".join(f"$ kubectl {' '.join(view)}\n{_said(cluster, *view)}" for view in views)
    (FOLDER / f"{name}.txt").write_text(text)


def _said(cluster: Cluster, *arguments: str) -> str:
    try:
        return cluster.kubectl(*arguments)
    except (CommandFailure, subprocess.TimeoutExpired) as failure:
        return f"{failure}\n"
