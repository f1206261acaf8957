"""A fault test that passed leaves no process behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import processes
from harness.nodes import Network, can_make_networks


@pytest.fixture(autouse=True)
def processes_leave_by_themselves(
    tmp_path: Path, no_process_left: None, request: pytest.FixtureRequest
) -> Iterator[None]:
    """Give monitors their grace, then insist that they are gone."""
    failed_before = request.session.testsfailed
    yield
    if request.session.testsfailed == failed_before:
        processes.until(
            lambda: processes.have_left(tmp_path),
            "all processes to leave by themselves",
            within_secs=20,
        )


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    """Two hosts with networks of their own."""
    if not can_make_networks():
        pytest.skip("network namespaces need root and iproute2")
    network = Network(tmp_path)
    yield network
    processes.kill_all_mentioning(tmp_path)
    network.close()
