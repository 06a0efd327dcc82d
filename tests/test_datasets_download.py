"""Downloads, against a server on this machine that misbehaves on request."""

import io
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tinyae.datasets import download
from tinyae.errors import DataFileError, DownloadError, FileWriteError, MissingLibraryError

pytest.importorskip("pooch", reason="downloads need pooch")
CONTENT = bytes(range(256)) * 1000


class Handler(BaseHTTPRequestHandler):
    """The first part of the path says how to behave; ``server.requests`` notes what was asked."""

    def do_GET(self):
        how = self.path.split("/")[1]
        asked = self.headers.get("Range")
        self.server.requests.append((how, asked))
        start = int(re.match(r"bytes=(\d+)-$", asked)[1]) if asked else 0
        content = self.server.content.get(how, CONTENT)
        if how == "missing":
            return self.send_error(404)
        if how == "moved":
            self.send_response(302)
            self.send_header("Location", "/good/file")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        if how == "norange":
            start = 0
        if start > len(content) or how == "416" and start:
            return self.send_error(416)
        self.send_response(206 if asked and how != "norange" else 200)
        if asked and how != "norange":
            begin = 0 if how == "wrongrange" else start
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        length = "many" if how == "badlength" else str(len(content) - start)
        if how != "nolength":
            self.send_header("Content-Length", length)
        self.end_headers()
        piece = content[start:]
        if how in ("drops", "stalls"):
            piece = piece[: self.server.part]
        with suppress(OSError):
            self.wfile.write(piece)
            self.wfile.flush()
        if how == "stalls":
            self.server.release.wait(10)
        return None

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.requests, server.content, server.part, server.release = [], {}, 70_000, threading.Event()
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    server.url = lambda *hows: [f"http://127.0.0.1:{server.server_port}/{how}/file" for how in hows]
    yield server
    server.release.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "file")


def check(content):
    if content != CONTENT:
        raise DataFileError(f"wrong content, {len(content)} bytes")
    return "checked"


def assert_done(path):
    with open(path, "rb") as file:
        assert file.read() == CONTENT
    assert os.listdir(os.path.dirname(path)) == ["file"]


@pytest.mark.parametrize("how", ["good", "moved", "nolength", "norange"])
def test_a_file_is_downloaded_checked_and_put_in_place(how, server, path):
    assert download.fetch(server.url(how), path, check) == "checked"
    assert_done(path)


@pytest.mark.parametrize(
    "how, why",
    [
        ("missing", "HTTP 404 Not Found"),
        ("drops", "IncompleteRead"),
        ("wrong", "wrong content, 5 bytes"),
        ("badlength", "invalid literal|many"),
    ],
)
def test_the_second_mirror_when_the_first_fails(how, why, server, path):
    server.content["wrong"] = b"wrong"
    download.fetch(server.url(how, "good"), path, check)
    assert_done(path)
    with pytest.raises(DownloadError, match=rf"/{how}/file \(.*({why}).*/missing/file \(HTTP 404"):
        download.fetch(server.url(how, "missing"), path, check)
    with open(path, "rb") as file:
        assert file.read() == CONTENT  # the file of before is untouched


def test_nobody_there(path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(DownloadError, match=rf"http://127.0.0.1:{port}/file \(.*refused"):
        download.fetch([f"http://127.0.0.1:{port}/file"], path, check)
    assert os.listdir(os.path.dirname(path)) == []


def test_a_stall_is_given_up_and_the_part_kept(server, path, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", (1, 0.3))
    with pytest.raises(DownloadError, match=r"stalls/file \(Read timed out"):
        download.fetch(server.url("stalls"), path, check)
    assert 0 < os.path.getsize(f"{path}.partial") <= 70_000


def test_a_broken_download_goes_on_where_it_ended(server, path):
    with pytest.raises(DownloadError, match="drops/file .*bytes read"):
        download.fetch(server.url("drops"), path, check)
    have = os.path.getsize(f"{path}.partial")
    assert have == download.CHUNK and not os.path.exists(path)
    download.fetch(server.url("good"), path, check)
    assert server.requests == [("drops", None), ("good", f"bytes={have}-")]
    assert_done(path)


def test_the_second_mirror_goes_on_where_the_first_broke(server, path):
    download.fetch(server.url("drops", "good"), path, check)
    assert server.requests == [("drops", None), ("good", f"bytes={download.CHUNK}-")]
    assert_done(path)


@pytest.mark.parametrize("how, requests", [("norange", 1), ("416", 2), ("wrongrange", 2)])
def test_servers_that_cannot_go_on_start_anew(how, requests, server, path):
    with open(f"{path}.partial", "wb") as file:
        file.write(CONTENT[:1000])
    download.fetch(server.url(how), path, check)
    assert [asked for _, asked in server.requests] == ["bytes=1000-", None][:requests]
    assert_done(path)


@pytest.mark.parametrize("size", [1000, len(CONTENT), len(CONTENT) + 1])
def test_a_beginning_of_something_else_is_thrown_away(size, server, path):
    with open(f"{path}.partial", "wb") as file:
        file.write(b"x" * size)
    download.fetch(server.url("good"), path, check)
    assert [asked for _, asked in server.requests] == [f"bytes={size}-", None]
    assert_done(path)


def test_two_mirrors_of_different_content_are_never_glued_together(server, path):
    server.content["drops"] = b"another" * 50_000
    download.fetch(server.url("drops", "good"), path, check)
    assert server.requests == [("drops", None), ("good", f"bytes={download.CHUNK}-"), ("good", None)]
    assert_done(path)


def test_wrong_content_is_not_kept(server, path):
    server.content["wrong"] = b"wrong"
    with pytest.raises(DownloadError, match="wrong content"):
        download.fetch(server.url("wrong"), path, check)
    assert os.listdir(os.path.dirname(path)) == [] and len(server.requests) == 1


def test_ctrl_c_keeps_the_part(server, path):
    program = (
        "import signal, sys; from tinyae.datasets.download import fetch\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a job in the background ignores Ctrl-C
        "try: fetch([sys.argv[1]], sys.argv[2], len)\n"
        "except KeyboardInterrupt: print('interrupted')"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program, *server.url("stalls"), path],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 20
    while not (os.path.exists(f"{path}.partial") and os.path.getsize(f"{path}.partial")):
        assert time.monotonic() < deadline and child.poll() is None
        time.sleep(0.02)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=10)
    assert out.strip() == "interrupted" and err.strip() == f"downloading {server.url('stalls')[0]}"
    have = os.path.getsize(f"{path}.partial")
    assert have >= download.CHUNK
    download.fetch(server.url("good"), path, check)
    assert server.requests[-1] == ("good", f"bytes={have}-")
    assert_done(path)


def test_two_at_once_do_not_write_into_one_file(server, path):
    pytest.importorskip("fcntl", reason="Windows has no such lock")
    with download.partial_file(path) as first, download.partial_file(path) as second:
        assert first.name != second.name
        second.write(b"x")
    assert os.listdir(os.path.dirname(path)) == []
    for _ in range(10):
        with ThreadPoolExecutor(8) as pool:
            runs = [pool.submit(download.fetch, server.url("good"), path, check) for _ in range(8)]
        assert [run.result() for run in runs] == ["checked"] * 8
        assert_done(path)


def test_what_cannot_be_written(server, tmp_path, monkeypatch, path):
    with pytest.raises(FileWriteError, match="cannot write .*nowhere/file: No such file"):
        download.fetch(server.url("good"), str(tmp_path / "nowhere" / "file"), check)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FileWriteError, match="No space left on device. Make room"):
        download.fetch(server.url("good"), path, check)
    assert not os.path.exists(path)


def test_without_pooch_the_cure_is_named(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(MissingLibraryError, match="pip install pooch"):
        download.fetch(["http://127.0.0.1:9/file"], path, check)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_bar_on_a_terminal_counts_what_was_there_already(server, path, monkeypatch):
    with open(f"{path}.partial", "wb") as file:
        file.write(CONTENT[:128_000])
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    download.fetch(server.url("good"), path, check)
    first, last = screen.getvalue().strip().split("\r")[0], screen.getvalue().strip().split("\r")[-1]
    assert "downloading file:  50%" in first and "100%" in last and "256k/256k" in last


def test_one_line_in_a_pipe_and_nothing_without_stderr(server, tmp_path, monkeypatch):
    pipe = io.StringIO()
    monkeypatch.setattr(sys, "stderr", pipe)
    download.fetch(server.url("good"), str(tmp_path / "a"), check)
    assert pipe.getvalue() == f"downloading {server.url('good')[0]}\n"
    monkeypatch.setattr(sys, "stderr", None)
    download.fetch(server.url("good"), str(tmp_path / "b"), check)
    pipe.close()
    monkeypatch.setattr(sys, "stderr", pipe)  # a closed pipe
    download.fetch(server.url("good"), str(tmp_path / "c"), check)
