"""The command lines that the chart writes are read back by the programs' own parsers."""

import argparse

import pytest
from hack.chart import template
from hack.kube.control_plane import ControlPlane
from tests.charts.chart import arguments, one
from tests.charts.test_render import MATRIX, Values

from stoker_gateway import settings


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX.keys())
def test_the_gateway_reads_its_own(plane: ControlPlane, values: Values) -> None:
    (workload,) = [
        w for w in template(values) if w["kind"] == "Deployment" and w["metadata"]["name"].endswith("gateway")
    ]
    parsed = parse(
        [f"--kubernetes={plane.kubeconfig}" if a == "--kubernetes=in-cluster" else a for a in arguments(workload)]
    )
    assert (parsed.host, parsed.port) == ("0.0.0.0", 8000)
    assert parsed.keys_file is not None
    assert parsed.tls is not None
    assert parsed.api_server is not None


def test_bounds_arrive(plane: ControlPlane) -> None:
    workload = one(
        template(MATRIX["every bound, usage on a volume, further endpoints, traces"]), "Deployment", "stoker-gateway"
    )
    parsed = parse(
        [f"--kubernetes={plane.kubeconfig}" if a == "--kubernetes=in-cluster" else a for a in arguments(workload)]
    )
    limits = parsed.limits
    assert (limits.max_body_bytes, limits.max_concurrent, limits.max_held) == (33554432, 9, 8)
    assert (limits.receive_timeout_s, limits.hold_timeout_s, limits.request_timeout_s) == (7, 6, 5)
    assert (limits.heartbeat_timeout_s, limits.drain_timeout_s) == (4, 3)
    assert parsed.region == "us-east-1"


def parse(given: list[str]) -> settings.Settings:
    verb, *rest = given
    assert verb == "serve"
    parser = settings.Parser(allow_abbrev=False)
    settings.add_options(parser)
    namespace: argparse.Namespace = parser.parse_args(rest)
    return settings.parse(vars(namespace), {})
