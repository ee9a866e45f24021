"""What the processes of a gateway share: modules are imported once, before the forks, and what one kind of process needs stays out of the
others. A module too many costs each process that imports it for itself some megabytes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

GATEWAY = """\
gateway: {id: g}
stream: {port: 20001}
adapters:
  - {id: m, protocol: modbus_tcp, host: 127.0.0.1, every: 1s, points: [{asset: a, parameter: b, address: 40001, type: int16}]}
  - {id: q, protocol: mqtt, host: 127.0.0.1, subscriptions: [{topic: c/d, asset: c, mapping: json, points: [{parameter: b, path: $.b}]}]}
sinks:
  - {id: s, type: postgres, dsn: "postgresql://h/d", topics: [telemetry.clean]}
"""
BEFORE_THE_FORKS = f"""
from pathlib import Path
from streamforge.cli import app
from streamforge.config_file import load_text
from streamforge.daemon import share_memory
from streamforge.plan import plan
share_memory(plan(load_text({GATEWAY!r}), Path("/data")))
"""
READ_A_NUMBER_AND_A_TEXT = """
from schemas.records import Classification, Series
from stream.codec import Codec, SchemaIds, Template
from tests.kit.messages import messages
series = Series("a", "p", None, Classification.TELEMETRY, "a", "1", None, "g")
ids = SchemaIds()
template = Template(series, ids.id_of("reading"))
wires = [template.encode(value, 1) for value in (1.5, 2, True, "on")]
assert len(Codec(ids).decode("telemetry.raw", 0, messages(wires)).records[0]) == 4
"""

GIVE_BACK = """
import re
from pathlib import Path
import numpy
from actors import guard
def mapped():
    of_library = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match("[0-9a-f]+-", line):
            of_library = "r-xp" in line and "openblas" in line
        elif of_library and line.startswith("Rss:"):
            return int(line.split()[1])
before = mapped()
guard.give_memory_back()
print(before, mapped(), int(numpy.array([[6.0]]).dot(numpy.array([[7.0]]))[0, 0]))
"""

FORGET = """
import json, os, sys
from actors import guard
names = [sys.intern(("n%d" % i).ljust(90, "x")) for i in range(8000)]
others = [sys.intern("m%d" % i) for i in range(8000)]
family = [type("T", (), {})() for _ in range(40)]
def look(wanted):
    for at, name in enumerate(wanted):
        getattr(family[at % 40], name, None)
def written():
    kinds = (line.split() for line in open("/proc/self/smaps_rollup"))
    return next(int(words[1]) for words in kinds if words[0] == "Private_Dirty:")
def child():
    before = written()
    look(others)
    return written() - before
look(names)
costs = []
for forget in (False, True):
    if forget:
        guard.forget_lookups()
    hear, say = os.pipe()
    if os.fork() == 0:
        os.write(say, b"%d" % child())
        os._exit(0)
    os.wait()
    costs.append(int(os.read(hear, 20)))
print(json.dumps(costs))
"""


def loaded_by(code: str) -> set[str]:
    """The modules a new interpreter holds after the code."""
    end = "\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code + end], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture(scope="module")
def shared() -> set[str]:
    return loaded_by(BEFORE_THE_FORKS)


@pytest.mark.parametrize(
    "module",
    [
        "actors.adapter", "actors.sink", "control.server", "pipeline.validator", "pipeline.aggregator",
        "protocols.modbus.adapter", "protocols.mqtt.adapter", "sinks.postgres.sink",
    ],
)  # fmt: skip
def test_what_a_worker_needs_is_imported_before_the_forks(shared, module):
    assert module in shared


@pytest.mark.parametrize(
    "module",
    [
        "asyncua",
        "protocols.opcua.adapter",
        "amqtt",
        "pymodbus.server",
        "streamforge.demo",
        "jgo",
        "numpy.ma",
        "numpy.testing",
    ],
)
def test_what_no_worker_of_this_file_needs_is_not(shared, module):
    assert module not in shared


def test_reading_a_batch_of_several_kinds_of_values_imports_nothing_of_numpy_that_is_not_there_already(shared):
    assert {m for m in loaded_by(READ_A_NUMBER_AND_A_TEXT) if m.startswith("numpy")} <= shared


def test_code_that_only_the_import_needed_is_given_back_and_comes_again_when_it_is_needed() -> None:
    done = subprocess.run([sys.executable, "-c", GIVE_BACK], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    before, after, again = map(int, done.stdout.split())
    assert after < 0.3 * before
    assert again == 42


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="from 3.12 on, uses of a name are not counted")
def test_looking_up_attributes_in_a_child_does_not_write_to_the_names_its_parent_looked_up() -> None:
    done = subprocess.run([sys.executable, "-c", FORGET], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    remembered, forgotten = json.loads(done.stdout)
    assert forgotten < 0.7 * remembered
