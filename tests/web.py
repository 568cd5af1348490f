"""A web server on loopback: files with ETags and ranges, as object stores have them, and trouble on demand."""

from __future__ import annotations

import hashlib
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType


class Web:
    """Serves `files` (path to bytes). `sent` counts bytes of bodies, `ranges` has the Range of each GET. While `cut` is
    a number, an answer breaks off after so many bytes; `marks`, `heeds_ranges` and `heeds_if_range` can be switched off,
    and `redirect` sends elsewhere."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files, self.sent, self.ranges = files, 0, list[str]()
        self.cut: int | None = None
        self.cuts = 0  # answers that break off; 0: all
        self.marks, self.heeds_ranges, self.heeds_if_range, self.redirect = True, True, True, ""
        self.hold: threading.Event | None = None  # an answer that is cut waits for it before it breaks off
        web = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                web.answer(self, body=False)

            def do_GET(self) -> None:
                web.answer(self, body=True)

            def log_message(self, format: str, *args: object) -> None:
                """Nothing: pytest shows what a test prints."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def answer(self, request: BaseHTTPRequestHandler, body: bool) -> None:
        data = self.files.get(request.path.partition("?")[0])
        if self.redirect:
            return self._head(request, 302, {"Location": self.redirect, "Content-Length": "0"})
        if data is None:
            return self._head(request, 404, {"Content-Length": "0"})
        mark = f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'
        marks = {"ETag": mark} if self.marks else {}
        if self.marks and request.headers.get("If-None-Match") == mark:
            return self._head(request, 304, marks)
        wanted = request.headers.get("Range", "")
        if body:
            self.ranges.append(wanted)
        start = 0
        if (
            self.heeds_ranges
            and (found := re.fullmatch(r"bytes=(\d+)-", wanted))
            and (request.headers.get("If-Range") == mark or not self.heeds_if_range)
        ):
            start = int(found[1])
        headers = {**marks, "Content-Length": str(len(data) - start)}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self._head(request, 206 if start else 200, headers)
        if not body:
            return None
        part = data[start:]
        if self.cut is not None:
            part = part[: self.cut]
            request.close_connection = True
            self.cuts -= 1
            if not self.cuts:
                self.cut = None
        self.sent += len(part)
        request.wfile.write(part)
        if self.hold is not None:
            self.hold.wait()
        return None

    def _head(self, request: BaseHTTPRequestHandler, status: int, headers: dict[str, str]) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.end_headers()

    def __enter__(self) -> Web:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
