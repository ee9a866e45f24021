"""Which Java is taken, and what is said of one that does not fit. The fake ones are scripts that print as the real ones do."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream.broker import aot as broker_aot
from stream.broker import java as broker_java
from stream.parts import PartsError, ready_jars


@pytest.mark.parametrize(
    ("printed", "feature"),
    [
        ('openjdk version "25.0.2" 2026-01-20 LTS', 25),
        ('openjdk version "17.0.9" 2023-10-17', 17),
        ('java version "1.8.0_392"', 8),
        ('openjdk version "21-ea" 2023-09-19', 21),
        ("segmentation fault", None),
    ],
)
def test_the_feature_version_is_read_from_what_java_prints(printed: str, feature: int | None) -> None:
    assert broker_java.feature_of(printed) == feature


def fake_java(path: Path, script: str) -> str:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo 'openjdk version \"11.0.21\" 2023-10-17' >&2", r"is Java 11; Kafka needs 17 or newer"),
        ("echo hello", r"is no Java: it printed 'hello'"),
        ("exit 3", r"is no Java"),
    ],
)
def test_a_java_that_does_not_fit_is_refused_with_what_helps(tmp_path: Path, script: str, message: str) -> None:
    with pytest.raises(PartsError, match=message) as refused:
        broker_java.find(fake_java(tmp_path / "java", script))
    assert "stream.java" in str(refused.value)
    assert "name a Java 17 or newer" in str(refused.value)


def test_a_java_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PartsError, match=r"/nowhere/java, does not run"):
        broker_java.find("/nowhere/java")


def test_the_java_that_came_along_fits() -> None:
    assert broker_java.find(None).feature >= 25


def test_an_old_java_gets_no_cache_and_training_says_why(tmp_path: Path) -> None:
    java = broker_java.find(fake_java(tmp_path / "java", "echo 'openjdk version \"17.0.9\"' >&2"))
    said: list[str] = []
    assert broker_aot.train(java, ready_jars(), tmp_path, said.append) is False
    assert "Java 17 cannot make one" in said[0]
    assert broker_aot.usable(java, ready_jars(), tmp_path) == []


def test_training_that_fails_leaves_no_cache_and_no_error(tmp_path: Path) -> None:
    java = broker_java.find(fake_java(tmp_path / "java", "echo 'openjdk version \"25.0.2\"' >&2; exit $(($# > 1))"))
    said: list[str] = []
    assert broker_aot.train(java, ready_jars(), tmp_path, said.append) is False
    assert "The broker starts without it" in said[-1]
    assert list(tmp_path.glob("*.aot*")) == []
