"""A store in S3, or in whatever speaks like it.

Objects are whole by S3's own promise; `create` is a PUT with If-None-Match (User Guide, "How to prevent object
overwrites with conditional writes"). A request is repeated when its answer is lost, and a repeated `create` would find
its own object: so each create leaves a word of its own in the object's metadata, and knows it again.

Needs boto3, and Python 3.8 syntax: the agent carries this file into images that are not ours.
"""

from __future__ import annotations

import base64
import hashlib
import random
import re
import threading
import time
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Callable, Iterator, TypeVar

from orchestrator import aws
from orchestrator.errors import CloudError, NotFound, StoreError, UsageError
from orchestrator.store import crowd
from orchestrator.store.base import MAX_KEY, Entry, Store, Tell, check_key, nothing
from orchestrator.store.local import changed, explain, replace_file, sha256_of

WIDTH = 32
"""Requests at once. S3 answers each on its own; at 50 ms apiece, so many keep one laptop busy."""
PART = 8 << 20
"""Bytes of a part of a large object (S3 takes 5 MiB to 5 GiB; User Guide, "Multipart upload limits")."""
LARGE = 2 * PART
"""Objects of more bytes travel in parts, several at once."""
MAX_COPY = 5 << 30
"""Bytes that S3 copies at once (API reference, CopyObject: up to 5 GB); more are copied in parts."""
COPY_PART = 512 << 20
BLOCK = 256 << 10
"""Bytes held in memory for each request under way."""
TRIES = 6
"""Of a body that is cut short on its way; botocore repeats what fails before the body."""

_WRITER = "swatch-writer"  # metadata: which create made the object
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_MISSING = ("NoSuchKey", "404", "NotFound")

Result = TypeVar("Result")


class S3Store(Store):
    """Objects below `s3://bucket/prefix`. Encryption at rest is the bucket's choice. Threads may share one."""

    width = WIDTH

    def __init__(self, url: str) -> None:
        self.bucket, _, prefix = url[len("s3://") :].partition("/")
        prefix = prefix.rstrip("/")
        if not _BUCKET.fullmatch(self.bucket):
            raise UsageError(f"No name of a bucket: {self.bucket!r} in {url}", hint="Write s3://BUCKET/PREFIX")
        if prefix:
            check_key(prefix)
        self.url = f"s3://{self.bucket}/{prefix}".rstrip("/")
        self._root = prefix + "/" if prefix else ""
        self._unsure: dict[tuple[str, bytes], str] = {}  # creates of which no answer came, and their words

    def read(self, key: str) -> bytes:
        name = self._name(key)
        with self._told("reading", key):
            return self._got(name, lambda response: bytes(response["Body"].read()))

    def exists(self, key: str) -> bool:
        name = self._name(key)
        try:
            with self._told("looking for", key):
                self._client.head_object(Bucket=self.bucket, Key=name)
        except NotFound:
            return False
        return True

    def write(self, key: str, data: bytes) -> None:
        name = self._name(key)
        with self._told("writing", key):
            self._put(name, data)

    def create(self, key: str, data: bytes) -> bool:
        name = self._name(key)
        asked = (name, hashlib.sha256(data).digest())
        repeated = asked in self._unsure
        word = self._unsure.setdefault(asked, uuid.uuid4().hex)
        with self._told("creating", key):
            for tries in range(TRIES):
                try:
                    self._put(name, data, IfNoneMatch="*", Metadata={_WRITER: word})
                except self._client.exceptions.ClientError as error:
                    code, meta = error.response["Error"]["Code"], error.response["ResponseMetadata"]
                    repeated = repeated or meta.get("RetryAttempts", 0) > 0
                    if code in ("ConditionalRequestConflict", "409") and tries + 1 < TRIES:
                        repeated = True  # S3 saw another writer at the same moment, and asks for a repetition
                        _pause(tries)
                        continue
                    if code not in ("PreconditionFailed", "412"):
                        raise
                    won = repeated and self._writer(name) == word
                else:
                    won = True
                self._unsure.pop(asked, None)
                return won
        raise AssertionError("the last try returns or raises")

    def upload(self, file: Path, key: str, sha256: str = "", tell: Tell = nothing) -> None:
        name = self._name(key)
        with self._told("uploading", key):
            size = file.stat().st_size
            if size > LARGE:
                self._upload_parts(file, name, sha256, tell)
                return
            # S3 itself refuses what has not the digest that goes with it.
            sums = {"ChecksumSHA256": base64.b64encode(bytes.fromhex(sha256)).decode()} if sha256 else {}
            try:
                with open(str(file), "rb") as source:
                    self._client.put_object(
                        Bucket=self.bucket, Key=name, Body=source, **(sums or {"ChecksumAlgorithm": "SHA256"})
                    )
            except self._client.exceptions.ClientError as error:
                refused = error.response["Error"]["Code"] in ("BadDigest", "InvalidRequest")
                if sha256 and refused and sha256_of(file) != sha256:
                    raise changed(file) from error
                raise
            tell(size)

    def copy(self, key: str, to: str, of: Store | None = None) -> None:
        if of is not None and not isinstance(of, S3Store):
            super().copy(key, to, of)
            return
        from s3transfer.manager import TransferConfig, TransferManager

        source, name = of or self, self._name(to)
        with self._told("copying", key):
            # Whole as long as S3 allows it: then it knows the SHA-256 of the whole.
            config = TransferConfig(multipart_threshold=MAX_COPY, multipart_chunksize=COPY_PART)
            with TransferManager(self._client, config) as manager:
                copied = {"Bucket": source.bucket, "Key": source._name(key)}
                manager.copy(copied, self.bucket, name, extra_args={"ChecksumAlgorithm": "SHA256"}).result()

    def remove(self, key: str) -> None:
        with self._told("removing", key):
            self._client.delete_object(Bucket=self.bucket, Key=self._name(key))

    def sha256(self, key: str) -> str:
        name = self._name(key)

        def read(response: dict[str, Any]) -> str:
            digest = hashlib.sha256()
            for block in _blocks(response["Body"]):
                digest.update(block)
            return digest.hexdigest()

        with self._told("reading", key):
            found = self._client.head_object(Bucket=self.bucket, Key=name, ChecksumMode="ENABLED")
            # Of an object that came in parts (its ETag says how many), S3 has a digest of the parts' digests.
            known, whole = found.get("ChecksumSHA256", "-"), found.get("ChecksumType", "FULL_OBJECT") == "FULL_OBJECT"
            if whole and "-" not in known and "-" not in found["ETag"]:
                return base64.b64decode(known).hex()
            return self._got(name, read)

    def marks(self, prefix: str) -> Iterator[tuple[Entry, str]]:
        """What `scan` gives, each with the object's ETag, which is another when its content is."""
        for page in self._pages(prefix):
            for found in page.get("Contents", ()):
                key = found["Key"][len(self._root) :]
                if _is_key(key):
                    yield Entry(key, found["Size"]), found["ETag"]

    def download(self, key: str, file: Path) -> str:
        name = self._name(key)
        with self._told("downloading", key):
            digests = []
            replace_file(file, lambda out: digests.append(self._fetch(name, out)))
            return digests[0]

    def scan(self, prefix: str, after: str = "") -> Iterator[Entry]:
        more = {"StartAfter": self._root + after} if after else {}
        for page in self._pages(prefix, **more):
            for found in page.get("Contents", ()):
                key = found["Key"][len(self._root) :]
                if _is_key(key):
                    yield Entry(key, found["Size"])

    def folders(self, prefix: str) -> list[str]:
        names = []
        for page in self._pages(prefix, Delimiter="/"):
            for found in page.get("CommonPrefixes", ()):
                name = found["Prefix"][len(self._root) + len(prefix) : -1]
                if _is_key(prefix + name):
                    names.append(name)
        return sorted(names)

    # Requests

    @property
    def _client(self) -> Any:
        return aws.client("s3")

    def _name(self, key: str) -> str:
        name = self._root + check_key(key)
        if len(name.encode("utf-8")) > MAX_KEY:
            raise StoreError(f"Too long for S3, which takes keys of {MAX_KEY} bytes: {name[:200]}")
        return name

    def _put(self, name: str, data: bytes, **more: Any) -> None:
        digest = base64.b64encode(hashlib.sha256(data).digest()).decode()
        self._client.put_object(Bucket=self.bucket, Key=name, Body=data, ChecksumSHA256=digest, **more)

    def _writer(self, name: str) -> str | None:
        """The word that the object's maker left in it."""
        word: str | None = self._client.head_object(Bucket=self.bucket, Key=name)["Metadata"].get(_WRITER)
        return word

    def _got(self, name: str, take: Callable[[dict[str, Any]], Result], **more: Any) -> Result:
        """What `take` makes of the object; begun anew when the body is cut short, stalls, or is not what was sent."""
        client = self._client
        from botocore import exceptions as theirs

        cut = (theirs.HTTPClientError, theirs.IncompleteReadError, theirs.FlexibleChecksumError)
        for tries in range(TRIES):
            response = client.get_object(Bucket=self.bucket, Key=name, ChecksumMode="ENABLED", **more)
            try:
                return take(response)
            except cut:
                if tries + 1 == TRIES:
                    raise
                _pause(tries)
            finally:
                response["Body"].close()
        raise AssertionError("the last try returns or raises")

    def _pages(self, prefix: str, **more: Any) -> Iterator[dict[str, Any]]:
        if prefix:
            check_key(prefix.rstrip("/"))
        with self._told("listing", prefix):
            paginator = self._client.get_paginator("list_objects_v2")
            yield from paginator.paginate(Bucket=self.bucket, Prefix=self._root + prefix, **more)

    # Bytes

    def _fetch(self, name: str, out: BinaryIO) -> str:
        def take(response: dict[str, Any]) -> str:
            out.seek(0)
            out.truncate()
            # Parts are for a large object that has the threads to itself; beside others, one stream costs less.
            if response["ContentLength"] > LARGE and crowd.spare() * 2 > crowd.MOST:
                self._fetch_parts(name, response, out)
                return _digest(out)
            verified = _verified(response)
            digest = hashlib.sha256()
            for block in _blocks(response["Body"]):
                if not verified:
                    digest.update(block)
                out.write(block)
            return verified or digest.hexdigest()

        for tries in range(TRIES):
            try:
                return self._got(name, take)
            except self._client.exceptions.ClientError as error:
                if error.response["Error"]["Code"] not in ("PreconditionFailed", "412") or tries + 1 == TRIES:
                    raise  # else it was replaced between two parts: all of it anew
        raise AssertionError("the last try returns or raises")

    def _fetch_parts(self, name: str, response: dict[str, Any], out: BinaryIO) -> None:
        """Parts of one and the same object, several at once; the first out of the response that is open already."""
        size, etag, lock = response["ContentLength"], response["ETag"], threading.Lock()

        def fill(start: int, part: dict[str, Any]) -> None:
            at, end = start, min(start + PART, size)
            for block in _blocks(part["Body"]):
                block = block[: end - at]
                with lock:
                    out.seek(at)
                    out.write(block)
                at += len(block)
                if at == end:
                    return

        def fetch(start: int) -> None:
            if not start:
                return fill(0, response)
            wanted = f"bytes={start}-{min(start + PART, size) - 1}"
            return self._got(name, lambda part: fill(start, part), Range=wanted, IfMatch=etag)

        for _ in crowd.each(fetch, range(0, size, PART), self.width):
            pass

    def _upload_parts(self, file: Path, name: str, sha256: str, tell: Tell) -> None:
        from s3transfer.manager import TransferConfig, TransferManager
        from s3transfer.subscribers import BaseSubscriber

        class Told(BaseSubscriber):  # type: ignore[misc]  # s3transfer has no types
            def on_progress(self, future: Any, bytes_transferred: int, **_: Any) -> None:
                tell(bytes_transferred)

        before = file.stat()
        if sha256 and sha256_of(file) != sha256:
            raise changed(file)
        word = uuid.uuid4().hex
        extra = {"ChecksumAlgorithm": "SHA256", "Metadata": {_WRITER: word}}
        config = TransferConfig(multipart_threshold=LARGE, multipart_chunksize=PART, max_request_concurrency=8)
        try:
            with TransferManager(self._client, config) as manager:
                manager.upload(str(file), self.bucket, name, extra_args=extra, subscribers=[Told()]).result()
        except self._client.exceptions.ClientError as error:
            # The completion was repeated because its answer was lost: then the object is there, with our word.
            if error.response["Error"]["Code"] != "NoSuchUpload" or self._writer(name) != word:
                raise
        after = file.stat()
        if sha256 and (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            self._client.delete_object(Bucket=self.bucket, Key=name)
            raise changed(file)

    @contextmanager
    def _told(self, doing: str, key: str) -> Iterator[None]:
        """Turn errors of the cloud and of this computer into sentences; a missing object is NotFound."""
        try:
            with aws.explained(f"{doing} {self.url}/{key}"):
                yield
        except CloudError as error:
            if error.code in _MISSING:
                raise NotFound(f"Not in the store {self.url}: {key}") from error
            raise
        except OSError as error:
            raise StoreError(*explain(error, self.url)) from error


def _blocks(body: Any) -> Iterator[bytes]:
    for block in iter(lambda: body.read(BLOCK), b""):
        crowd.check()
        yield block


def _verified(response: dict[str, Any]) -> str:
    """The SHA-256, in hex, that botocore compares the body with as it is read; empty where it does no such thing."""
    from botocore.httpchecksum import StreamingChecksumBody

    sums = [name for name in response if name.startswith("Checksum") and name != "ChecksumType"]
    if sums != ["ChecksumSHA256"] or not isinstance(response["Body"], StreamingChecksumBody):
        return ""
    return base64.b64decode(response["ChecksumSHA256"]).hex()


def _digest(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    file.seek(0)
    for block in iter(lambda: file.read(1 << 20), b""):
        digest.update(block)
    return digest.hexdigest()


def _is_key(key: str) -> bool:
    """False for what others put there under names that are none of ours (`folder/` by S3's console, for one)."""
    try:
        check_key(key)
    except StoreError:
        return False
    return True


def _pause(tries: int) -> None:
    """Before the next try: twice as long each time, and never the same for two (full jitter)."""
    time.sleep(random.uniform(0.0, min(5.0, 0.1 * 2**tries)))
