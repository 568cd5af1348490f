"""What stands before moto's S3: checks what S3 checks and moto does not, and makes the trouble that a test asks for.

moto stores bodies under wrong checksums; S3 refuses them with BadDigest (User Guide, "Checking object integrity";
API Reference, "Error Responses"). Trouble is a list of rules, each for the requests that it names.
"""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import io
import random
import socket
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

ACTIONS = ("throttle", "drop", "lose", "cut", "stall", "delay", "fail")
REMEMBERED = 100_000
"""Requests in the record."""


@dataclass(frozen=True)
class Rule:
    """Trouble for the requests that it matches, except the first `skip`; for as many as `times` (None: all).

    `throttle`  503 SlowDown, and nothing is done
    `fail`      500 InternalError, and nothing is done
    `drop`      the connection is closed, and nothing is done
    `lose`      all is done, and the connection is closed without an answer
    `cut`       all is done, and half of the answer's body comes (of an answer without a body: nothing)
    `stall`     as `cut`, but the connection stays open for `seconds`, or until the front's `release`
    `delay`     the answer comes `seconds` later
    """

    action: str
    method: str = ""
    path: str = ""  # a part of the path: /bucket/key
    query: str = ""  # a part of the query: list-type, uploadId ...
    skip: int = 0
    times: int | None = 1
    share: float = 1.0  # of the matching requests, by chance
    seconds: float = 3600.0

    def __post_init__(self) -> None:
        if self.action not in ACTIONS:
            raise ValueError(f"A rule's action is one of {', '.join(ACTIONS)}, not {self.action!r}")

    def matches(self, request: Request) -> bool:
        return self.method in ("", request.method) and self.path in request.path and self.query in request.query


class Request(NamedTuple):
    """A request that came."""

    method: str
    path: str
    query: str


class Refused(Exception):
    """S3 does not take a body: its code and message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


class Front:
    """The application, checked and troubled. `requests` is the record of what came, in order; `troubled` counts
    those that met a rule."""

    def __init__(self, application: WSGIApplication, rules: Iterable[Rule] = (), seed: int = 0) -> None:
        self.requests: deque[Request] = deque(maxlen=REMEMBERED)
        self._application = application
        self._lock = threading.Lock()
        self._chance = random.Random(seed)
        self._released = threading.Event()
        self._rules: list[tuple[Rule, list[int]]] = []
        self.troubled = 0
        self.set(rules)

    def set(self, rules: Iterable[Rule]) -> None:
        """Have these rules, and no others, hold from now on; what stalls goes on."""
        self.release()
        with self._lock:
            self._rules = [(rule, [0]) for rule in rules]
            self._released = threading.Event()

    def release(self) -> None:
        """End the stalls."""
        self._released.set()

    def __call__(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        rule, released = self._meets(environ)
        action = rule.action if rule else ""
        if rule and action == "delay":
            time.sleep(rule.seconds)
        if action in ("throttle", "fail", "drop"):
            _drain(environ)
        if action == "throttle":
            return _error(start, "503 Slow Down", "SlowDown", "Please reduce your request rate.")
        if action == "fail":
            message = "We encountered an internal error. Please try again."
            return _error(start, "500 Internal Server Error", "InternalError", message)
        if action == "drop":
            _hang_up(environ)
        try:
            if environ["REQUEST_METHOD"] == "PUT":  # of a POST (CompleteMultipartUpload), checksums are not the body's
                _check(environ)
        except Refused as error:
            return _error(start, "400 Bad Request", error.code, error.message)
        if rule and action in ("lose", "cut", "stall"):
            return self._half(rule, released, environ, start)
        return self._application(environ, start)

    def _meets(self, environ: WSGIEnvironment) -> tuple[Rule | None, threading.Event]:
        """The first rule whose turn it is."""
        request = Request(environ["REQUEST_METHOD"], environ.get("PATH_INFO", ""), environ.get("QUERY_STRING", ""))
        with self._lock:
            self.requests.append(request)
            due = []
            for rule, met in self._rules:
                if not rule.matches(request) or (rule.share < 1.0 and self._chance.random() >= rule.share):
                    continue
                met[0] += 1
                if met[0] > rule.skip and (rule.times is None or met[0] <= rule.skip + rule.times):
                    due.append(rule)
            self.troubled += bool(due)
            return (due[0] if due else None), self._released

    def _half(
        self, rule: Rule, released: threading.Event, environ: WSGIEnvironment, start: StartResponse
    ) -> Iterator[bytes]:
        answer = self._application(environ, start)
        body = b"".join(answer)
        close: Callable[[], object] | None = getattr(answer, "close", None)
        if close is not None:
            close()
        if rule.action != "lose" and len(body) > 1:
            yield body[: len(body) // 2]
        if rule.action == "stall":
            released.wait(rule.seconds)
        _hang_up(environ)


def _hang_up(environ: WSGIEnvironment) -> NoReturn:
    # WSGI has no word for it. werkzeug's server gives the socket, and takes the error for a client that went.
    connection: socket.socket = environ["werkzeug.socket"]
    connection.shutdown(socket.SHUT_RDWR)
    raise ConnectionAbortedError("closed, as a rule says")


def _error(start: StartResponse, status: str, code: str, message: str) -> list[bytes]:
    body = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message>'
        "<RequestId>0000000000000000</RequestId></Error>"
    ).encode()
    start(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
    return [body]


# Bodies


def _check(environ: WSGIEnvironment) -> None:
    """Read the request's body, verify whatever is said of it, and leave it to be read again. Raises Refused."""
    raw = _received(environ)
    said = {name[5:].replace("_", "-").lower(): str(environ[name]) for name in environ if name.startswith("HTTP_")}
    content = raw
    if "aws-chunked" in said.get("content-encoding", ""):
        content, trailers = _unchunked(raw)
        said.update(trailers)
        length = said.get("x-amz-decoded-content-length")
        if length is not None and int(length) != content.seek(0, 2):
            raise Refused("IncompleteBody", "You did not provide the number of bytes specified by the header.")
    _verify(content, said)
    raw.seek(0)
    environ["wsgi.input"] = raw


def _received(environ: WSGIEnvironment) -> io.BytesIO:
    body = io.BytesIO()
    source, length = environ["wsgi.input"], environ.get("CONTENT_LENGTH")
    # Without a length there is a body only where the server sees its end (Transfer-Encoding: chunked).
    left = int(length) if length else None if environ.get("wsgi.input_terminated") else 0
    while left is None or left > 0:
        block = source.read(min(1 << 20, left) if left is not None else 1 << 20)
        if not block:
            break
        body.write(block)
        left = None if left is None else left - len(block)
    if left:
        raise Refused("IncompleteBody", "You did not provide the number of bytes specified by the header.")
    return body


def _drain(environ: WSGIEnvironment) -> None:
    """Read the body that nobody wants: closing with bytes unread would reset the connection before the answer."""
    try:
        _received(environ)
    except Refused:
        return


def _unchunked(raw: io.BytesIO) -> tuple[io.BytesIO, dict[str, str]]:
    """The content and the trailers of a body in AWS' chunks: `SIZE[;chunk-signature=...]`, the bytes; then trailers
    (Signature Version 4 reference, "Transferring payload in multiple chunks"). Raises Refused."""
    content = io.BytesIO()
    raw.seek(0)
    while True:
        try:
            size = int(raw.readline(1024).split(b";")[0], 16)
        except ValueError as error:
            raise Refused("IncompleteBody", "The request body terminated unexpectedly") from error
        if not size:
            break
        block = raw.read(size)
        content.write(block)
        if len(block) < size or raw.read(2) != b"\r\n":
            raise Refused("IncompleteBody", "The request body terminated unexpectedly")
    lines = (line.decode("latin-1").partition(":") for line in raw.read(65536).split(b"\r\n") if line)
    return content, {name.strip().lower(): value.strip() for name, _, value in lines}


def _verify(content: io.BytesIO, said: Mapping[str, str]) -> None:
    expected: dict[str, str] = {}
    if "content-md5" in said:
        expected["md5"] = said["content-md5"]
        if len(_decoded(expected["md5"])) != 16:
            raise Refused("InvalidDigest", "The Content-MD5 you specified was invalid.")
    for name in SUMS:
        value = said.get(f"x-amz-checksum-{name}")
        if value is not None:
            expected[name] = value
            if len(_decoded(value)) != len(SUMS[name]().digest()):
                raise Refused("InvalidRequest", f"Value for x-amz-checksum-{name} header is invalid.")
    payload = said.get("x-amz-content-sha256", "")
    signed = len(payload) == 64
    sums = {name: (hashlib.md5(usedforsecurity=False) if name == "md5" else SUMS[name]()) for name in expected}
    whole = hashlib.sha256()
    content.seek(0)
    for block in iter(lambda: content.read(1 << 20), b""):
        for one in (*sums.values(), *([whole] if signed else [])):
            one.update(block)
    for name, value in expected.items():
        if sums[name].digest() != _decoded(value):
            what = "Content-MD5 you specified did not match what we received."
            other = f"{name.upper()} you specified did not match the calculated checksum."
            raise Refused("BadDigest", f"The {what if name == 'md5' else other}")
    if signed and whole.hexdigest() != payload:
        message = "The provided 'x-amz-content-sha256' header does not match what was computed."
        raise Refused("XAmzContentSHA256Mismatch", message)


def _decoded(value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error:
        return b""


class _Crc:
    """A cyclic redundancy check, reflected, ones in and out; its digest has the highest byte first, as in S3."""

    def __init__(self, polynomial: int, size: int) -> None:
        self._table, self._size = _table(polynomial), size
        self._ones = (1 << 8 * size) - 1
        self._value = self._ones

    def update(self, block: bytes) -> None:
        value, table = self._value, self._table
        for byte in block:
            value = table[(value ^ byte) & 255] ^ (value >> 8)
        self._value = value

    def digest(self) -> bytes:
        return (self._value ^ self._ones).to_bytes(self._size, "big")


@functools.cache
def _table(polynomial: int) -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (polynomial if value & 1 else 0)
        table.append(value)
    return table


class _Crc32:
    def __init__(self) -> None:
        self._value = 0

    def update(self, block: bytes) -> None:
        self._value = zlib.crc32(block, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


SUMS: dict[str, Callable[[], Any]] = {
    "crc32": _Crc32,
    "crc32c": lambda: _Crc(0x82F63B78, 4),  # RFC 3720, appendix B.4
    "crc64nvme": lambda: _Crc(0x9A6C9329AC4BC9B5, 8),  # NVM Command Set Specification 1.0, 5.2.1.3.4
    "sha1": lambda: hashlib.sha1(usedforsecurity=False),
    "sha256": hashlib.sha256,
}
"""S3's checksums, by the end of their headers' names."""
