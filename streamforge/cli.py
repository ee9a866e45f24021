"""`streamforge`: the command line. Each command is a few lines over the local API or the checked file; heavy parts load when used."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from streamforge.config_file import Checked

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="StreamForge: reads machines, writes every reading to a local Kafka, checks and aggregates it exactly once, and delivers it.",
    epilog="Example: streamforge check gateway.yaml && streamforge run gateway.yaml",
    rich_markup_mode=None,
)

DataDir = Annotated[
    Path, typer.Option("--data", envvar="STREAMFORGE_DATA", help="The gateway's data directory.", show_default=True)
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON for programs.")]
DEFAULT_DATA = Path("/var/lib/streamforge") if Path("/var/lib/streamforge").is_dir() else Path("var/data")
INVALID, INTERRUPTED = 3, 130


def console() -> Console:
    from rich.console import Console

    return Console(soft_wrap=not sys.stdout.isatty(), highlight=False)


def main() -> None:
    """Run a command; a Problem becomes one sentence and its exit code."""
    from control.problems import Problem

    try:
        app(prog_name="streamforge")
    except Problem as problem:
        print(f"streamforge: {problem.detail}", file=sys.stderr)
        sys.exit(getattr(problem, "exit_code", problem.kind.exit_code))
    except BrokenPipeError:
        os._exit(0)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def checked(file: Path) -> Checked:
    """The file, or all its mistakes and exit code 3."""
    from streamforge.config_file import Invalid, load

    try:
        return load(file)
    except Invalid as invalid:
        for problem in invalid.problems:
            print(problem, file=sys.stderr)
        n = len(invalid.problems)
        print(f"{file}: {n} mistake{'s' if n > 1 else ''}; nothing was started", file=sys.stderr)
        raise typer.Exit(INVALID) from None


@app.command(epilog="Example: streamforge check gateway.yaml")
def check(file: Path, as_json: AsJson = False) -> None:
    """Check a gateway file: every mistake at once, with line, what was given and what would be right."""
    from streamforge.config_file import Invalid, load

    if not as_json:
        good = checked(file)
        print(f"{file}: good (version {good.version}; adapters: {len(good.adapters)}, sinks: {len(good.sinks)})")
        return
    try:
        print(json.dumps({"ok": True, "version": load(file).version, "problems": []}))
    except Invalid as invalid:
        problems = [{"line": p.line, "path": p.path, "message": p.message} for p in invalid.problems]
        print(json.dumps({"ok": False, "version": None, "problems": problems}))
        raise typer.Exit(INVALID) from None


@app.command(epilog="Example: streamforge run /etc/streamforge/gateway.yaml --data /var/lib/streamforge")
def run(file: Path, data: DataDir = DEFAULT_DATA) -> None:
    """Run the gateway of a file until SIGTERM or Ctrl-C; this is what systemd starts."""
    good = checked(file)
    from control.problems import Kind, Problem
    from streamforge.daemon import run_daemon
    from streamforge.lock import AlreadyRunning, take
    from streamforge.plan import plan

    try:
        data.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Problem(
            Kind.USAGE, f"{data} cannot be the data directory: {error.strerror}; name another with --data"
        ) from None
    try:
        os.close(take(data))  # a predecessor that was killed has then let go of its ports, too
    except AlreadyRunning as running:
        raise Problem(Kind.CONFLICT, str(running)) from None
    ports_free(good)
    raise typer.Exit(run_daemon(plan(good, data.resolve()), data.resolve(), gateway_id=good.gateway.gateway.id))


def ports_free(good: Checked) -> None:
    """Before anything starts: the broker's ports must be ours to take. Raises Problem."""
    from control.problems import Kind, Problem
    from streamforge.system import is_free

    stream = good.gateway.stream
    for port in () if stream.bootstrap else (stream.port, stream.port + 1):
        if not is_free(port):
            text = f"port {port} of the local stream is in use by another program (a gateway that runs already?); set another stream.port"
            raise Problem(Kind.CONFLICT, text)


@app.command(epilog="Example: streamforge demo --seconds 60 --json")
def demo(
    seconds: Annotated[float | None, typer.Option(help="End by itself after so long.")] = None,
    as_json: AsJson = False,
    chaos: Annotated[bool, typer.Option("--chaos", help="Kill one random component every 5 s.")] = False,
    data: Annotated[Path, typer.Option("--data", help="Where the demo keeps its stream and database.")] = Path(
        "var/demo"
    ),
    page: Annotated[int, typer.Option(help="Port of the page; 0 for a free one.")] = 8080,
    lazy: Annotated[bool, typer.Option("--lazy", help="Durability lazy instead of synced.")] = False,
) -> None:
    """A small plant of real servers, the whole gateway, a real PostgreSQL and the page."""
    from streamforge.demo.run import run_demo

    raise typer.Exit(run_demo(data, seconds, as_json, chaos, page, "lazy" if lazy else "synced"))


@app.command(epilog="Example: streamforge status --json")
def status(data: DataDir = DEFAULT_DATA, as_json: AsJson = False) -> None:
    """What flows, how late, what is wrong and what to do. Exit code 0 while HEALTHY or DEGRADED, else 1."""
    from streamforge.client import Gateway
    from streamforge.tables import show_status

    with Gateway(data) as gateway:
        health, flow = gateway.get("/health"), gateway.get("/api/v1/flow")
    if as_json:
        print(json.dumps({**health, "flow": flow}))
    else:
        show_status(console(), health, flow)
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
    last: Annotated[int, typer.Option(help="Start with so many of each partition.")] = 10,
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
    print(json.dumps(answer) if as_json else f"{answer['component']} is restarted")


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
