"""The broker actor with a real JVM: it starts, survives every kill, keeps the data, lets nobody else in, and says why it ends."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from actors import broker as broker_actor
from actors.context import Context, Status
from stream.broker import claim as broker_claim
from stream.broker import settings as broker_settings
from stream.broker.claim import Claimed
from stream.broker.java import find as find_java
from stream.broker.ports import free_pair
from stream.broker.process import start
from stream.broker.run import BrokerDied
from tests.kit.broker_actor import ROOT, WITHIN_S, config, launch, running
from tests.kit.kafka import one_topic
from tests.kit.waiting import until


async def write(bootstrap: str, topic: str, values: list[bytes]) -> None:
    async with (
        AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id="writer") as producer,
        producer.transaction(),
    ):
        for value in values:
            await producer.send_and_wait(topic, value, partition=0)


async def read(bootstrap: str, topic: str, count: int) -> list[bytes]:
    """The first `count` committed values of partition 0."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, isolation_level="read_committed", enable_auto_commit=False)
    values: list[bytes] = []
    async with consumer, asyncio.timeout(20):
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        while len(values) < count:
            values += [r.value for rs in (await consumer.getmany(timeout_ms=200)).values() for r in rs]
    return values


async def refusal(given: dict[str, Any]) -> str:
    """Why the broker of this configuration does not start, as people are told."""
    actor, ready = launch(given)
    await until(lambda: actor.context.status is Status.UNHEALTHY)
    await actor.stop()
    assert not ready.is_set()
    return str(actor.context.reason)


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


async def test_formats_starts_stops_in_order_and_starts_again_on_another_port(tmp_path: Path) -> None:
    async with running(tmp_path) as first:
        assert first.context.status is Status.HEALTHY
        assert first.context.facts["version"] == "4.3.1"
        assert first.context.facts["safe_start"] is False
        await one_topic(first.bootstrap, "kept")
        await write(first.bootstrap, "kept", [b"1", b"2"])
        listening = {c.laddr.ip for c in psutil.Process(first.jvm).net_connections() if c.status == psutil.CONN_LISTEN}
        assert listening <= {"127.0.0.1", "::ffff:127.0.0.1"}
        await first.stop()
        assert first.context.facts["stopped_in_order"] is True
        assert first.context.gauges["broker_disk_bytes"] > 0
        assert first.context.gauges["broker_rss_bytes"] > 50e6
    async with running(tmp_path) as second:
        assert second.context.facts["safe_start"] is False
        assert await read(second.bootstrap, "kept", 2) == [b"1", b"2"]


async def test_an_open_transaction_is_ended_before_an_orderly_stop(tmp_path: Path) -> None:
    async with running(tmp_path) as first:
        await one_topic(first.bootstrap, "t")
        dead = AIOKafkaProducer(bootstrap_servers=first.bootstrap, transactional_id="dead-worker")
        await dead.start()
        await dead.begin_transaction()
        await dead.send_and_wait("t", b"never committed", partition=0)
        await first.stop()
        assert first.context.facts["stopped_in_order"] is True
        log = (tmp_path / "stream" / "logs" / "kafka.log").read_text()
        assert broker_settings.SWALLOWED not in log
        await asyncio.wait({asyncio.create_task(dead.stop())}, timeout=1)


async def test_a_killed_jvm_is_a_crash_with_a_reason_and_the_next_start_is_a_safe_one(tmp_path: Path) -> None:
    async with running(tmp_path, durability="synced") as first:
        await one_topic(first.bootstrap, "kept", partitions=3)
        await write(first.bootstrap, "kept", [b"1"])
        os.kill(first.jvm, signal.SIGKILL)
        crash = await first.ended()
        assert isinstance(crash, BrokerDied)
        assert "was killed by SIGKILL" in str(crash)
    data = tmp_path / "stream" / "kafka"
    damaged = [
        "meta.properties",
        "recovery-point-offset-checkpoint",
        "__cluster_metadata-0/quorum-state",
        "bootstrap.checkpoint",
    ]
    for name in [*damaged, "kept-1/partition.metadata"]:
        (data / name).write_bytes(b"\0\xff" * 50)
    async with running(tmp_path) as second:
        assert second.context.facts["safe_start"] is True
        assert len(second.context.facts["repaired"]) == 5
        assert second.context.counters["broker_safe_starts_total"] == 1
        assert await read(second.bootstrap, "kept", 1) == [b"1"]
        log = (tmp_path / "stream" / "logs" / "kafka.log").read_text()
        assert broker_settings.SWALLOWED not in log


async def test_nobody_else_gets_at_the_data_and_an_orphan_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One actor process, killed in the end: meanwhile others are refused, afterwards its JVM is gone."""
    monkeypatch.setattr(broker_claim, "BUSY_WITHIN_S", 0.2)
    port = free_pair()
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.kit.broker_actor", str(tmp_path), str(port),
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert program.stdout
    word, jvm, facts = (await asyncio.wait_for(program.stdout.readline(), WITHIN_S)).decode().split(" ", 2)
    assert (word, json.loads(facts)["port"]) == ("ready", port)

    assert f"is in use by pid {program.pid}" in await refusal(config(tmp_path))
    assert f"Port {port} of 127.0.0.1 is taken by pid {jvm}" in await refusal(config(tmp_path / "other", port))
    assert not gone(int(jvm)), "the first one is unharmed"

    program.kill()
    await program.wait()
    await until(lambda: gone(int(jvm)))


async def test_a_jvm_that_hangs_is_reported_and_then_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker_actor, "ASK_EVERY_S", 0.1)
    async with running(tmp_path) as actor:
        os.kill(actor.jvm, signal.SIGSTOP)
        # Only now: a busy machine makes a good broker wait as long.
        monkeypatch.setattr(broker_actor, "ASK_WITHIN_S", 0.3)
        monkeypatch.setattr(broker_actor, "SILENT_S", 1.0)
        await until(lambda: actor.context.status is Status.DEGRADED)
        assert "has not answered for" in str(actor.context.reason)
        crash = await actor.ended()
        assert isinstance(crash, BrokerDied)
        assert "and is killed" in str(crash)
        assert gone(actor.jvm)


async def test_a_stop_during_the_start_leaves_nothing(tmp_path: Path) -> None:
    actor, ready = launch(config(tmp_path))
    await until((tmp_path / "stream" / "identity.json").exists)
    actor.context.stopping.set()
    assert await actor.ended() is None
    assert not ready.is_set()
    assert [p for p in psutil.process_iter(["cmdline"]) if str(tmp_path) in " ".join(p.info["cmdline"] or [])] == []


async def test_an_orphan_of_ours_is_killed_and_a_stranger_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The claim names a JVM whose actor is gone: here a process that holds the lock in its place."""
    monkeypatch.setattr(broker_claim, "BUSY_WITHIN_S", 0.2)
    root = tmp_path / "stream"
    claim = await broker_actor.Claim.take(root)
    orphan = await start(["sleep", "60"], lambda _: None, cwd=tmp_path, keep=[claim.descriptor])
    claim.write(orphan.pid)
    given = json.loads((root / "claim.json").read_text())
    claim.release()
    (root / "claim.json").write_text(json.dumps({**given, "actor_started": 1.0}))
    taken = await broker_actor.Claim.take(root)
    assert await orphan.exited == -signal.SIGKILL

    other = await start(["sleep", "60"], lambda _: None, cwd=tmp_path, keep=[taken.descriptor])
    taken.release()
    with pytest.raises(Claimed, match="is in use by"):
        await broker_actor.Claim.take(root)
    assert other.running
    other.kill()
    await other.exited


async def test_a_kafka_started_by_hand_on_the_data_is_named(tmp_path: Path) -> None:
    lock = tmp_path / "stream" / "kafka" / ".lock"
    lock.parent.mkdir(parents=True)
    holds = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.lockf(f, fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", holds, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:  # noqa: ASYNC220
        assert other.stdout
        assert other.stdout.readline() == b"held\n"
        assert f"in use by another Kafka: pid {other.pid}" in await refusal(config(tmp_path))


async def test_a_taken_port_of_a_stranger_is_named_before_any_jvm_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        words = await refusal(config(tmp_path, port))
    assert f"Port {port} of 127.0.0.1 is taken by pid {os.getpid()}" in words


async def test_the_controllers_port_is_named_as_such(tmp_path: Path) -> None:
    port = free_pair()
    with socket.create_server(("127.0.0.1", port + 1)):
        words = await refusal(config(tmp_path, port))
    assert (
        f"Port {port + 1} of 127.0.0.1 (the one after `stream.port`, for Kafka's controller) is taken by pid" in words
    )


@pytest.mark.parametrize(
    ("refused", "words"),
    [(PermissionError(13, "Permission denied", "FILE"), "FILE may not be read or written by .*, the user of this gateway.* Right would be that all of"),
     (OSError(28, "No space left on device"), "is full, or this user's share of it. Free some space"),
     (OSError(30, "Read-only file system", "FILE"), "FILE is on a file system that is mounted read-only"),
     (NotADirectoryError(20, "Not a directory", "FILE"), "FILE: Not a directory. Right would be a data_dir on a local disk")],
)  # fmt: skip
async def test_what_the_operating_system_refuses_is_said_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: OSError, words: str
) -> None:
    """As root nothing is refused, so it is only played."""

    def refuse(*_: object) -> None:
        raise refused

    monkeypatch.setattr("stream.broker.data.Data.examine", refuse)
    assert re.search(words, await refusal(config(tmp_path)))


async def test_a_data_dir_below_a_file_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert re.search("file.*: Not a directory. Right would be", await refusal(config(tmp_path / "file" / "data")))


async def test_data_of_a_newer_kafka_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "stream"
    root.mkdir()
    (root / "identity.json").write_text(json.dumps({"cluster": "C", "directory": "D", "kafka": "9.0.0"}))
    assert "was written by Kafka 9.0.0" in await refusal(config(tmp_path))


async def test_a_full_disk_is_named_and_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long: a gateway that gave up over it would lose what its adapters hold."""
    monkeypatch.setattr(broker_actor, "AGAIN_S", (0.01, 0.02))
    whole = shutil.disk_usage
    monkeypatch.setattr(shutil, "disk_usage", lambda path: whole(path)._replace(free=2**20))
    actor, ready = launch(config(tmp_path))
    await until(lambda: actor.context.counters.get("broker_failed_starts_total", 0) > 10)
    assert actor.context.status is Status.UNHEALTHY
    assert "is full: 1 MiB free, 16 MiB are the least" in str(actor.context.reason)
    assert not ready.is_set()
    monkeypatch.setattr(shutil, "disk_usage", whole)
    await asyncio.wait_for(ready.wait(), WITHIN_S)
    assert actor.context.status is Status.HEALTHY
    await actor.stop()


async def test_a_broker_that_ends_while_it_starts_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not a crash, of which a supervisor forgives only so many. This Java does everything but start a broker."""
    monkeypatch.setattr(broker_actor, "AGAIN_S", (0.01, 0.02))
    java = tmp_path / "java"
    java.write_text(
        f"""#!/bin/sh
case "$*" in *kafka.Kafka*) echo "Could not reserve enough space for 1048576KB object heap"; exit 1;; esac
exec {find_java(None).path} "$@"
"""
    )
    java.chmod(0o755)
    actor, ready = launch(config(tmp_path / "data", java=str(java)))
    await until(lambda: actor.context.counters.get("broker_failed_starts_total", 0) > 1)
    assert actor.context.status is Status.UNHEALTHY
    assert "Right would be a smaller `stream.heap`" in str(actor.context.reason)
    assert not ready.is_set()
    await actor.stop()


async def test_a_dropped_commit_marker_is_an_alarm() -> None:
    context = Context(id="b", config={})
    problems = broker_actor.Problems(context)
    broker_actor._on_line(
        context, problems, f"INFO x, these partitions are {broker_settings.SWALLOWED} (TransactionMarkerChannelManager)"
    )
    assert context.status is Status.DEGRADED
    assert "readings may appear twice" in str(context.reason)
    assert context.counters["broker_markers_swallowed_total"] == 1


async def test_a_named_cluster_is_only_asked(kafka: str) -> None:
    actor, ready = launch({"data_dir": "unused", "stream": {"bootstrap": kafka}})
    await asyncio.wait_for(ready.wait(), WITHIN_S)
    assert actor.context.status is Status.HEALTHY
    assert actor.context.facts["external"] is True
    actor.context.stopping.set()
    assert await actor.ended() is None


async def test_a_named_cluster_that_is_away_is_said(tmp_path: Path) -> None:
    port = free_pair()
    actor, ready = launch({"data_dir": str(tmp_path), "stream": {"bootstrap": f"127.0.0.1:{port}"}})
    await until(lambda: actor.context.status is Status.DEGRADED)
    assert actor.context.reason == f"Kafka at 127.0.0.1:{port} does not answer: nobody listens there"
    assert not ready.is_set()
    actor.context.stopping.set()
    assert await actor.ended() is None
