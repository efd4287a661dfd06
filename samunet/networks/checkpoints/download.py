"""Download one large file over HTTP: resumable, checked by its SHA-256, and in place only when complete."""

from __future__ import annotations

import http.client
import os
import shutil
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from samunet.console import progress, say
from samunet.errors import UserError
from samunet.files import digest_of_file, writing
from samunet.locks import lock_beside, owned

CHUNK_BYTES = 2**20
TIMEOUT_S = 60


def fetch(url: str, target: Path, sha256_start: str) -> None:
    """Download `url` to `target`, through `<target>.part`, which continues an interrupted download.

    Arguments:
        sha256_start: the first hex digits of the file's SHA-256. A file with other digits is removed.

    Raises:
        UserError: no connection, a response other than the file, a broken connection, no space, or another digest.
    """
    if not url.startswith(("https://", "http://")):
        raise UserError("A checkpoint's address must begin with https:// or http://.", where="--url", found=url)
    with owned(lock_beside(target), target, wait=True):  # two calls would append to one file
        if not target.exists():
            _fetch(url, target, sha256_start)


def _fetch(url: str, target: Path, sha256_start: str) -> None:
    part = target.with_name(f"{target.name}.part")
    start = part.stat().st_size if part.exists() else 0
    try:
        with _answer(url, start) as answer:
            _append(answer, part, url)
    except HTTPError as fault:
        if fault.code != 416 or not start:  # 416: the partial file is already complete
            raise UserError("A checkpoint's address must lead to the file.", where=url,
                            found=f"{fault.code} {fault.reason}",
                            mend="Try again later, or give another address of the same file with --url.") from fault
    digest = digest_of_file(part)
    if not digest.startswith(sha256_start):
        part.unlink()
        raise UserError(f"The SHA-256 of {target.name} must begin with {sha256_start}.", where=url,
                        found=f"{digest[:12]}...; the downloaded file was removed",
                        mend="Run the command again, or give another address of the same file with --url.")
    os.replace(part, target)


def _answer(url: str, start: int) -> HTTPResponse:
    headers = {"Range": f"bytes={start}-"} if start else {}
    try:
        # `fetch` has checked that the address is http or https.
        answer: HTTPResponse = urlopen(Request(url, headers=headers), timeout=TIMEOUT_S)  # noqa: S310
        return answer
    except HTTPError:
        raise
    except (URLError, OSError, http.client.HTTPException) as fault:
        raise UserError("Downloading a checkpoint needs a connection to its server.", where=url,
                        found=str(getattr(fault, "reason", fault)) or type(fault).__name__,
                        mend="Connect and run the command again, or download the file elsewhere and put it into the "
                        "checkpoints folder.") from fault


def _append(answer: HTTPResponse, part: Path, url: str) -> None:
    """Append the server's data to `part`; start over if the server sends the whole file."""
    resumed = answer.status == 206
    missing = int(answer.headers.get("Content-Length", 0))
    free = shutil.disk_usage(part.parent).free
    if missing > free:
        raise UserError("The disk must have space for the checkpoint.", where=part.parent,
                        found=f"{missing / 1e6:.0f} MB needed, {free / 1e6:.0f} MB free",
                        mend="Free some space, or choose another folder with --checkpoints.")
    if resumed:
        say(f"continuing after {part.stat().st_size / 1e6:.0f} MB")
    count = -(-missing // CHUNK_BYTES)
    chunks = _chunks(answer, url, missing)
    with writing(part), open(part, "ab" if resumed else "wb") as stream:
        stream.writelines(progress(chunks, f"{part.stem}, MiB", count) if count else chunks)
        stream.flush()
        os.fsync(stream.fileno())


def _chunks(answer: HTTPResponse, url: str, missing: int) -> Iterator[bytes]:
    """The body in chunks; `missing` is its length according to the server, 0 if unknown."""
    received, reason = 0, "the server stopped sending"
    try:
        while chunk := answer.read(CHUNK_BYTES):
            received += len(chunk)
            yield chunk
    except (http.client.HTTPException, OSError) as fault:
        reason, missing = str(fault) or type(fault).__name__, max(missing, received + 1)
    if received < missing:
        raise UserError("A checkpoint's download must be complete.", where=url,
                        found=f"{reason} after {received / 1e6:.0f} of {missing / 1e6:.0f} MB",
                        mend="Run the same command again; it continues the download.")
