"""samunet_download_checkpoint against a server on this machine that serves, resumes, breaks and lies."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from samunet.cli import download_checkpoint
from samunet.cli.download_checkpoint import main

CONTENT = hashlib.shake_256(b"weights").digest(3 * 2**20 + 17)
START = hashlib.sha256(CONTENT).hexdigest()[:6]
NAME = f"sam_vit_b_{START}.pth"


class Server(ThreadingHTTPServer):
    """Serves CONTENT under every path but /nothing.

    Arguments:
        ranges: whether Range requests are answered by parts.
        breaks_after: bytes after which a connection is closed, or None.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.ranges, self.breaks_after = True, None
        self.content = CONTENT
        self.asked: list[str | None] = []
        self.sent = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{NAME}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        server.asked.append(self.headers["Range"])
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "") if server.ranges else None
        start = int(asked[1]) if asked else 0
        if self.path == "/nothing":
            self.send_error(404)
            return
        if asked and start >= len(server.content):
            self.send_error(416)
            return
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(server.content) - start))
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}")
        self.end_headers()
        body = server.content[start:][: server.breaks_after]
        self.wfile.write(body)
        server.sent += len(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    released = {**download_checkpoint.RELEASED_FILES, "vit_b": NAME}
    monkeypatch.setattr(download_checkpoint, "RELEASED_FILES", released)
    monkeypatch.setattr(download_checkpoint, "sha256_start", lambda name: START)
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def _fetch(server: Server, folder: Path) -> int:
    return main(["vit_b", "--url", server.url, "--checkpoints", str(folder)])


def test_a_whole_file_is_verified_and_its_licence_reported_once(server: Server, tmp_path: Path, capsys):
    folder = tmp_path / "made" / "here"
    assert _fetch(server, folder) == 0
    out, err = capsys.readouterr()
    assert out == f"downloaded, SHA-256 verified: {folder / NAME}\n"
    assert err.count("Apache-2.0") == 1 and f"{NAME}, MiB: 4/4" in err
    assert (folder / NAME).read_bytes() == CONTENT
    assert [path.name for path in folder.iterdir()] == [NAME]


def test_a_broken_download_continues_with_the_missing_bytes_alone(server: Server, tmp_path: Path, capsys):
    server.breaks_after = 2**20 + 5
    assert _fetch(server, tmp_path) == 2
    assert "Run the same command again" in capsys.readouterr().err
    assert not (tmp_path / NAME).exists()
    assert (tmp_path / f"{NAME}.part").read_bytes() == CONTENT[: 2**20 + 5]
    server.breaks_after, server.sent = None, 0
    assert _fetch(server, tmp_path) == 0
    assert server.asked == [None, f"bytes={2**20 + 5}-"]
    assert server.sent == len(CONTENT) - (2**20 + 5)
    assert (tmp_path / NAME).read_bytes() == CONTENT and not (tmp_path / f"{NAME}.part").exists()


def test_a_server_that_knows_no_ranges_sends_all_again(server: Server, tmp_path: Path):
    (tmp_path / f"{NAME}.part").write_bytes(CONTENT[:1000])
    server.ranges = False
    assert _fetch(server, tmp_path) == 0
    assert (tmp_path / NAME).read_bytes() == CONTENT


@pytest.mark.parametrize(("part", "code"), [(CONTENT, 0), (CONTENT[:-1] + b"??", 2)])
def test_a_part_that_is_complete_is_verified(server: Server, tmp_path: Path, part: bytes, code: int):
    (tmp_path / f"{NAME}.part").write_bytes(part)
    assert _fetch(server, tmp_path) == code
    assert server.sent == 0
    assert (tmp_path / NAME).exists() == (code == 0)
    assert not (tmp_path / f"{NAME}.part").exists()


def test_another_file_is_removed_and_reported(server: Server, tmp_path: Path, capsys):
    server.content = CONTENT[:-1] + b"?"
    assert _fetch(server, tmp_path) == 2
    err = capsys.readouterr().err
    assert f"must begin with {START}" in err and hashlib.sha256(server.content).hexdigest()[:12] in err
    assert list(tmp_path.iterdir()) == []


def test_an_address_without_the_file_is_reported(server: Server, tmp_path: Path, capsys):
    assert main(["vit_b", "--url", server.url.replace(NAME, "nothing"), "--checkpoints", str(tmp_path)]) == 2
    assert "404 Not Found" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_without_a_connection_one_message(server: Server, tmp_path: Path, capsys):
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as closed:
        port = closed.server_address[1]
    assert main(["vit_b", "--url", f"http://127.0.0.1:{port}/{NAME}", "--checkpoints", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert "needs a connection" in err and "refused" in err


def test_a_disk_without_room_is_reported_before_anything_is_written(server: Server, tmp_path: Path, capsys,
                                                                    monkeypatch):
    from samunet.networks.checkpoints import download

    usage = download.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(download.shutil, "disk_usage", lambda folder: usage._replace(free=2**20))
    assert _fetch(server, tmp_path) == 2
    assert "3 MB needed, 1 MB free" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_is_verified_and_not_fetched(server: Server, tmp_path: Path, capsys):
    (tmp_path / NAME).write_bytes(CONTENT)
    assert _fetch(server, tmp_path) == 0
    assert capsys.readouterr().out == f"already downloaded, SHA-256 verified: {tmp_path / NAME}\n"
    (tmp_path / NAME).write_bytes(b"mine")
    assert _fetch(server, tmp_path) == 2
    assert "must be Meta's" in capsys.readouterr().err
    assert server.asked == [] and (tmp_path / NAME).read_bytes() == b"mine"


@pytest.mark.parametrize("arguments", [[], ["vit_x"], ["mini"], ["vit_b", "--url", "file:///etc/hostname"]])
def test_wrong_requests_end_with_one_message(arguments: list[str], tmp_path: Path, capsys):
    assert main([*arguments, "--checkpoints", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("error: ") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_list_names_what_can_be_had_and_what_is_there(tmp_path: Path, capsys, monkeypatch):
    monkeypatch.setenv("samunet_checkpoints", str(tmp_path))
    (tmp_path / "sam_vit_l_0b3195.pth").write_bytes(b"0" * 3 * 2**20)
    (tmp_path / "medsam_vit_b.pth").write_bytes(b"0" * 2**20)
    assert main(["--list"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"in {tmp_path}:",
        "vit_b  sam_vit_b_01ec64.pth  not downloaded",
        "vit_l  sam_vit_l_0b3195.pth  downloaded, 3 MiB",
        "vit_h  sam_vit_h_4b8939.pth  not downloaded",
        "       medsam_vit_b.pth      downloaded, 1 MiB, select it with --encoder medsam_vit_b.pth",
    ]


def test_names_carry_the_first_digits_of_the_sha256():
    from samunet.networks.checkpoints.released import sha256_start

    assert [sha256_start(name) for name in download_checkpoint.RELEASED_FILES.values()] == ["01ec64", "0b3195",
                                                                                            "4b8939"]
    assert sha256_start("medsam_vit_b.pth") is None


def test_a_disk_that_fills_up_keeps_the_part(server: Server, tmp_path: Path, capsys, monkeypatch):
    from samunet.networks.checkpoints import download

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(download.os, "fsync", full)
    assert _fetch(server, tmp_path) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [f"{NAME}.part"]
