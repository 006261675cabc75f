"""The chart as helm renders it, and what the guide says of it: run by `make chart-docs`, compared by tests/charts.

Rights of each component and sizes of the resources' definitions are written between markers in docs/guides/install.md.
"""

import copy
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from hack.kube.binaries import BuildFailure, ensure

ROOT = Path(__file__).resolve().parent.parent
CHART = ROOT / "charts" / "stoker"
CRDS = ROOT / "manifests" / "crds"
GUIDE = ROOT / "docs" / "guides" / "install.md"
RELEASE, NAMESPACE = "stoker", "stoker-system"
TIMEOUT_S = 60

Object = dict[str, Any]


class HelmFailure(Exception):
    """Helm refused; the text is what it wrote."""


def template(
    values: Mapping[str, Any] | None = None, *, release: str = RELEASE, namespace: str = NAMESPACE
) -> list[Object]:
    """The chart's objects with these values, the caller's own. Raises HelmFailure; BuildFailure if there is no helm."""
    return copy.deepcopy(_template(json.dumps(values or {}), release, namespace))


@lru_cache(maxsize=64)
def _template(values: str, release: str, namespace: str) -> list[Object]:
    helm = ensure(["helm"], build=False)["helm"]
    command = [str(helm), "template", release, str(CHART), "--namespace", namespace, "--values", "-"]
    done = subprocess.run(command, input=values, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    if done.returncode:
        raise HelmFailure(done.stderr)
    return objects(done.stdout)


def objects(text: str) -> list[Object]:
    """What a stream of YAML documents holds."""
    return [document for document in yaml.load_all(text, yaml.CSafeLoader) if document]


def guide() -> str:
    """The guide with its generated parts as they are now."""
    text = GUIDE.read_text()
    for name, lines in (("rights", rights(template())), ("definitions", sizes())):
        begin, end = f"<!-- {name}: made by `make chart-docs` -->\n", f"<!-- end of {name} -->"
        head, _, rest = text.partition(begin)
        _, _, tail = rest.partition(end)
        text = head + begin + "\n".join(lines) + "\n" + end + tail
    return text


def rights(rendered: Iterable[Object]) -> Iterator[str]:
    """A table of what each component may do, from its roles."""
    yield "| component | where | resources | verbs |"
    yield "| --- | --- | --- | --- |"
    for item in rendered:
        if item["kind"] in ("ClusterRole", "Role"):
            where = "whole cluster" if item["kind"] == "ClusterRole" else "its namespace"
            component = item["metadata"]["labels"]["app.kubernetes.io/component"]
            for verbs, names in _by_verbs(item["rules"]).items():
                yield f"| {component} | {where} | {', '.join(names)} | {verbs} |"
    yield "| worker | – | none: no token is mounted | – |"


def _by_verbs(rules: Iterable[Object]) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for rule in rules:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                name = f"{resource}.{group}" if group and "/" not in resource else resource
                name = f"{resource} ({group})" if group and "/" in resource else name
                only = rule.get("resourceNames")
                found[" ".join(rule["verbs"])].append(f"`{name}`" + (f" named `{only[0]}`" if only else ""))
    return found


def sizes() -> Iterator[str]:
    """A table of the definitions' sizes; 100 KB is what can be applied on the client's side, with room to spare."""
    yield "| definition | KB |"
    yield "| --- | --- |"
    for file in sorted(CRDS.glob("*.yaml")):
        yield f"| `{file.stem}` | {len(file.read_bytes()) / 1000:.1f} |"


def main() -> int:
    """Write the guide's generated parts; the exit code."""
    try:
        GUIDE.write_text(guide())
    except (BuildFailure, HelmFailure) as failure:
        print(failure, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
