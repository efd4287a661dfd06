"""A running samunet_annotate, and images for it."""

from __future__ import annotations

import http.client
import json
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Self

import nibabel
import numpy as np
import uvicorn

from samunet.annotation.cases import Cases
from samunet.annotation.server import server_of

COMMAND = "import sys; from samunet.cli.entry import annotate; sys.exit(annotate())"


def write_image(path: Path, voxels: np.ndarray, affine: np.ndarray) -> Path:
    """Write `voxels` (x, y, z) as NIfTI with `affine` (RAS)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(voxels.astype(np.float32), affine), path)
    return path


class Client:
    """Requests to a server, as its page sends them."""

    port: int
    token: str

    def get(self, path: str, **headers: str) -> tuple[int, Any]:
        """Status and JSON of a GET request with the token."""
        return self.send("GET", path, None, **headers)

    def act(self, case: str, **action: Any) -> dict[str, Any]:
        """The state after an action of the newest version of a case, which must succeed."""
        _, before = self.get(f"/state?case={case}")
        version = before["state"]["version"]
        status, content = self.post(json.dumps({"case": case, "version": version, "action": action}))
        assert status == 200, content
        return content["state"]

    def post(self, body: str | bytes, **headers: str) -> tuple[int, Any]:
        """Status and JSON of an action."""
        return self.send("POST", "/action", body, **headers)

    def send(self, method: str, path: str, body: str | bytes | None, **headers: str) -> tuple[int, Any]:
        """Status and JSON of a request; `headers` replace those of the page, None leaves one out."""
        sent = {"Host": f"127.0.0.1:{self.port}", "X-Samunet-Token": self.token}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, {name: value for name, value in sent.items() if value is not None})
            answer = connection.getresponse()
            content = answer.read()
            if answer.getheader("content-type") == "application/json":
                return answer.status, json.loads(content)
            return answer.status, content
        finally:
            connection.close()


class Server(Client):
    """samunet_annotate in a process of its own, on a free port."""

    def __init__(self, *arguments: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, *map(str, arguments), "--no_browser"], stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        lines: list[str] = []
        for line in self.process.stderr:
            lines.append(line)
            if found := re.search(r"http://127\.0\.0\.1:(\d+)/\?token=(\S+)", line):
                self.address, self.port, self.token = found[0], int(found[1]), found[2]
                return
        raise AssertionError("".join(lines))

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        self.process.kill()
        self.process.wait()
        if self.process.stderr is not None:
            self.process.stderr.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


class OwnServer(Client):
    """The server of some cases in a thread of this process."""

    def __init__(self, cases: Cases) -> None:
        self.token = "token-of-a-test"
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        config = uvicorn.Config(server_of(cases, self.port, self.token), log_level="warning", ws="none")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._listener]})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._listener.close()
