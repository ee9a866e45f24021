"""When the process of a child counts as gone."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest

from supervisors import processes
from supervisors.processes import Processes
from supervisors.spec import Strategy, supervisor


@pytest.fixture
def gone(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A branch whose process was killed, and the seconds at which it asks to be looked at again."""
    handle = SimpleNamespace(pid=1, exitcode=-9, is_alive=lambda: False)
    again: list[float] = []
    actor = SimpleNamespace(
        fork=lambda _actor: ("address", handle),
        send=lambda *_: None,
        wake=lambda after_s, _payload: again.append(after_s),
    )
    found = Processes(actor)  # type: ignore[arg-type]
    monkeypatch.setattr(processes, "load", lambda _child: None)
    found.launch("line", supervisor("line", Strategy.ONE), 3)
    return found, again


def test_a_killed_supervisor_is_gone_only_with_the_processes_below_it(gone: Any) -> None:
    """Its successor would else start beside them: two processes of one worker."""
    found, again = gone
    assert found.ended(below=lambda _: [os.getpid()]) == []
    assert found.has("line", 3)
    assert again == [processes.LOOK_AGAIN_S]
    (end,) = found.ended(below=lambda _: [])
    assert (end.name, end.incarnation, end.how, end.clean) == ("line", 3, "killed by SIGKILL", False)
    assert not found.has("line")


def test_what_does_not_vanish_is_not_waited_for_for_ever(gone: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found, _ = gone
    monkeypatch.setattr(processes, "LEFTOVERS_S", 0.0)
    assert [end.name for end in found.ended(below=lambda _: [os.getpid()])] == ["line"]
