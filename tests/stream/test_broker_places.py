"""A data directory may have any name a folder can have, or is refused in words."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stream.broker.data import DataError
from stream.broker.settings import Place, broker_properties, log_properties
from tests.kit.kafka_server import make

ROOT = Path(__file__).parents[2]
ODD = "Straße 7 – Halle ü 𝄞 \\ = # ! :"
SERVE = """
import asyncio, sys
from pathlib import Path
from tests.kit.kafka_server import make

async def main():
    for _ in range(2):
        broker = make(Path(sys.argv[1]))
        await broker.start()
        await broker.stop()

asyncio.run(main())
"""


def test_names_are_written_as_java_reads_them():
    place = Place(Path("/data/Straße \\ 𝄞"), 19092)
    assert r"log.dirs=/data/Stra\u00dfe \\ \ud834\udd1e/kafka" in broker_properties(place, "synced").splitlines()
    assert r"appender.file.fileName=/data/Stra\u00dfe \\ \ud834\udd1e/logs/kafka.log" in log_properties(place.logs)


def test_a_broker_lives_in_an_odd_folder_under_the_locale_of_a_service(tmp_path):
    root = tmp_path / ODD / "stream"
    root.mkdir(parents=True)
    done = subprocess.run(
        [sys.executable, "-c", SERVE, str(root)], env={**os.environ, "PYTHONPATH": str(ROOT), "LC_ALL": "C"},
        cwd=ROOT, capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert (root / "kafka" / "meta.properties").exists()
    assert (root / "logs" / "kafka.log").stat().st_size > 0
    assert [p.name for p in tmp_path.iterdir()] == [ODD]


async def test_a_comma_is_refused_in_words(tmp_path):
    with pytest.raises(DataError, match=r"has a ',' in its name.*choose another data directory"):
        await make(tmp_path / "a,b").start()
