"""`streamforge`: the command line. Each command is a few lines over the local API or the checked file; heavy parts load when used."""

from __future__ import annotations

import errno
import json
import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from actors.surroundings import DATA, HOME
from streamforge.terminal import console, finish, nobody_reads, prepare

if TYPE_CHECKING:
    from streamforge.config_file import Checked
    from streamforge.config_problems import Problem as ConfigProblem

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="StreamForge: reads machines, writes every reading to a local Kafka, checks and aggregates it exactly once, and delivers it.",
    epilog="Example: streamforge check gateway.yaml && streamforge run gateway.yaml. "
    "Exit codes: 0 good, 1 not well or a fault of ours, 2 usage, 3 the file has mistakes, 4 no gateway answers, 5 not allowed, "
    "6 not there or not now, 8 too late; more in docs/cli.md.",
    rich_markup_mode=None,
)

DataDir = Annotated[Path, typer.Option("--data", envvar=DATA, help="The gateway's data directory.", show_default=True)]
AsJson = Annotated[bool, typer.Option("--json", help="JSON for programs.")]
DEFAULT_DATA = HOME if HOME.is_dir() else Path("var/data")
INVALID, INTERRUPTED = 3, 130
DEMO_PAGE = 8080


def main() -> None:
    """Run a command; a Problem becomes one sentence and its exit code (docs/cli.md)."""
    from control.problems import Problem

    prepare()
    try:
        app(prog_name="streamforge")
    except Problem as problem:
        print(f"streamforge: {problem.detail}", file=sys.stderr)
        finish(getattr(problem, "exit_code", problem.kind.exit_code))
    except KeyboardInterrupt:
        finish(INTERRUPTED)
    except (SystemExit, BrokenPipeError) as end:
        code = end.code if isinstance(end, SystemExit) and isinstance(end.code, int) else 0
        finish(0 if nobody_reads(end) else code)


def judged(file: Path, data: Path) -> tuple[Checked | None, list[ConfigProblem]]:
    """The file if it has no mistakes, and all there is to say about it: mistakes and warnings."""
    from streamforge.config_file import load
    from streamforge.config_here import lacking, secrets_lacking
    from streamforge.config_problems import Invalid

    try:
        good = load(file)
    except Invalid as invalid:
        here = [] if invalid.source is None else secrets_lacking(invalid.source, data)
        return None, sorted([*invalid.problems, *here], key=lambda problem: problem.line or 0)
    told = [*good.warnings, *lacking(good, data)]
    return None if any(p.severity == "error" for p in told) else good, told


def checked(file: Path, data: Path, consequence: str) -> Checked:
    """The file, its warnings told; or all its mistakes, what follows from them, and exit code 3."""
    good, told = judged(file, data)
    for problem in told:
        print(problem, file=sys.stderr)
    if good is None:
        n = sum(problem.severity == "error" for problem in told)
        print(f"{file}: {n} mistake{'s' if n > 1 else ''}{consequence}", file=sys.stderr)
        raise typer.Exit(INVALID)
    return good


@app.command(
    epilog="Example: streamforge check gateway.yaml. Exit code 0: good, though perhaps with warnings; 3: mistakes."
)
def check(file: Path, data: DataDir = DEFAULT_DATA, as_json: AsJson = False) -> None:
    """Check a gateway file: every mistake at once, with line, what was given and what would be right.

    Warnings tell what is missing on this machine only: secrets and certificates below the data directory.
    """
    if not as_json:
        good = checked(file, data, " to correct")
        print(f"{file}: good (version {good.version}; adapters: {len(good.adapters)}, sinks: {len(good.sinks)})")
        return
    found, told = judged(file, data)
    problems = [problem.as_json() for problem in told]
    print(json.dumps({"ok": found is not None, "version": found and found.version, "problems": problems}))
    if found is None:
        raise typer.Exit(INVALID)


@app.command(epilog="Example: streamforge run /etc/streamforge/gateway.yaml --data /var/lib/streamforge")
def run(file: Path, data: DataDir = DEFAULT_DATA) -> None:
    """Run the gateway of a file until SIGTERM or Ctrl-C; this is what systemd starts."""
    good = checked(file, data, "; the gateway was not started")
    from control.problems import Kind, Problem
    from streamforge.daemon import run_daemon
    from streamforge.lock import AlreadyRunning, take
    from streamforge.plan import plan

    try:
        os.close(take(data))  # a predecessor that was killed has then let go of its ports, too
    except AlreadyRunning as running:
        raise Problem(Kind.CONFLICT, str(running)) from None
    except OSError as error:
        raise Problem(Kind.USAGE, cannot_be_data(data, error)) from None
    ports_free(good)
    os.environ[DATA] = str(data.resolve())  # for every process of the gateway: what it tells people to type names it
    raise typer.Exit(run_daemon(plan(good, data.resolve()), data.resolve(), gateway_id=good.gateway.gateway.id))


def cannot_be_data(data: Path, error: OSError) -> str:
    """What is wrong with a data directory in which not even the lock can be made, and what would be right."""
    from getpass import getuser
    from shlex import quote

    why, step = error.strerror, "name another with --data"
    if isinstance(error, FileExistsError):
        why = "there is a file of that name"
    elif error.errno == errno.ENOSPC:
        why, step = "its disk is full", "free some space there, or name another with --data"
    elif isinstance(error, PermissionError):
        own = f"chown -R {getuser()} {quote(str(data))}"
        step = f"let this user write there (as root: {own}), or start the gateway as the user it belongs to"
    return f"{data} cannot be the data directory: {why}; {step}"


def ports_free(good: Checked) -> None:
    """Before anything starts: the broker's ports must be ours to take. Raises Problem."""
    from control.problems import Kind, Problem
    from streamforge.system import is_free

    stream = good.gateway.stream
    for port in () if stream.bootstrap else (stream.port, stream.port + 1):
        if not is_free(port):
            text = f"port {port} of the local stream is in use by another program (a gateway that runs already?); set another stream.port"
            raise Problem(Kind.CONFLICT, text)


def page_port(given: int | None) -> int:
    """Where the demo's page goes. Raises Problem when a port that was asked for is taken."""
    from control.problems import Kind, Problem
    from streamforge.system import is_free

    if given is None:
        return DEMO_PAGE if is_free(DEMO_PAGE) else 0
    if given and not is_free(given):
        text = f"port {given} for the page is in use by another program; name another with --page, or --page 0 for a free one"
        raise Problem(Kind.CONFLICT, text)
    return given


def a_time(seconds: float | None) -> float | None:
    """Checks --seconds."""
    if seconds is not None and not (math.isfinite(seconds) and seconds >= 1):
        raise typer.BadParameter(f"{seconds:g} is not a number of seconds to run; right would be 1 or more, as 60")
    return seconds


@app.command(epilog="Example: streamforge demo --seconds 60 --json")
def demo(
    seconds: Annotated[float | None, typer.Option(help="End by itself after so long.", callback=a_time)] = None,
    as_json: AsJson = False,
    chaos: Annotated[bool, typer.Option("--chaos", help="Kill one random component every 5 s.")] = False,
    data: Annotated[Path, typer.Option("--data", help="Where the demo keeps its stream and database.")] = Path(
        "var/demo"
    ),
    page: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port of the page; 0 for a free one. [default: 8080 if it is free]"),
    ] = None,
    lazy: Annotated[bool, typer.Option("--lazy", help="Durability lazy instead of synced.")] = False,
) -> None:
    """A small plant of real servers, the whole gateway, a real PostgreSQL and the page."""
    from streamforge.demo.run import run_demo

    port = page_port(page)
    raise typer.Exit(run_demo(data, seconds, as_json, chaos, port, "lazy" if lazy else "synced", main))


@app.command(epilog="Example: streamforge status --json")
def status(data: DataDir = DEFAULT_DATA, as_json: AsJson = False) -> None:
    """What flows, how late, what is wrong and what to do. Exit code 0 while HEALTHY or DEGRADED, else 1."""
    from streamforge.client import Gateway
    from streamforge.lock import holder
    from streamforge.tables import show_status

    with Gateway(data) as gateway:
        health, flow = gateway.get("/health"), gateway.get("/api/v1/flow")
    pid = holder(data)
    if as_json:
        print(json.dumps({**health, "pid": pid, "flow": flow}))
    else:
        show_status(console(), health, flow, pid)
    raise typer.Exit(0 if health["status"] in ("HEALTHY", "DEGRADED") else 1)


@app.command(epilog="Example: streamforge tree")
def tree(data: DataDir = DEFAULT_DATA, as_json: AsJson = False) -> None:
    """The supervision tree: who runs, since when, how often restarted and why."""
    from streamforge.client import Gateway
    from streamforge.tables import show_tree

    with Gateway(data) as gateway:
        report = gateway.get("/api/v1/tree")
    print(json.dumps(report)) if as_json else show_tree(console(), report)


@app.command(epilog="Example: streamforge tail telemetry.clean --last 5")
def tail(
    topic: str,
    data: DataDir = DEFAULT_DATA,
    last: Annotated[int, typer.Option(min=0, max=10_000, help="Start with so many of each partition.")] = 10,
    follow: Annotated[bool, typer.Option(help="Go on with what comes.")] = True,
    as_json: AsJson = False,
) -> None:
    """Show a topic's records, the newest first ones and then what comes."""
    from urllib.parse import quote

    from control.problems import Kind, Problem
    from streamforge.client import Gateway
    from streamforge.tables import show_record

    out = console()
    with Gateway(data) as gateway:
        for record in gateway.lines(
            f"/api/v1/topics/{quote(topic, safe='')}/tail?last={last}&follow={str(follow).lower()}"
        ):
            if "error" in record:
                raise Problem(Kind.UNREACHABLE, record["error"])
            print(json.dumps(record), flush=True) if as_json else show_record(out, record)


@app.command(epilog="Example: streamforge restart press_4")
def restart(component: str, data: DataDir = DEFAULT_DATA, as_json: AsJson = False) -> None:
    """Stop one component or branch in order and start it again; also releases one that is FAILED."""
    from urllib.parse import quote

    from streamforge.client import Gateway

    with Gateway(data) as gateway:
        answer: dict[str, Any] = gateway.post(f"/api/v1/components/{quote(component)}/restart")
    done = "is being restarted" if answer.get("state") == "restarting" else "is restarted"
    print(json.dumps(answer) if as_json else f"{answer['component']} {done}")


@app.command(epilog="Example: streamforge version")
def version(as_json: AsJson = False) -> None:
    """Versions of the gateway and of what it stands on."""
    from importlib.metadata import version as installed
    from platform import python_version

    from schemas import VERSION

    parts = ("thespian", "aiokafka", "pymodbus", "asyncua", "paho-mqtt", "psycopg2-binary")
    told = {"streamforge": VERSION, "python": python_version(), "kafka": "4.3.1", **{p: installed(p) for p in parts}}
    if as_json:
        print(json.dumps(told))
    else:
        print("\n".join(f"{name:<16} {number}" for name, number in told.items()))
