"""What the documentation shows is what the code does."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from schemas import VERSION
from streamforge.cli import app
from streamforge.config_file import load_text
from streamforge.plan import plan
from supervisors.spec import lines

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def block(text: str, kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL)


def test_the_configuration_of_the_readme_is_good():
    (sample,) = block(README, "yaml")
    assert load_text(sample).gateway.gateway.id == "press-shop-1"


def test_the_tree_of_the_architecture_is_the_tree_of_the_readmes_configuration():
    """On a difference, copy what the assertion shows into docs/architecture.md and read what changed."""
    (sample,) = block(README, "yaml")
    shown = next(
        b for b in block((ROOT / "docs" / "architecture.md").read_text(), "text") if b.startswith("streamforge ")
    )
    assert shown.splitlines() == lines(plan(load_text(sample), Path("data")))


@pytest.mark.parametrize("name", re.findall(r"\]\((?!http)([^)#]+)\)", README))
def test_every_link_of_the_readme_leads_somewhere(name):
    assert (ROOT / name).exists()


def test_the_version_is_said_once():
    assert f'version = "{VERSION}"' in (ROOT / "pyproject.toml").read_text()


COMMANDS = ["check", "run", "demo", "status", "tree", "tail", "restart", "version"]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_a_screen_and_shows_an_example(command):
    told = CliRunner().invoke(app, [command, "--help"])
    assert told.exit_code == 0
    assert "Example: streamforge" in told.output
    assert len(told.output.splitlines()) <= 30


def test_every_command_is_known_here():
    assert sorted(c.callback.__name__ for c in app.registered_commands) == sorted(COMMANDS)


def test_check_says_all_and_gives_exit_code_3(tmp_path):
    (tmp_path / "bad.yaml").write_text("gateway: {}\nstream: {durability: sync}\nadapters: []\n")
    told = CliRunner().invoke(app, ["check", str(tmp_path / "bad.yaml")])
    assert told.exit_code == 3
    assert "bad.yaml:1: gateway.id: is missing" in told.output
    assert "bad.yaml:2: stream.durability" in told.output
    told = CliRunner().invoke(app, ["check", str(tmp_path / "bad.yaml"), "--json"])
    assert told.exit_code == 3
    assert '"path": "stream.durability"' in told.output
