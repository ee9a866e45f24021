"""Our own certificate on the disk, and the judgement of a server's: tables, no network."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from protocols.contract import BadConfig
from protocols.opcua import certificates
from protocols.opcua.trust import TrustList, application_uris, judge
from tests.kit.opcua_certificates import NOW, SERVER_URI, authority, key, revocations, server_certificate

DAY = timedelta(days=1)


def test_our_certificate_has_every_usage_servers_ask_for(tmp_path):
    own = certificates.own(tmp_path, "urn:plant:gateway", NOW)
    extensions = own.certificate.extensions
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert usage.content_commitment
    assert usage.key_encipherment
    assert usage.data_encipherment
    assert usage.key_cert_sign
    extended = set(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    assert extended == {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH}
    assert application_uris(own.certificate) == ["urn:plant:gateway"]
    assert extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)
    assert own.certificate.public_key().key_size == 2048
    assert isinstance(own.certificate.signature_hash_algorithm, hashes.SHA256)


def test_it_is_made_once_and_the_key_is_ours_alone(tmp_path):
    first = certificates.own(tmp_path, None, NOW)
    second = certificates.own(tmp_path, None, NOW + DAY)
    assert first.certificate == second.certificate
    assert stat.S_IMODE(first.key_file.stat().st_mode) == 0o600
    assert [f.name for f in sorted((tmp_path / "own").iterdir())] == ["certificate.der", "key.pem"]


def test_adapters_that_start_at_once_share_one(tmp_path):
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: certificates.own(tmp_path, None, NOW), range(4)))
    assert len({own.certificate for own in made}) == 1


def test_a_certificate_for_another_uri_is_not_used(tmp_path):
    certificates.own(tmp_path, "urn:one", NOW)
    with pytest.raises(BadConfig, match=r"urn:two is not in .*certificate\.der, which is for urn:one"):
        certificates.own(tmp_path, "urn:two", NOW)


def test_a_certificate_of_another_key_is_not_used(tmp_path):
    certificates.own(tmp_path, None, NOW)
    server_certificate(private=key(2)).write(tmp_path / "other")
    (tmp_path / "other" / "key.pem").rename(tmp_path / "own" / "key.pem")
    with pytest.raises(BadConfig, match="do not belong together"):
        certificates.own(tmp_path, None, NOW)


def test_a_certificate_without_its_key_is_not_used(tmp_path):
    certificates.own(tmp_path, None, NOW).key_file.unlink()
    with pytest.raises(BadConfig, match=r"key\.pem is missing"):
        certificates.own(tmp_path, None, NOW)


def test_expiry_is_said_a_month_before():
    made = server_certificate(ends=20 * DAY).certificate
    assert certificates.expiry_warning("it", made, NOW - 11 * DAY) is None
    assert "in 9 days" in (certificates.expiry_warning("it", made, NOW + 10.5 * DAY) or "")
    assert "expired on" in (certificates.expiry_warning("it", made, NOW + 21 * DAY) or "")


def test_unreadable_files_in_the_trust_list_are_named_not_fatal(tmp_path):
    certificates.own(tmp_path, None, NOW)
    (tmp_path / "trusted" / "broken.der").write_bytes(b"?")
    (tmp_path / "trusted" / "notes.txt").write_text("not looked at")
    (tmp_path / "trusted" / "good.der").write_bytes(server_certificate().der)
    found = certificates.trust_list(tmp_path)
    assert len(found.certificates) == 1
    assert len(found.unreadable) == 1
    assert "broken.der" in found.unreadable[0]


def verdict_on(made, *trusted, host="127.0.0.1", uri=SERVER_URI, lists=(), shown=(), issuers=()):
    trust = TrustList([t.certificate for t in trusted], list(lists), [i.certificate for i in issuers])
    return judge([made.certificate, *(s.certificate for s in shown)], trust, NOW, host, uri)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"ends": -DAY / 2}, "BadCertificateTimeInvalid"),
        ({"starts": DAY}, "BadCertificateTimeInvalid"),
        ({"private": key(3, 1024)}, "BadCertificatePolicyCheckFailed"),
    ],
    ids=["expired", "not yet valid", "1024 bits"],
)
def test_nothing_excuses(changes, code):
    made = server_certificate(**changes)
    (refusal,) = verdict_on(made, made).refusals
    assert refusal.startswith(f"{code}: ")


@pytest.mark.parametrize(
    ("changes", "asked", "code"),
    [
        ({}, {"host": "10.0.0.9"}, "BadCertificateHostNameInvalid"),
        ({}, {"uri": "urn:someone:else"}, "BadCertificateUriInvalid"),
        ({"encipherment": False}, {}, "BadCertificateUseNotAllowed"),
    ],
    ids=["host", "uri", "usage"],
)
def test_a_misfit_is_a_warning_for_a_listed_certificate_and_a_refusal_through_its_issuer(changes, asked, code):
    alone = server_certificate(**changes)
    listed = verdict_on(alone, alone, **asked)
    assert listed.refusals == []
    assert [w.split(":")[0] for w in listed.warnings] == [code]
    ca = authority()
    issued = server_certificate(issuer=ca, **changes)
    assert [r.split(":")[0] for r in verdict_on(issued, ca, **asked).refusals] == [code]


def test_a_certificate_nobody_vouches_for_is_refused():
    verdict = verdict_on(server_certificate(), server_certificate(private=key(2)))
    assert verdict.unknown
    assert verdict.refusals[0].startswith("BadCertificateUntrusted: ")


def test_one_issued_by_a_listed_authority_is_accepted():
    ca = authority()
    assert verdict_on(server_certificate(issuer=ca), ca).refusals == []


@pytest.mark.parametrize(
    "ca",
    [authority(ends=-DAY / 2), server_certificate(name="Plant CA", private=key(1))],
    ids=["expired", "no authority"],
)
def test_an_authority_must_be_in_force_and_be_one(ca):
    assert verdict_on(server_certificate(issuer=ca), ca).unknown


def test_a_forged_issuer_is_not_believed():
    real, forged = (
        authority(),
        server_certificate(name="Plant CA", uri=None, hosts=(), private=key(2), is_authority=True),
    )
    assert verdict_on(server_certificate(issuer=forged), real).unknown


def test_a_revoked_certificate_is_refused():
    ca = authority()
    made = server_certificate(issuer=ca, serial=77)
    assert verdict_on(made, ca, lists=[revocations(ca, 78)]).refusals == []
    assert verdict_on(made, ca, lists=[revocations(ca, 77)]).refusals == [
        "BadCertificateRevoked: its issuer has revoked CN=Press 4"
    ]


def chain_of_three(**of_the_middle):
    """Root, the authority under it, a server's."""
    root = authority()
    middle = server_certificate(
        name="Line CA", uri=None, hosts=(), private=key(4), is_authority=True, issuer=root, **of_the_middle
    )
    return root, middle, server_certificate(issuer=middle)


@pytest.mark.parametrize("where", ["shown", "issuers"])
def test_an_authority_vouches_over_the_ones_between(where):
    root, middle, made = chain_of_three()
    verdict = verdict_on(made, root, **{where: [middle]})
    assert (verdict.refusals, verdict.unknown) == ([], False)
    assert verdict_on(made, middle).refusals == []


def test_an_authority_between_alone_vouches_for_nothing():
    root, middle, made = chain_of_three()
    assert verdict_on(made, shown=[middle, root]).unknown
    missing = verdict_on(made, root)
    assert missing.unknown
    assert "it was issued by CN=Line CA" in missing.refusals[0]


@pytest.mark.parametrize("change", [{"ends": -DAY / 2}, {"serial": 77}], ids=["expired", "revoked"])
def test_every_authority_on_the_way_must_be_good(change):
    root, middle, made = chain_of_three(**change)
    verdict = verdict_on(made, root, shown=[middle], lists=[revocations(root, 77)])
    assert verdict.refusals
    assert verdict.refusals[0].split(":")[0] in {"BadCertificateUntrusted", "BadCertificateRevoked"}


def test_a_server_cannot_play_authority_with_its_own_certificate():
    root = authority()
    thief = server_certificate(issuer=root, private=key(5), name="Thief")
    assert verdict_on(server_certificate(issuer=thief), root, shown=[thief]).unknown


def test_certificates_come_in_one_file_or_message():
    _, middle, made = chain_of_three()
    one, two = certificates.chain(made.der + middle.der)
    assert (one, two) == (made.certificate, middle.certificate)
    with pytest.raises(ValueError, match=r"pars|length|invalid"):
        certificates.chain(made.der + middle.der[:100])


def test_a_file_may_hold_several(tmp_path):
    root, middle, made = chain_of_three()
    certificates.own(tmp_path, None, NOW)
    (tmp_path / "issuers" / "line.der").write_bytes(middle.der)
    pem = b"".join(c.certificate.public_bytes(serialization.Encoding.PEM) for c in (root, made))
    (tmp_path / "trusted" / "bundle.pem").write_bytes(pem)
    found = certificates.trust_list(tmp_path)
    assert found.certificates == [root.certificate, made.certificate]
    assert found.issuers == [middle.certificate]


def test_revocation_lists_that_ended_or_are_forged():
    ca = authority()
    made = server_certificate(issuer=ca, serial=77)
    ended = verdict_on(made, ca, lists=[revocations(ca, 5, ends=-DAY)])
    assert ended.refusals == []
    assert "ended on" in ended.warnings[0]
    forged = verdict_on(made, ca, lists=[revocations(ca, 77, signer=key(2))])
    assert forged.refusals == []
    assert "not signed" in forged.warnings[0]
