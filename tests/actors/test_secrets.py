"""A secret is found where it should be, and its absence says where it was looked for."""

import subprocess

import pytest

from actors.secrets import NoSecret, names, place, resolve


def test_references_anywhere_in_a_configuration_are_replaced(tmp_path):
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "historian").write_text("from file\n")
    config = {
        "password": "${secret:historian}",
        "deep": [{"key": "${secret:api-key}"}],
        "text": "no ${secret:x} inside",
    }
    resolved = resolve(config, tmp_path, {"STREAMFORGE_SECRET_API_KEY": "from environment"})
    assert resolved == {"password": "from file", "deep": [{"key": "from environment"}], "text": "no ${secret:x} inside"}


def test_the_credentials_of_systemd_come_first(tmp_path):
    for folder, text in (("secrets", "file"), ("credentials", "systemd")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "db").write_text(text)
    assert resolve("${secret:db}", tmp_path, {"CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")}) == "systemd"


def test_a_missing_secret_says_where_it_was_looked_for(tmp_path):
    with pytest.raises(NoSecret, match=r"'db' is nowhere: .*secrets/db.* STREAMFORGE_SECRET_DB is not set") as missing:
        resolve("${secret:db}", tmp_path, {})
    assert f"install -D -m 600 /dev/stdin {tmp_path}/secrets/db" in missing.value.next_step


@pytest.mark.parametrize(("content", "words"), [(b"\n", "is empty"), (b"\xff\xfe", "is not UTF-8 text")])
def test_a_secret_without_content_is_missing_too(tmp_path, content, words):
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "db").write_bytes(content)
    with pytest.raises(NoSecret, match=words) as missing:
        resolve("${secret:db}", tmp_path, {})
    assert "install -D" in missing.value.next_step


def test_the_advice_for_a_missing_secret_is_a_command_that_works(tmp_path):
    with pytest.raises(NoSecret) as missing:
        resolve("${secret:db}", tmp_path, {})
    command = missing.value.next_step.partition(": ")[2].partition(" (")[0]
    subprocess.run(command.split(), input=b"s3cret\n", check=True, timeout=10)
    assert resolve("${secret:db}", tmp_path, {}) == "s3cret"
    assert (tmp_path / "secrets" / "db").stat().st_mode & 0o777 == 0o600


def test_what_editors_put_around_a_secret_is_no_part_of_it(tmp_path):
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "db").write_bytes(b"\xef\xbb\xbfs3cret \r\n")
    assert resolve("${secret:db}", tmp_path, {}) == "s3cret "


def test_where_a_secret_was_read_is_told_with_what_a_change_there_needs(tmp_path):
    given = {"STREAMFORGE_SECRET_DB": "x"}
    assert "which a running gateway does not see change" in place("db", tmp_path, given)
    assert f"{tmp_path}/secrets/db, if made, goes before it" in place("db", tmp_path, given)
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "db").write_text("file")
    assert place("db", tmp_path, given) == f"{tmp_path}/secrets/db"
    (tmp_path / "credentials").mkdir()
    given |= {"CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")}
    assert place("db", tmp_path, given) == f"{tmp_path}/secrets/db"
    (tmp_path / "credentials" / "db").write_text("systemd")
    assert "until the whole gateway is started anew" in place("db", tmp_path, given)


def test_the_secrets_of_a_configuration_are_found_wherever_they_stand():
    assert names({"a": "${secret:x}", "b": [{"c": "${secret:y}"}, 7, None], "d": "none"}) == {"x", "y"}
