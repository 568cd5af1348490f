"""Files from the web: whole, or going on where they stopped."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from orchestrator.cargo import download
from orchestrator.errors import SwatchError, Unreachable, UsageError
from tests.conftest import REPOSITORY
from tests.web import Web

DATA = random.Random(4).randbytes(3_000_000)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between tries."""
    monkeypatch.setattr(download, "PAUSE", 0.0)


def fetched(web: Web, folder: Path, **options: object) -> bytes:
    found = download.fetch(f"{web.url}/a.bin", folder, **options)  # type: ignore[arg-type]
    assert found is not None
    return found.file.read_bytes()


def test_a_connection_that_breaks_is_gone_on_with(tmp_path: Path) -> None:
    with Web({"/a.bin": DATA}) as web:
        web.cut, web.cuts = 1_000_000, 2
        told: list[tuple[int, int]] = []
        assert fetched(web, tmp_path, tell=lambda *said: told.append(said)) == DATA
        assert web.ranges == ["", "bytes=1000000-", "bytes=2000000-"]
        assert web.sent == len(DATA) and told[-1] == (len(DATA), len(DATA))


CHILD = """
import sys
from pathlib import Path
from orchestrator.cargo import download
download.fetch(sys.argv[1], Path(sys.argv[2]), tell=lambda done, total: print(done, flush=True))
"""


def test_a_download_that_was_killed_goes_on_in_another_process(tmp_path: Path) -> None:
    with Web({"/a.bin": DATA}) as web:
        web.cut, web.hold = 2_000_000, threading.Event()
        words = [sys.executable, "-c", CHILD, f"{web.url}/a.bin", str(tmp_path)]
        with subprocess.Popen(words, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            for line in child.stdout:
                if int(line) == 2_000_000:
                    child.kill()
                    break
        web.hold.set()
        web.cut, web.hold = None, None
        assert fetched(web, tmp_path) == DATA
        assert web.ranges[-1] == "bytes=2000000-" and web.sent == len(DATA)


def test_what_has_changed_meanwhile_begins_anew(tmp_path: Path) -> None:
    with Web({"/a.bin": DATA}) as web:
        web.cut, web.cuts = 1_000_000, 1
        first = threading.Event()

        def change(done: int, total: int) -> None:
            if done >= 1_000_000 and not first.is_set():
                first.set()
                web.files["/a.bin"] = DATA[::-1]

        assert fetched(web, tmp_path, tell=change) == DATA[::-1]


@pytest.mark.parametrize("missing", ["marks", "heeds_ranges"])
def test_servers_without_marks_or_ranges_are_asked_for_all_of_it(tmp_path: Path, missing: str) -> None:
    with Web({"/a.bin": DATA}) as web:
        setattr(web, missing, False)
        web.cut, web.cuts = 1_000_000, 1
        assert fetched(web, tmp_path) == DATA
        assert web.sent == len(DATA) + 1_000_000


def test_it_gives_up_where_nothing_comes_any_more(tmp_path: Path) -> None:
    with Web({"/a.bin": DATA}) as web:
        web.cut = 0
        with pytest.raises(Unreachable, match="breaks again and again"):
            fetched(web, tmp_path)
        assert len(web.ranges) == download.TRIES
        web.cut = None
        assert fetched(web, tmp_path) == DATA


def test_a_server_without_marks_that_always_breaks_at_one_place_is_given_up(tmp_path: Path) -> None:
    with Web({"/a.bin": DATA}) as web:
        web.marks, web.cut = False, 1_000_000
        with pytest.raises(Unreachable, match="breaks again and again"):
            fetched(web, tmp_path)
        assert len(web.ranges) == 1 + download.TRIES


def test_a_server_that_heeds_no_if_range_makes_no_mixture(tmp_path: Path) -> None:
    with Web({"/a.bin": DATA}) as web:
        web.cut, web.cuts, web.heeds_if_range = 1_000_000, 1, False

        def change(done: int, total: int) -> None:
            if done == 1_000_000:
                web.files["/a.bin"] = DATA[::-1]

        assert fetched(web, tmp_path, tell=change) == DATA[::-1]


def test_an_answer_of_unknown_length_that_breaks_at_once_is_no_empty_file(tmp_path: Path) -> None:
    class Broken(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Broken) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(Unreachable):
            download.fetch(f"http://127.0.0.1:{server.server_port}/a.bin", tmp_path)
        server.shutdown()
    assert not (tmp_path / "a.bin").exists()


@pytest.mark.parametrize("target", ["http://[bad", "http://a..b/"])
def test_a_server_that_leads_nowhere_is_said(tmp_path: Path, target: str) -> None:
    with Web({}) as web:
        web.redirect = target
        with pytest.raises(Unreachable, match="no answer"):
            fetched(web, tmp_path)


def test_there_is_a_limit(tmp_path: Path) -> None:
    with Web({"/a.bin": DATA}) as web, pytest.raises(SwatchError, match="3,000,000 bytes, and 1,000 is the most"):
        fetched(web, tmp_path, limit=1000)


def test_what_has_not_changed_is_not_sent(tmp_path: Path) -> None:
    with Web({"/a.bin": DATA}) as web:
        mark = download.mark(f"{web.url}/a.bin")
        assert mark and download.fetch(f"{web.url}/a.bin", tmp_path, unless=mark) is None and not web.sent


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x"])
def test_a_server_cannot_send_us_to_files_of_this_computer(tmp_path: Path, target: str) -> None:
    with Web({}) as web:
        web.redirect = target
        with pytest.raises(SwatchError, match=r"leads to|says 302"):
            fetched(web, tmp_path)


def test_what_the_server_refuses_is_said(tmp_path: Path) -> None:
    with Web({}) as web, pytest.raises(SwatchError, match=r"/a\.bin: the server says 404"):
        fetched(web, tmp_path)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://h/a/b.h5", "b.h5"),
        ("https://h/a/b%20c.h5?x=1", "b-c.h5"),
        ("https://h/..%2f..%2fetc%2fpasswd", "passwd"),
        ("https://h/", "data"),
        ("https://h/.hidden", "hidden"),
    ],
)
def test_names_are_made_safe(url: str, name: str) -> None:
    assert download.file_name(url).endswith(name) and "/" not in download.file_name(url)


@pytest.mark.parametrize(
    "url", ["https://u:p@h/x", "javascript:x", "https:///x", "https://h/a b", "https://h/ä", "https://[", "x"]
)
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(UsageError):
        download.check(url)


def test_a_published_digest_is_verified(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    download.verify(tmp_path / "file", "md5", "9dd4e461268c8034f5c8564e155c67a6", "https://h/x")
    with pytest.raises(SwatchError, match="is not what was published"):
        download.verify(tmp_path / "file", "md5", "0" * 32, "https://h/x")
    assert not (tmp_path / "file").exists()
