"""ECR's data plane: what stands between a Docker and a real registry, and says yes and no as ECR does.

Sign-in, repositories, tags that never change, what was deleted: all that the account knows. The registry behind it
stores the bytes; layers go straight to it and come from it, as ECR's come from S3.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import http.client
import json
import re
import secrets
from collections.abc import Callable, Iterable
from typing import Any

from orchestrator.simulator.account import NUMBER, Account
from orchestrator.simulator.wire import ApiError, Environ, Reply, StartResponse, body_of

PATH = "/v2/"
USER = "AWS"
SPACE = "images"
"""What the names of all repositories begin with in the storage."""
LOGIN_SECONDS = 12 * 3600.0
"""For which a sign-in is good (API reference, GetAuthorizationToken)."""
ANSWER_SECONDS = 60.0
"""In which the registry behind must answer."""

# Repositories' names as ECR takes them (API reference, CreateRepository), and the paths of the registry's protocol
# (OCI Distribution Specification 1.1, "API").
_PATH = re.compile(r"/v2/((?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*)/(manifests|blobs|tags)/(.+)")


class Registry:
    """A WSGI application below `/v2/`. `storage` is the real registry's HOST:PORT. Accounts may share it: what it has,
    it has by digest, and which digests are whose the accounts know."""

    def __init__(self, storage: str, account: Account, now: Callable[[], float]) -> None:
        self._storage, self._account, self._now = storage, account, now
        self._logins: dict[str, float] = {}
        self._stored: set[tuple[str, str]] = set()

    def login(self) -> tuple[str, float]:
        """A new password of the user AWS, and until when it is good."""
        password = secrets.token_urlsafe(24)
        self._logins[password] = self._now() + LOGIN_SECONDS
        return password, self._logins[password]

    @property
    def prefixes(self) -> tuple[str, ...]:
        """What the names of all images begin with that come from here, and of no other."""
        return f"{self._account.registry}/", f"{self._storage}/{SPACE}/"

    def place(self, uri: str) -> str | None:
        """Where an engine pulls the image from, without a sign-in; None for one that was not pushed here. Of an image
        that is gone, a name under which there is nothing."""
        named = self._account.named(uri)
        if named is None:
            return None
        name, reference = named
        digest = self._account.digest(name, reference)
        if digest is None:
            return f"{self._storage}/{SPACE}/{name}:gone"
        return f"{self._storage}/{SPACE}/{name}@{digest}" if (name, digest) in self._stored else None

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        try:
            reply = self._refused(environ) or self._answer(environ)
        except ApiError as error:
            reply = _error(error.status, "UNSUPPORTED", error.message)
        except OSError as error:
            reply = _error(500, "UNKNOWN", f"The registry's storage does not answer: {error}")
        body = reply.send(start_response)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else body

    def _refused(self, environ: Environ) -> Reply | None:
        """Why who asks may not, in ECR's words."""
        kind, _, given = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        try:
            user, _, password = base64.b64decode(given, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            user = password = ""
        if kind.lower() != "basic" or not password:
            realm = f'Basic realm="http://{environ.get("HTTP_HOST", "")}/",service="ecr.amazonaws.com"'
            return Reply(401, b"Not Authorized\n", "text/plain", (("WWW-Authenticate", realm),))
        if user != USER or password not in self._logins:
            return _error(403, "DENIED", "Your Authorization Token is invalid.")
        if self._now() >= self._logins[password]:
            return _error(403, "DENIED", "Your authorization token has expired. Reauthenticate and try again.")
        return None

    def _answer(self, environ: Environ) -> Reply:
        method, path = environ["REQUEST_METHOD"], environ.get("PATH_INFO", "")
        if path == PATH:
            return Reply(200, b"{}", "application/json", _VERSION)
        found = _PATH.fullmatch(path)
        if found is None:
            return _error(404, "UNSUPPORTED", "The operation is unsupported.")
        name, kind, rest = found.groups()
        if not self._account.has_repository(name):
            said = f"The repository with name '{name}' does not exist in the registry with id '{NUMBER}'"
            return _error(404, "NAME_UNKNOWN", said)
        if kind == "manifests" and method == "PUT":
            return self._put(name, rest, environ.get("CONTENT_TYPE", ""), body_of(environ))
        if kind == "manifests" and method in ("GET", "HEAD"):
            return self._get(name, rest, environ.get("HTTP_ACCEPT", "*/*"))
        if kind == "blobs" and method in ("GET", "HEAD"):
            place = f"http://{self._storage}{self._path(name)}blobs/{rest}"
            return Reply(307, b"", headers=(*_VERSION, ("Location", place)))
        if (kind, rest, method) == ("blobs", "uploads/", "POST"):
            status, headers, body = self._ask("POST", f"{self._path(name)}blobs/uploads/")
            kept = [(one, headers[one]) for one in ("Location", "Range", "Docker-Upload-UUID") if one in headers]
            return Reply(status, body, headers=(*_VERSION, *kept))
        if (kind, rest, method) == ("tags", "list", "GET"):
            return Reply(200, json.dumps({"name": name, "tags": self._account.tags(name)}).encode(), "application/json")
        return _error(405, "UNSUPPORTED", "The operation is unsupported.")

    def _put(self, name: str, reference: str, media_type: str, manifest: bytes) -> Reply:
        digest = "sha256:" + hashlib.sha256(manifest).hexdigest()
        tag = None if ":" in reference else reference
        if tag is None and reference != digest:
            return _error(400, "DIGEST_INVALID", "The provided digest did not match the uploaded content.")
        if tag and self._account.immutable(name) and self._account.digest(name, tag) not in (None, digest):
            said = (
                f"The image tag '{tag}' already exists in the '{name}' repository and cannot be overwritten because "
                "the tag is immutable."
            )
            return _error(400, "TAG_INVALID", said)
        path, given = f"{self._path(name)}manifests/{digest}", {"Content-Type": media_type}
        status, _, body = self._ask("PUT", path, manifest, given)
        if status != 201:
            return Reply(status, body, "application/json", _VERSION)
        self._stored.add((name, digest))
        self._account.push(name, tag, digest, media_type, manifest.decode("utf-8", "replace"), _size(manifest))
        made = (("Location", f"/v2/{name}/manifests/{digest}"), ("Docker-Content-Digest", digest))
        return Reply(201, b"", headers=(*_VERSION, *made))

    def _get(self, name: str, reference: str, accept: str) -> Reply:
        digest = self._account.digest(name, reference)
        if digest is None:
            return _error(404, "MANIFEST_UNKNOWN", "Requested image not found")
        status, headers, body = self._ask("GET", f"{self._path(name)}manifests/{digest}", headers={"Accept": accept})
        kind = headers.get("Content-Type", "application/json")
        return Reply(status, body, kind, (*_VERSION, ("Docker-Content-Digest", digest)))

    def _path(self, name: str) -> str:
        return f"/v2/{SPACE}/{name}/"

    def _ask(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, Any, bytes]:
        """What the storage answers; its addresses name itself. Not by a client that knows of proxies: it is here."""
        connection = http.client.HTTPConnection(self._storage, timeout=ANSWER_SECONDS)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        except http.client.HTTPException as error:
            raise OSError(str(error)) from error
        finally:
            connection.close()


_VERSION = (("Docker-Distribution-API-Version", "registry/2.0"),)


def _error(status: int, code: str, message: str) -> Reply:
    body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
    return Reply(status, body, "application/json", _VERSION)


def _size(manifest: bytes) -> int:
    """Bytes of all that a manifest names: what DescribeImages tells as the image's size."""
    try:
        read = json.loads(manifest)
        parts = [read.get("config") or {}, *(read.get("layers") or []), *(read.get("manifests") or [])]
        return sum(int(one.get("size", 0)) for one in parts)
    except (ValueError, TypeError, AttributeError, RecursionError):
        return 0
