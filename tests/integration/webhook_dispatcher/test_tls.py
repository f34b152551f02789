"""HTTPS although the connection goes to an address: the name is what the certificate must have."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bedplate.webhooks.rules import UrlRules
from bedplate_webhook_dispatcher.courier import Answered, Courier, Failed, Parcel

x509 = pytest.importorskip("cryptography.x509")

NAME = "hook.test"
RULES = UrlRules(disable_loopback=False)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and certificate of `hook.test`, signed by itself."""
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "hook.pem"
    pem = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    file.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain) + made.public_bytes(pem)
    )
    return file


@pytest.fixture
async def port(certificate: Path) -> AsyncIterator[int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await writer.drain()
        writer.close()

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def _delivered(url: str, tls: ssl.SSLContext | None) -> object:
    async def here(host: str, port: int) -> Sequence[str]:
        del host, port
        return ["127.0.0.1"]

    async with Courier(RULES, connect_s=2, whole_s=5, resolve=here, tls=tls) as courier:
        return await courier.deliver(Parcel(url, b"{}", {}, {}))


def _trusting(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate))


async def test_a_receiver_with_the_names_certificate_is_believed(
    port: int, certificate: Path
) -> None:
    result = await _delivered(f"https://{NAME}:{port}/", _trusting(certificate))
    assert result == Answered(204)


async def test_one_with_another_names_certificate_is_not(port: int, certificate: Path) -> None:
    result = await _delivered(f"https://other.test:{port}/", _trusting(certificate))
    assert isinstance(result, Failed) and "CERTIFICATE_VERIFY_FAILED" in result.why


async def test_one_that_nobody_vouches_for_is_not_either(port: int) -> None:
    result = await _delivered(f"https://{NAME}:{port}/", None)
    assert isinstance(result, Failed) and "CERTIFICATE_VERIFY_FAILED" in result.why
