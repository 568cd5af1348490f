"""A small, fast, read-only S3 for benchmarks: ListObjectsV2, GetObject (ranges, ETag, SHA-256), HeadObject.

    python -m tests.bench.bucket FOLDER SECONDS

Buckets are the folders in FOLDER, objects the files in them. Each answer begins SECONDS after its request; nothing
else is slowed down. Prints its URL. moto answers some 300 requests a second, and would be what is measured.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import sys
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, quote, unquote, urlsplit

PAGE = 1000
DATE = "Sun, 22 Nov 2026 00:00:00 GMT"


class Stored(NamedTuple):
    """An object: its file, its size, and what is sent of it."""

    file: Path
    size: int
    etag: str
    sha256: str


def objects(folder: Path) -> dict[str, Stored]:
    """All files of a bucket by key, hashed once; files of one inode are one content."""
    known: dict[int, bytes] = {}
    found = {}
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            status = file.stat()
            if status.st_ino not in known:
                with open(file, "rb") as handle:
                    known[status.st_ino] = hashlib.file_digest(handle, "sha256").digest()
            digest = known[status.st_ino]
            key = file.relative_to(folder).as_posix()
            found[key] = Stored(file, status.st_size, f'"{digest.hex()[:32]}"', base64.b64encode(digest).decode())
    return dict(sorted(found.items()))


class Server:
    """Answers requests to the buckets of a folder."""

    def __init__(self, folder: Path, latency: float) -> None:
        self._buckets = {one.name: objects(one) for one in folder.iterdir() if one.is_dir()}
        self._latency = latency

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until the client closes it."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                first, *lines = head.decode("latin-1").split("\r\n")
                method, target, _ = first.split(" ")
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
                if self._latency:
                    await asyncio.sleep(self._latency)
                await self._answer(writer, method, target, headers)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, method: str, target: str, headers: dict[str, str]) -> None:
        parts = urlsplit(target)
        bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
        if not key:
            body = self._listing(bucket, {name: values[0] for name, values in parse_qs(parts.query).items()})
            self._send(writer, "200 OK", {"Content-Type": "application/xml", "Content-Length": str(len(body))}, body)
            return
        found = self._buckets[bucket].get(key)
        if found is None:
            body = b"" if method == "HEAD" else b"<Error><Code>NoSuchKey</Code><Message>none</Message></Error>"
            self._send(writer, "404 Not Found", {"Content-Length": str(len(body))}, body)
            return
        start, end, status = 0, found.size, "200 OK"
        more = {"ETag": found.etag, "Last-Modified": DATE, "Accept-Ranges": "bytes"}
        if headers.get("range", "").startswith("bytes="):
            low, _, high = headers["range"][6:].partition("-")
            start, end, status = int(low), min(int(high) + 1 if high else found.size, found.size), "206 Partial Content"
            more["Content-Range"] = f"bytes {start}-{end - 1}/{found.size}"
        elif headers.get("x-amz-checksum-mode") == "ENABLED":
            more |= {"x-amz-checksum-sha256": found.sha256, "x-amz-checksum-type": "FULL_OBJECT"}
        self._send(writer, status, {**more, "Content-Length": str(end - start)}, b"")
        if method == "GET" and end > start:
            with open(found.file, "rb") as handle:
                if end - start <= 1 << 20:
                    handle.seek(start)
                    writer.write(handle.read(end - start))
                    await writer.drain()
                else:
                    await writer.drain()
                    await asyncio.get_running_loop().sendfile(writer.transport, handle, start, end - start)

    def _send(self, writer: asyncio.StreamWriter, status: str, headers: dict[str, str], body: bytes) -> None:
        lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers.items())]
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)

    def _listing(self, bucket: str, asked: dict[str, str]) -> bytes:
        prefix, delimiter = asked.get("prefix", ""), asked.get("delimiter", "")
        after = asked.get("continuation-token") or asked.get("start-after", "")
        contents: list[str] = []
        folders: list[str] = []
        last = ""
        for key, stored in self._buckets[bucket].items():
            if not key.startswith(prefix) or key <= after:
                continue
            cut = key.find(delimiter, len(prefix)) if delimiter else -1
            folder = key[: cut + 1] if cut >= 0 else ""
            if folder and folder in (folders[-1:] or [after]):
                continue
            if len(contents) + len(folders) == PAGE:
                break
            last = key
            if folder:
                folders.append(folder)
                continue
            contents.append(
                f"<Contents><Key>{quote(key)}</Key><LastModified>2026-11-22T00:00:00.000Z</LastModified>"
                f"<ETag>{stored.etag}</ETag><Size>{stored.size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
            )
        else:
            last = ""
        more = f"<NextContinuationToken>{quote(last)}</NextContinuationToken>" if last else ""
        return (
            '<?xml version="1.0" encoding="UTF-8"?>'
            '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>{bucket}</Name><Prefix>{quote(prefix)}</Prefix><EncodingType>url</EncodingType>"
            f"<KeyCount>{len(contents) + len(folders)}</KeyCount><MaxKeys>{PAGE}</MaxKeys>"
            f"<IsTruncated>{'true' if last else 'false'}</IsTruncated>{more}{''.join(contents)}"
            f"{''.join(f'<CommonPrefixes><Prefix>{quote(one)}</Prefix></CommonPrefixes>' for one in folders)}"
            "</ListBucketResult>"
        ).encode()


async def main(folder: Path, latency: float) -> None:
    listening = await asyncio.start_server(Server(folder, latency).serve, "127.0.0.1", 0, backlog=256)
    print(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}", flush=True)
    async with listening:
        await listening.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), float(sys.argv[2])))
