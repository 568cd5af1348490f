"""Files from the web: whole, within a limit, and going on where they stopped, also in another process.

urllib is enough for one file at a time with Range and If-Range (RFC 9110, 13.1.5 and 14.2); proxies are as its
environment variables say.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import http.client
import os
import random
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from orchestrator.errors import SwatchError, Unreachable, UsageError
from orchestrator.store.local import explain

MAX_BYTES = 100 << 30
"""Of one file: as much as FloydHub took for a dataset."""
SECONDS = 30.0
"""Without a byte for so long, a connection counts as broken."""
TRIES = 5
"""Connections in a row that bring nothing new."""
PAUSE = 0.2
"""Seconds before the second such try, at most; twice as many before each further one."""
BLOCK = 1 << 20

Tell = Callable[[int, int], object]
"""Takes bytes that are here, and bytes in all (0 where the server does not say)."""


class Fetched(NamedTuple):
    """A file as it was fetched, and the server's word for its state (ETag or Last-Modified; empty if it has none)."""

    file: Path
    mark: str


def check(url: str) -> str:
    """The address itself. Raises UsageError for one that is none of the web's or has a password in it."""
    parts = _parts(url)
    if parts.scheme not in ("https", "http") or not parts.hostname or not re.fullmatch("[\x21-\x7e]+", url):
        raise UsageError(
            f"Not an address that can be fetched: {shown(url)}", hint="https://HOST/FILE, s3://BUCKET/PREFIX"
        )
    if "@" in parts.netloc:
        raise UsageError(f"{shown(url)} holds a password", hint="Download it, and mount its folder")
    return url


def shown(url: str) -> str:
    """The address without what may be a secret: user, password and query."""
    parts = _parts(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))[:300]


def _parts(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:  # brackets that are no IPv6 address, for one
        return urlsplit("")


def file_name(url: str) -> str:
    """What the file is called: the end of the address, in letters that any file system takes."""
    name = re.sub("[^A-Za-z0-9._-]+", "-", unquote(_parts(url).path).rpartition("/")[2]).strip("-.")
    return name[-120:] or "data"


def mark(url: str) -> str:
    """The server's word for the state of the file now; empty if it has none. Raises SwatchError."""
    with _answer(check(url), "HEAD", {}) as answer:
        return _mark(answer)


def fetch(
    url: str, folder: Path, *, unless: str = "", limit: int = MAX_BYTES, tell: Tell = lambda done, total: None
) -> Fetched | None:
    """The file at an address, in `folder`, where what an earlier try brought is kept; None if it is still in the state
    `unless`. Raises UsageError, Unreachable, SwatchError."""
    folder.mkdir(parents=True, exist_ok=True)
    check(url)
    try:
        with open(folder / "lock", "ab") as alone:
            fcntl.flock(alone, fcntl.LOCK_EX)
            return _fetch(url, folder, unless, limit, tell)
    except OSError as error:
        raise SwatchError(*explain(error, str(folder))) from error


def _fetch(url: str, folder: Path, unless: str, limit: int, tell: Tell) -> Fetched | None:
    part, noted, file = folder / "part", folder / "mark", folder / file_name(url)
    idle = most = 0
    while True:
        whole = False
        known = noted.read_text(encoding="utf-8") if noted.is_file() else ""
        # Without a word for its state nobody knows whether the rest belongs to this beginning.
        begun = part.stat().st_size if part.is_file() and known else 0
        most = max(most, begun)
        asked = {"Range": f"bytes={begun}-", "If-Range": known} if begun else {}
        if unless:
            asked["If-None-Match" if unless.startswith(('"', "W/")) else "If-Modified-Since"] = unless
        try:
            with _answer(url, "GET", asked) as answer:
                if answer.status == 304:
                    return None
                # What is here is not the beginning of what is there, though a server may heed Range and not If-Range.
                if answer.status == 416 or (answer.status == 206 and _mark(answer) not in ("", known)):
                    part.unlink(missing_ok=True)
                    begun, total = 0, 1
                else:
                    now = _mark(answer)
                    if answer.status != 206:
                        begun = 0
                    noted.write_text("" if now.startswith("W/") else now, encoding="utf-8")
                    total = _total(answer, begun, limit, url)
                    whole = _save(answer, part, begun, total, limit, url, tell)
        except Unreachable:
            total = -1
            if idle + 1 >= TRIES:
                raise
        got = part.stat().st_size if part.is_file() else 0
        if got == total if total else whole:
            os.replace(part, file)
            noted.unlink(missing_ok=True)
            return Fetched(file, now)
        # Where nothing can be gone on with, a connection that always breaks at one place brings nothing new.
        idle, most = (0, got) if got > most else (idle + 1, most)
        if idle >= TRIES:
            raise Unreachable(f"{shown(url)}: the connection breaks again and again", hint="The same command goes on")
        time.sleep(random.uniform(0, PAUSE * 2**idle) if idle else 0)


def _save(answer: Any, part: Path, begun: int, total: int, limit: int, url: str, tell: Tell) -> bool:
    """Append the body to what is here; whether it came to its end. A connection that breaks leaves what came."""
    with open(part, "r+b" if begun else "wb") as out:
        out.seek(begun)
        out.truncate()
        done = begun
        tell(done, total)
        with contextlib.suppress(http.client.HTTPException, ConnectionError, TimeoutError):
            while block := answer.read1(BLOCK):
                done += len(block)
                if done > limit or (total and done > total):
                    raise SwatchError(f"{shown(url)} sends more than it may: {min(limit, total or limit):,} bytes")
                out.write(block)
                out.flush()
                tell(done, total)
            return True
        return False


def _total(answer: Any, begun: int, limit: int, url: str) -> int:
    """How many bytes the whole file has; 0 where nothing says it."""
    ranged = re.fullmatch(r"bytes (\d{1,15})-\d{1,15}/(\d{1,15}|\*)", answer.headers.get("Content-Range", ""))
    if answer.status == 206:
        if ranged is None or int(ranged[1]) != begun:
            raise SwatchError(
                f"{shown(url)}: the server sends another part than was asked for", hint="Download it by hand"
            )
        length = ranged[2]
    else:
        length = answer.headers.get("Content-Length", "")
    total = int(length) if re.fullmatch(r"\d{1,15}", length) else 0
    if total > limit:
        raise SwatchError(
            f"{shown(url)} has {total:,} bytes, and {limit:,} is the most", hint="Put it into a bucket: s3://"
        )
    return total


def _mark(answer: Any) -> str:
    found = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
    return found if isinstance(found, str) and re.fullmatch(r"[\x20-\x7e]{1,200}", found) else ""


class _Redirects(urllib.request.HTTPRedirectHandler):
    """To the web, and never from an encrypted connection to one that is not."""

    def http_error_302(self, req: Any, fp: Any, code: int, msg: str, headers: Any) -> Any:
        try:
            return super().http_error_302(req, fp, code, msg, headers)
        except ValueError:  # it leads nowhere
            fp.close()
            raise

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        parts = _parts(newurl)
        if parts.scheme not in ("https", "http") or (req.type == "https" and parts.scheme == "http"):
            raise SwatchError(f"{shown(req.full_url)} leads to {shown(newurl)}", hint="Download it by hand")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


@contextlib.contextmanager
def _answer(url: str, method: str, headers: dict[str, str]) -> Iterator[Any]:
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Redirects(),
    ):
        opener.add_handler(handler)
    said = {"User-Agent": "swatch", "Accept-Encoding": "identity", **headers}
    asked = urllib.request.Request(url, headers=said, method=method)
    try:
        answer: IO[bytes] = opener.open(asked, timeout=SECONDS)
    except urllib.error.HTTPError as error:
        with error:
            if error.code in (304, 416):
                yield error
                return
            if error.code in (408, 429, 500, 502, 503, 504):
                raise Unreachable(f"{shown(url)}: {error.code}", hint="Try again later") from error
            raise SwatchError(f"{shown(url)}: the server says {error.code}", hint="Check the address") from error
    except (http.client.HTTPException, OSError, ValueError) as error:  # ValueError: a host's name that cannot be one
        why = getattr(error, "reason", None) or error
        raise Unreachable(f"{shown(url)}: no answer ({why})", hint="Check the network, and HTTPS_PROXY") from error
    with answer:
        yield answer


def verify(file: Path, algorithm: str, wanted: str, url: str) -> None:
    """Remove the file and raise SwatchError, if it has not the digest that was published."""
    with open(file, "rb") as opened:
        found = hashlib.file_digest(opened, algorithm).hexdigest()
    if found != wanted:
        file.unlink()
        raise SwatchError(
            f"{shown(url)} is not what was published: its {algorithm.upper()} is {found}, not {wanted}",
            hint="Try again; if it stays so, somebody has changed it on the way",
        )
