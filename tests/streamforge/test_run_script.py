"""`./run`, in a checkout of its own with a stand-in for the environment's Python: what it says when something is missing, and that it goes on."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOBODY = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}

PYTHON = """#!/bin/sh
case "$*" in
  *"pip install"*) cat "$0.pip" >&2; [ ! -s "$0.pip" ] ;;
  *"streamforge demo"*) echo "demo: $*" ;;
  *"streamforge status"*) echo "called as: $STREAMFORGE_COMMAND" ;;
esac
"""


class Checkout:
    def __init__(self, directory):
        self.directory = directory
        for name in ("run", "requirements", "stream/kafka.lock"):
            target = directory / name
            target.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, target)
        self.programs = directory.parent / "programs"
        self.programs.mkdir()
        (directory / "var" / "parts").mkdir(parents=True)
        for path in (directory.parent, *directory.parent.rglob("*")):
            path.chmod(0o755)
            if NOBODY:
                os.chown(path, NOBODY["user"], NOBODY["group"])

    def program(self, path, text):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
        if NOBODY:
            os.chown(path, NOBODY["user"], NOBODY["group"])
            os.chown(path.parent, NOBODY["user"], NOBODY["group"])

    def environment(self, pip_says=""):
        """A .venv that does what it is asked; pip fails when it has something to say."""
        python = self.directory / ".venv" / "bin" / "python"
        self.program(python, PYTHON)
        self.program(Path(f"{python}.pip"), pip_says)
        self.program(self.directory / ".venv" / "pyvenv.cfg", f"command = python3 -m venv {self.directory}/.venv\n")

    def __call__(self, *words, **variables):
        settings = {"PATH": f"{self.programs}:/usr/bin:/bin", **variables}
        return subprocess.run(
            [self.directory / "run", *words],
            env=settings,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd="/",
            **NOBODY,
        )


@pytest.fixture
def checkout():
    with tempfile.TemporaryDirectory(prefix="sf-run-") as directory:
        yield Checkout(Path(directory) / "Straße 7")


def test_alone_it_explains_itself_in_ten_lines(checkout):
    told = checkout()
    assert (told.returncode, len(told.stdout.splitlines())) == (0, 10)
    unknown = checkout("dmeo")
    assert unknown.returncode == 1
    assert "there is no 'dmeo'" in unknown.stderr


def test_what_is_there_is_not_fetched_again_and_may_be_read_only(checkout):
    checkout.environment()
    first = checkout("demo", "--seconds", "5")
    assert "Fetching Python packages (gateway)" in first.stderr
    assert "streamforge demo --seconds 5" in first.stdout
    for path in (checkout.directory, checkout.directory / "var", checkout.directory / ".venv"):
        path.chmod(0o555)
    second = checkout("demo")
    for path in (checkout.directory, checkout.directory / "var", checkout.directory / ".venv"):
        path.chmod(0o755)
    assert (second.returncode, second.stderr) == (0, "")


def test_the_gateway_knows_how_it_is_called_from_any_folder(checkout):
    checkout.environment()
    path = str(checkout.directory / "run").replace(" ", "\\ ")
    assert checkout("--", "streamforge", "status").stdout == f"called as: {path} -- streamforge\n"
    unit = checkout("--", "streamforge", "status", STREAMFORGE_COMMAND="sudo -u sf streamforge")
    assert unit.stdout == "called as: sudo -u sf streamforge\n"


def test_a_checkout_of_someone_else_is_named_with_what_helps(checkout):
    checkout.directory.chmod(0o555)
    told = checkout("demo")
    checkout.directory.chmod(0o755)
    assert told.returncode == 1
    assert f"{checkout.directory} cannot be written by" in told.stderr
    assert "a clone of your own" in told.stderr


def test_a_python_without_venv_is_named_with_the_one_command(checkout):
    checkout.program(
        checkout.programs / "python3", '#!/bin/sh\ncase "$2" in *ensurepip*) exit 1 ;; esac\necho "Python 3.12.1"\n'
    )
    for other in ("python3.11", "python3.12", "python3.13"):
        checkout.program(checkout.programs / other, "#!/bin/sh\nexit 1\n")
    told = checkout("demo")
    assert told.returncode == 1
    assert "sudo apt-get install python3-venv" in told.stderr


def test_a_python_that_can_make_environments_is_preferred(checkout):
    bare = '#!/bin/sh\ncase "$2" in *ensurepip*) exit 1 ;; esac\n'
    checkout.program(checkout.programs / "python3", bare)
    checkout.program(checkout.programs / "python3.11", "#!/bin/sh\nexit 1\n")
    checkout.program(
        checkout.programs / "python3.12", '#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.12.9"\nexit 0\n'
    )
    told = checkout("demo")
    assert f"Making the environment in .venv with Python 3.12.9 ({checkout.programs}/python3.12)" in told.stderr


def test_no_python_at_all_is_named_with_the_one_command(checkout):
    for name in ("python3", "python3.11", "python3.12", "python3.13"):
        checkout.program(checkout.programs / name, "#!/bin/sh\necho Python 3.9.2\nexit 1\n")
    told = checkout("demo")
    assert told.returncode == 1
    assert "needs Python 3.11, 3.12 or 3.13; found: Python 3.9.2" in told.stderr
    assert "sudo apt-get install python3 python3-venv" in told.stderr


def test_a_named_python_that_does_not_fit_is_refused(checkout):
    told = checkout("demo", STREAMFORGE_PYTHON="/bin/false")
    assert told.returncode == 1
    assert "STREAMFORGE_PYTHON=/bin/false is no Python 3.11, 3.12 or 3.13" in told.stderr


@pytest.mark.parametrize(
    ("pip", "says", "tries"),
    [
        (
            "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
            "The disk is full",
            0,
        ),
        (
            "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.\n    numpy",
            "not the one that was pinned",
            0,
        ),
        (
            "WARNING: Retrying after NewConnectionError('<pip 0x7f>: Failed to establish a new connection: [Errno -3] name resolution'): /simple/x/\nERROR: No matching distribution found",
            "try 3 of 3 failed: Failed to establish a new connection: [Errno -3] name resolution\n",
            3,
        ),
    ],
)
def test_a_failed_fetch_says_its_cause_and_what_to_do(checkout, pip, says, tries):
    checkout.environment(pip_says=pip)
    told = checkout("demo")
    assert told.returncode == 1
    assert says in told.stderr
    assert told.stderr.count("of 3 failed") == tries
    assert tries == 0 or "run the same command again when the network is back" in told.stderr
    assert not (checkout.directory / ".venv" / "stamp-gateway").exists()


def test_a_nearly_full_disk_is_said_before_anything_is_fetched(checkout):
    checkout.program(checkout.programs / "df", "#!/bin/sh\nprintf 'head\\n/dev/x 1 1 150 99%% /\\n'\n")
    told = checkout("demo")
    assert told.returncode == 1
    assert "150 MB are free" in told.stderr


def test_a_folder_with_a_colon_is_refused():
    with tempfile.TemporaryDirectory(prefix="sf-run-") as directory:
        told = Checkout(Path(directory) / "a:b")("demo")
    assert told.returncode == 1
    assert "has a ':' in its name" in told.stderr


def test_a_command_runs_where_the_caller_stands(checkout):
    checkout.environment()
    assert checkout("--", "pwd").stdout == "/\n"
    assert "a command is missing" in checkout("--").stderr
