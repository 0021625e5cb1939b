"""A certificate authority made at the start, and the hosts' certificates from it."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFE = timedelta(days=2)


class CertificateAuthority:
    """Its certificate is at ``path`` (PEM); hosts' keys lie beside it, for the owner only."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "ca.pem"
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _common_name("Rehearsal test CA")
        self._certificate = self._issue()
        self.path.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def _issue(self) -> x509.Certificate:
        key_id = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        builder = (
            _builder(self._name, self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(key_id, critical=False)
        )
        return builder.sign(self._key, hashes.SHA256())

    def server_context(self, *names: str, life: timedelta = LIFE) -> ssl.SSLContext:
        """A server's TLS context whose certificate shows these DNS names (RFC 9525 section 2).

        A ``life`` below zero gives one that has expired.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        alternatives = x509.SubjectAlternativeName([x509.DNSName(n.rstrip(".")) for n in names])
        certificate = (
            _builder(_common_name(names[0].rstrip(".")), self._name, key.public_key(), life)
            .add_extension(alternatives, critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(issuer_key, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return self._context(names[0].rstrip("."), certificate, key)

    def _context(
        self, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
    ) -> ssl.SSLContext:
        path = self._directory / f"{name}.pem"
        path.touch(mode=0o600)
        pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        path.write_bytes(
            key.private_bytes(pem, pkcs8, serialization.NoEncryption()) + certificate.public_bytes(pem)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, life: timedelta = LIFE
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1) - LIFE)
        .not_valid_after(now + life)
    )


def _common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
