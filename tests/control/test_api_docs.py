"""docs/api.md lists the routes, problems and bounds there are, no more and no fewer."""

import re
from pathlib import Path

from control import gate, http_protocol, state, tail, values
from control.problems import Kind
from control.routes import ROUTES

TEXT = (Path(__file__).parents[2] / "docs" / "api.md").read_text()


def rows(title):
    section = TEXT.partition(f"## {title}\n")[2].partition("\n## ")[0]
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line.startswith("| ")
    ][2:]


def test_the_routes_are_listed_with_their_methods():
    listed = {
        (row[0], row[1].strip("`")) for row in rows("Routes") if row[1].startswith("`/") and "files" not in row[1]
    }
    there = {(m, re.sub(r":\w+}", "}", r.path)) for r in ROUTES for m in r.methods - {"HEAD"}}
    assert listed == there


def test_only_the_socket_acts():
    assert {row[4] for row in rows("Routes") if row[0] == "GET"} == {"both"}
    assert {row[4] for row in rows("Routes") if row[0] != "GET"} == {"socket"}


def test_the_kinds_of_problems_are_listed_with_their_codes():
    listed = [(row[0].strip("`"), int(row[1]), int(row[2])) for row in rows("Errors")]
    assert listed == [(kind.code, kind.status, kind.exit_code) for kind in Kind]


def test_the_bounds_are_those_of_the_code():
    bounds = TEXT.partition("## Bounds\n")[2].partition("\n## ")[0]
    for figure in (
        f"{state.PAGES_MAX} readers", f"{state.TAILS_MAX} of `tail`", f"{gate.REQUESTS_MAX} requests", f"{http_protocol.CONNECTIONS_MAX} connections",
        f"{values.POINTS_MAX:,} points", f"{tail.PAST_BYTES_MAX // 2**20} MiB", f"for {http_protocol.BoundedProtocol.unread_within_s:.0f} s",
        f"{http_protocol.PatientProtocol.unread_within_s / 60:.0f} minutes", f"within {http_protocol.HEAD_WITHIN_S:.0f} s",
    ):  # fmt: skip
        assert figure in bounds
    assert f"0 to {tail.LAST_MAX} " in TEXT
