"""Mixed traffic with disconnects leaves every block free and every attempt in the usage file exactly once."""

from collections.abc import Callable
from typing import Any

import pytest
from bench.soak import soak

SHORT, FULL = 120, 2000


def test_the_books_balance_after_mixed_traffic(start_stack: Callable[..., Any], pytestconfig: pytest.Config) -> None:
    stack = start_stack("--workers", "2")
    requests = FULL if pytestconfig.getoption("full") else SHORT
    books = soak(stack.url, stack.usage_file, requests, concurrency=16, seed=1)
    assert books.problems == []
    assert books.outcomes["completed"] > requests / 2
    assert books.outcomes["client_gone"] > 0
