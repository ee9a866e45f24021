"""A line about an exception says in one sentence what happened, and keeps the whole traceback, whoever logged it."""

import json
import subprocess
import sys
import traceback

import pytest

from actors.secrets import NoSecret
from actors.traces import last_words, plain

LOGGING = """
import logging, traceback
from actors import logs

def crash():
    raise KeyError("unit")

logs.configure()
try:
    crash()
except KeyError:
    logging.getLogger("uvicorn.error").exception("Exception in ASGI application")
    logs.get().error("crashed", trace=traceback.format_exc())
    logs.get().exception("failed")
logs.get().warning("killing a child", reason="hung")
logs.get().info("broker is listening", port=9092)
"""


def test_whoever_logs_an_exception_its_traceback_is_kept_and_its_reason_named():
    done = subprocess.run([sys.executable, "-c", LOGGING], capture_output=True, text=True, check=True)
    *failures, killing, listening = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["message"] for line in failures] == ["Exception in ASGI application", "crashed", "failed"]
    for line in failures:
        assert line["reason"] == "KeyError: 'unit'"
        assert "in crash\n" in (line.get("exception") or line["trace"])
        assert "exc_info" not in line
    assert killing["reason"] == "hung"
    assert "reason" not in listening


def test_last_words_of_a_group_are_those_of_what_failed_in_it():
    def failed():
        raise ExceptionGroup("unhandled errors in a TaskGroup", [OSError(28, "No space left on device")])

    with pytest.raises(ExceptionGroup) as caught:
        failed()
    text = "".join(traceback.format_exception(caught.value))
    assert last_words(text) == "OSError: [Errno 28] No space left on device"


def test_last_words_of_a_message_of_many_lines_are_its_first():
    def failed():
        raise ValueError("no such point\n  40101: timed out")

    with pytest.raises(ValueError) as caught:
        failed()
    assert last_words("".join(traceback.format_exception(caught.value))) == "ValueError: no such point"


def test_our_own_class_names_are_left_out():
    try:
        raise NoSecret("the secret 'plc' is nowhere")
    except NoSecret:
        assert last_words(traceback.format_exc()) == "the secret 'plc' is nowhere"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("asyncua.ua.uaerrors._auto.BadUserAccessDenied: no", "BadUserAccessDenied: no"),
        ("ended 3 times, the last time: actors.sink.Lost: disk full", "ended 3 times, the last time: disk full"),
        ("db.plant.example:5432 refused", "db.plant.example:5432 refused"),
        ("", ""),
    ],
)
def test_sentences_stay_as_they_are_but_for_class_names(given, shown):
    assert plain(given) == shown
    assert last_words(given) == shown
