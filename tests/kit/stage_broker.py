"""Fixture `stage_kafka`: a second broker of the test run, on which nothing but processing stages and their tests reads and writes.

A stage works on the gateway's own topics by their names, so what other tests write there would be judged and counted too.
"""

from __future__ import annotations

import pytest

from tests.kit.kafka import shared_broker


@pytest.fixture(scope="session")
def stage_kafka(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Its bootstrap, as `kafka` gives it for the first one."""
    return shared_broker(tmp_path_factory, "stage_kafka")
