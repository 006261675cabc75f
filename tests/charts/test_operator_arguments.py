"""The operator's command line is read back by its own parser."""

import pytest
from hack.chart import template
from tests.charts.chart import arguments
from tests.charts.test_render import MATRIX, Values

from stoker_operator.settings import parse_run


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX.keys())
def test_the_operator_reads_its_own(values: Values) -> None:
    (workload,) = [
        w for w in template(values) if w["kind"] == "Deployment" and w["metadata"]["name"].endswith("operator")
    ]
    environment = {"$(POD_NAMESPACE)": "stoker-system", "$(POD_NAME)": "stoker-operator-0"}
    verb, *rest = arguments(workload)
    for reference, value in environment.items():
        rest = [argument.replace(reference, value) for argument in rest]
    parsed = parse_run(rest, "host")
    assert verb == "run"
    assert (parsed.namespace, parsed.identity) == ("stoker-system", "stoker-operator-0")
    assert "cpu" in parsed.workers.images
