"""Kafka's jars: pinned, checked before use, fetched again when broken, and an interrupted download goes on."""

from __future__ import annotations

import errno
import os
import shutil
import ssl
from pathlib import Path

import pytest

from stream import parts, prepare
from stream.parts import Jars, Part, PartsError


@pytest.fixture
def installed() -> Path:
    """The jars this machine runs on, as a source to fetch from."""
    return parts.ready_jars().directory


class Source:
    """Stands for the registry: gives the installed jars, counts, and can fail or lie."""

    def __init__(self, jars: Path) -> None:
        self.jars = jars
        self.asked: list[str] = []
        self.fails_after = 1000
        self.lies_about = ""

    def __call__(self, part: Part, into: Path) -> Path:
        self.asked.append(part.file_name)
        if len(self.asked) > self.fails_after:
            raise ConnectionError("the network is gone")
        path = into / part.file_name
        shutil.copyfile(self.jars / part.file_name, path)
        if part.file_name == self.lies_about:
            with path.open("r+b") as file:
                file.write(b"broken")
        return path


def test_the_lock_file_pins_46_jars_by_hash() -> None:
    pinned = parts.pinned()
    assert len(pinned) == 46
    assert (
        Part(
            "org.apache.kafka",
            "kafka_2.13",
            "4.3.1",
            "b098abef5ff878e76f60cd6c559b9baa5663ccb1b55f2837558b22c329d32423",
        )
        in pinned
    )


@pytest.mark.parametrize("line", ["a:b:1", "a:b sha256:" + "0" * 64, "a:b:1 sha256:123"])
def test_a_wrong_line_of_the_lock_file_is_named(line: str) -> None:
    with pytest.raises(ValueError, match="line 2"):
        parts.read_lock(f"a:b:1 sha256:{'0' * 64}\n{line}\n")


def test_an_interrupted_fetch_goes_on_where_it_was(tmp_path: Path, installed: Path) -> None:
    source, said = Source(installed), []
    source.fails_after = 10
    with pytest.raises(PartsError, match="run the same command again when the network is back"):
        parts.fetch(tmp_path, said.append, source)
    assert len(list((tmp_path / "jars").iterdir())) == 10
    again = Source(installed)
    parts.fetch(tmp_path, said.append, again)
    assert len(again.asked) == 36
    assert any("jar 46 of 46" in line and "bytes" in line for line in said)
    assert parts.ready_jars(tmp_path).class_path.count(":") == 45
    parts.fetch(tmp_path, said.append, third := Source(installed))
    assert third.asked == []


def test_a_proxy_that_is_not_trusted_is_told_from_a_network_that_is_away(tmp_path: Path) -> None:
    def refused(_part: Part, _into: Path) -> Path:
        raise ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate in chain")

    with pytest.raises(PartsError, match="run the same command again when REQUESTS_CA_BUNDLE names"):
        parts.fetch(tmp_path, lambda _: None, refused)


def test_a_full_disk_is_not_taken_for_a_broken_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Part] = []

    def full(part: Part, into: Path) -> Path:
        asked.append(part)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(into / part.file_name))

    monkeypatch.setenv("STREAMFORGE_PARTS", str(tmp_path))
    monkeypatch.setattr(parts.fetch, "__defaults__", (full,))
    assert prepare.main() == 1
    assert len(asked) == 1
    said = capsys.readouterr().err
    assert "No space left on device" in said
    assert "make room there, or name another folder in STREAMFORGE_PARTS" in said


def test_a_changed_download_is_refused_and_never_takes_its_place(tmp_path: Path, installed: Path) -> None:
    source = Source(installed)
    source.lies_about = parts.pinned()[0].file_name
    with pytest.raises(PartsError, match=r"lz4-java.* could not be fetched in 3 tries .*SHA-256"):
        parts.fetch(tmp_path, lambda _: None, source)
    assert not (tmp_path / "jars").exists()


def test_a_jar_that_changed_on_the_disk_is_found_without_hashing_the_others(
    tmp_path: Path, installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts.fetch(tmp_path, lambda _: None, Source(installed))
    victim = tmp_path / "jars" / parts.pinned()[5].file_name
    with victim.open("r+b") as file:
        file.seek(100)
        file.write(b"\0\1\2\3")
    os.utime(victim, ns=(1, 1))
    hashed: list[Path] = []
    real = parts.sha256_of
    monkeypatch.setattr(parts, "sha256_of", lambda path: (hashed.append(path), real(path))[1])
    with pytest.raises(PartsError, match=rf"1 of Kafka's 46 jars .*{victim.name}.* python -m stream.prepare"):
        parts.ready_jars(tmp_path)
    assert hashed == [victim]


def test_a_file_nobody_pinned_is_not_loaded(tmp_path: Path, installed: Path) -> None:
    parts.fetch(tmp_path, lambda _: None, Source(installed))
    (tmp_path / "jars" / "aaa.jar").write_bytes(b"evil")
    assert "aaa.jar" not in Jars(tmp_path).class_path
