"""ECR as an engine meets it on AWS: under its host's name, by TLS, with a sign-in.

The name leads here by a proxy that only this engine knows, and the certificate is one that only this engine trusts: so
neither /etc/hosts nor port 443 is touched.
"""

from __future__ import annotations

import contextlib
import datetime
import selectors
import socket
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from orchestrator.docker import Docker
from orchestrator.simulator import ManualClock, Simulator
from tests import daemon
from tests.daemon import Daemon

HOST = "123456789012.dkr.ecr.us-east-1.amazonaws.com"
SECONDS = 60.0
"""In which a connection must move."""


class Host(NamedTuple):
    """The account, whose clock is moved by hand, and an engine that knows its registry as HOST."""

    aws: Simulator
    docker: Docker


@contextlib.contextmanager
def standing(folder: Path, given: Daemon) -> Iterator[Host]:
    """The host while this lasts; the engine has the base images. Raises daemon.Missing."""
    from werkzeug.serving import make_server

    with contextlib.ExitStack() as stack:
        aws = Simulator(ManualClock(), docker=given.docker, registry=given.registry)
        stack.enter_context(aws)
        assert aws.registry is not None
        # What is pushed under this name is the account's: the front of its registry answers here, too.
        key, certificate = _certificate(folder)
        server = make_server(
            "127.0.0.1",
            0,
            aws.registry,
            threaded=True,
            ssl_context=(str(certificate), str(key)),
            request_handler=_quiet(),
        )
        stack.enter_context(_served(server))
        proxy = _Proxy(("127.0.0.1", 0), _Tunnel)
        proxy.target = ("127.0.0.1", server.server_port)
        stack.enter_context(_served(proxy))
        way = f"http://127.0.0.1:{proxy.server_address[1]}"
        environment = daemon.start(
            folder, stack, {"HTTPS_PROXY": way, "NO_PROXY": "", "SSL_CERT_FILE": str(certificate)}
        )
        docker = Docker(environment)
        saved = folder / "images.tar"
        given.docker.ask("save", "--output", str(saved), daemon.BASE, daemon.BARE, doing="saving the base images")
        docker.ask("load", "--quiet", "--input", str(saved), doing="loading the base images")
        saved.unlink()
        yield Host(aws, docker)


@contextlib.contextmanager
def _served(server: Any) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _quiet() -> Any:
    from werkzeug.serving import WSGIRequestHandler

    class Quiet(WSGIRequestHandler):
        def log(self, type: str, message: str, *args: object) -> None:
            """Nothing: tests assert what comes of it."""

    return Quiet


class _Proxy(socketserver.ThreadingTCPServer):
    """Answers CONNECT for ECR's host with a way to `target`, and for no other."""

    daemon_threads = True
    target = ("127.0.0.1", 0)


class _Tunnel(socketserver.StreamRequestHandler):
    server: _Proxy
    timeout = SECONDS

    def handle(self) -> None:
        asked = self.rfile.readline(4096).decode("latin-1").split()
        while self.rfile.readline(4096).strip():
            continue
        if asked[:2] != ["CONNECT", f"{HOST}:443"]:
            self.wfile.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            return
        with socket.create_connection(self.server.target, SECONDS) as other:
            self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
            with contextlib.suppress(OSError):  # either side may leave
                _relay(self.connection, other)


def _relay(one: socket.socket, other: socket.socket) -> None:
    with selectors.DefaultSelector() as ready:
        ready.register(one, selectors.EVENT_READ, other)
        ready.register(other, selectors.EVENT_READ, one)
        while True:
            for key, _ in ready.select():
                assert isinstance(key.fileobj, socket.socket)
                data = key.fileobj.recv(1 << 16)
                if not data:
                    return
                key.data.sendall(data)


def _certificate(folder: Path) -> tuple[Path, Path]:
    """A key, and a certificate of the host that vouches for itself."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "A test's registry")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    private, public = folder / "key.pem", folder / "certificate.pem"
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption_algorithm=plain)
    )
    public.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return private, public
