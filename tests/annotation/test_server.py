"""What the server refuses, each with one message, and that it answers the next request."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotation_server import Client, OwnServer, Server, write_image

from samunet.annotation.annotate import AnnotationSettings, new_project, open_cases
from samunet.dataset.label_colours import COLOURS

IMAGE = np.zeros((5, 4, 3), np.float32)  # (x, y, z)
POINT = {"type": "point", "place": [0, 0, 0], "label": "tumour"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("server")
    write_image(folder / "images" / "case_0000.nii.gz", IMAGE, np.eye(4))
    outside = write_image(folder / "outside_0000.nii.gz", IMAGE, np.eye(4))
    (folder / "images" / "linked_0000.nii.gz").symlink_to(outside)
    settings = AnnotationSettings(folder / "images", folder / "out", labels={"tumour": 1})
    with OwnServer(open_cases(settings, new_project(settings, None), None)) as started:
        yield started


@pytest.fixture(autouse=True)
def unharmed(server: Client) -> Iterator[None]:
    """After every request of a test the server answers, and nothing has changed."""
    before = server.get("/case?case=case")
    yield
    assert server.get("/case?case=case") == before
    assert before[0] == 200


def body(action: Any = POINT, case: str = "case", version: Any = 0) -> str:
    return json.dumps({"case": case, "version": version, "action": action})


def test_links_out_of_the_folder_are_no_cases(server: Client) -> None:
    assert [case["name"] for case in server.get("/cases")[1]["cases"]] == ["case"]


@pytest.mark.parametrize(
    "headers, found",
    [
        ({"X_Samunet_Token": None}, "no token"),
        ({"X_Samunet_Token": "0" * 43}, "another token"),
        ({"X_Samunet_Token": "é"}, "another token"),
        ({"Host": "localhost.evil.example"}, "Host: localhost.evil.example"),
        ({"Host": "127.0.0.1"}, "Host: 127.0.0.1"),
        ({"Origin": "http://evil.example"}, "Origin: http://evil.example"),
        ({"Origin": "null"}, "Origin: null"),
    ],
)
def test_foreign_requests_are_refused(server: Client, headers: dict[str, Any], found: str) -> None:
    for method, path, content in (("GET", "/", None), ("GET", "/page.js", None), ("POST", "/action", body())):
        status, answer = server.send(method, path, content, **headers)
        assert (status, answer["found"]) == (403, found)
        assert answer["mend"].startswith("Open the address that samunet_annotate printed")


def test_the_server_s_own_names_and_origins_are_accepted(server: Client) -> None:
    for host in (f"127.0.0.1:{server.port}", f"localhost:{server.port}"):
        assert server.get("/cases", Host=host, Origin=f"http://{host}")[0] == 200
    assert server.send("GET", f"/?token={server.token}", None, X_Samunet_Token=None)[0] == 200


def test_a_request_without_host_is_refused(server: Client) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(f"GET /cases?token={server.token} HTTP/1.0\r\n\r\n".encode())
        assert b" 403 " in connection.makefile("rb").readline()


@pytest.mark.parametrize("name", ["..", "../images/case", "/etc/passwd", "case_0000", "", "linked", "\0", "x" * 5000])
def test_only_the_folder_s_own_cases_are_opened(server: Client, name: str) -> None:
    from urllib.parse import quote

    for path in ("case", "state", "image", "mask"):
        status, answer = server.get(f"/{path}?case={quote(name)}&plane=0&index=0&channel=0")
        assert (status, answer["rule"]) == (400, "A case must be one of the folder of images.")
    assert server.post(body(case=name[:300]))[1]["rule"] == "A case must be one of the folder of images."


@pytest.mark.parametrize("path", ["/page/index.html", "/../setup.py", "/%2e%2e/setup.py", "/sessions/case/session.json",
                                  "//etc/passwd"])
def test_there_are_no_other_addresses(server: Client, path: str) -> None:
    status, answer = server.get(path)
    assert (status, answer["rule"]) == (404, "The address must be one of the page.")


def test_other_methods_are_refused(server: Client) -> None:
    assert server.send("POST", "/cases", "{}")[0] == 405
    assert server.send("DELETE", "/action", None)[0] == 405


FORM = "The page must send one action in JSON, with finite numbers in their bounds."


@pytest.mark.parametrize(
    "content, rule, found",
    [
        (b"", FORM, "Input data was truncated"),
        (b"{", FORM, "Input data was truncated"),
        (b"\xff\xfe", FORM, "malformed"),
        (b"[" * 100_000, FORM, "Expected `object`"),
        (body({**POINT, "place": [float("nan"), 0, 0]}), FORM, "malformed"),
        (body({**POINT, "place": [0, 0]}), FORM, "length 3"),
        (body({**POINT, "place": [0.5, 0, 0]}), FORM, "Expected `int`"),
        (body({**POINT, "place": [-1, 0, 0]}), FORM, ">= 0"),
        (body({**POINT, "place": [10**400, 0, 0]}), FORM, "action.place"),
        (body({**POINT, "kind": "x"}), FORM, "unknown field"),
        (body({"type": "delete"}), FORM, "Invalid value 'delete'"),
        (body(version="1"), FORM, "Expected `int`"),
        (body({"type": "paint", "places": [[0, 0, 0]] * 10_001, "plane": 0, "radius_mm": 1, "label": None}), FORM,
         "length <= 10000"),
        (body({"type": "paint", "places": [], "plane": 0, "radius_mm": 1, "label": None}), FORM, "length >= 1"),
        (body({"type": "paint", "places": [[0, 0, 0]], "plane": 3, "radius_mm": 1, "label": None}), FORM, "<= 2"),
        (body({"type": "paint", "places": [[0, 0, 0]], "plane": 0, "radius_mm": -1, "label": None}), FORM, ">= 0"),
        (body({"type": "paint", "places": [[0, 0, 0], [1, 0, 0]], "plane": 0, "radius_mm": 1, "label": None}),
         "All places of a stroke must be in one plane across its axis.", "planes 0 to 1"),
        (body({**POINT, "place": [3, 0, 0]}), "A place must be inside the image.", "voxel [3, 0, 0] of 3 x 4 x 5"),
        (body({**POINT, "label": "liver"}), "A prompt must be of a label of the session.", "liver"),
        (body({**POINT, "label": "background"}), "A prompt must be of a label of the session.", "background"),
        (body({"type": "box", "first": [0, 0, 0], "last": [0, 0, 9], "label": "tumour"}),
         "A place must be inside the image.", "voxel [0, 0, 9]"),
    ],
    ids=range(21),
)
def test_bad_actions_change_nothing(server: Client, content: Any, rule: str, found: str) -> None:
    status, answer = server.post(content)
    assert (status, answer["rule"]) == (400, rule)
    assert found in answer["found"]


def test_a_million_points_are_refused_before_they_are_read(server: Client) -> None:
    status, answer = server.post(body({"type": "paint", "places": [[0, 0, 0]] * 1_000_000, "plane": 0, "radius_mm": 1,
                                       "label": None}))
    assert (status, answer["rule"]) == (413, "A request must have at most 1048576 bytes.")


@pytest.mark.parametrize("query, rule", [
    ("plane=3&index=0&channel=0", "`plane` must be a whole number from 0 to 2."),
    ("plane=0&index=3&channel=0", "`index` must be a whole number from 0 to 2."),
    ("plane=2&index=4&channel=1", "`channel` must be a whole number from 0 to 0."),
    ("plane=0&index=-1&channel=0", "`index` must be a whole number from 0 to 2."),
    ("plane=0&index=%C2%B2&channel=0", "`index` must be a whole number from 0 to 2."),
    ("plane=0&channel=0", "`index` must be a whole number from 0 to 2."),
])
def test_slices_that_are_not_there(server: Client, query: str, rule: str) -> None:
    status, answer = server.get(f"/image?case=case&{query}")
    assert (status, answer["rule"]) == (400, rule)


def test_answers_are_not_cached_framed_or_passed_on(server: Client) -> None:
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.request("GET", f"/?token={server.token}")
    headers = connection.getresponse().headers
    assert headers["content-security-policy"] == "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'"
    assert (headers["referrer-policy"], headers["cache-control"]) == ("no-referrer", "no-store")


def test_faults_of_samunet_are_messages_too(server: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("samunet.annotation.cases.Cases.act", lambda *_: 1 / 0)
    status, answer = server.post(body())
    assert (status, answer["rule"], answer["found"]) == (500, "This is a fault of samunet.",
                                                         "ZeroDivisionError: division by zero")


def test_a_second_server_for_a_folder_is_refused(tmp_path: Path) -> None:
    write_image(tmp_path / "images" / "case.nii.gz", IMAGE, np.eye(4))
    arguments = "-i", tmp_path / "images", "-o", tmp_path / "out", "--labels", "tumour=1"
    with Server(*arguments), pytest.raises(AssertionError, match="Only one command at a time may use a folder"):
        Server(*arguments)


def test_the_page_has_the_colours_of_overlays(server: Client) -> None:
    status, page = server.get(f"/?token={server.token}")
    assert status == 200 and b'data-colours="[[213, 94, 0], [86, 180, 233], ' in page and b"{" not in page
    assert json.loads(page.partition(b'data-colours="')[2].partition(b'"')[0]) == [list(rgb) for rgb in COLOURS]
    assert b"213" not in server.get("/page.js")[1]
