"""Kubernetes' quantities as whole numbers."""

import re
from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal

QUANTITY = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE]([+-]?[0-9]{1,3})|([numkMGTPE]?|[KMGTPE]i))")
FACTORS = {
    "": Decimal(1000),
    "n": Decimal("0.000001"),
    "u": Decimal("0.001"),
    "m": Decimal(1),
    **{suffix: Decimal(1000) ** (power + 2) for power, suffix in enumerate("kMGTPE")},
    **{f"{suffix}i": 1000 * Decimal(1024) ** (power + 1) for power, suffix in enumerate("KMGTPE")},
}


def milli(text: str) -> int:
    """Thousandths, rounded up: "1.5" and "1500m" are 1500. Raises ValueError for what is no quantity."""
    found = QUANTITY.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no quantity")
    number, exponent, suffix = found.groups()
    value = Decimal(number) * Decimal(10) ** int(exponent or 0) * FACTORS[suffix or ""]
    return int(value.to_integral_value(ROUND_CEILING))


def sum_milli(*many: Mapping[str, int]) -> dict[str, int]:
    """Added up, resource by resource."""
    total: dict[str, int] = {}
    for one in many:
        for resource, amount in one.items():
            total[resource] = total.get(resource, 0) + amount
    return total


def most_milli(*many: Mapping[str, int]) -> dict[str, int]:
    """The largest amount of each resource."""
    most: dict[str, int] = {}
    for one in many:
        for resource, amount in one.items():
            most[resource] = max(most.get(resource, 0), amount)
    return most


def parsed(quantities: Mapping[str, str]) -> dict[str, int]:
    """All of them in thousandths; what is no quantity counts nothing, since the API server lets none pass."""
    return {resource: _or_zero(text) for resource, text in quantities.items()}


def _or_zero(text: str) -> int:
    try:
        return milli(text)
    except ValueError:
        return 0
