"""The routes of the page: its own files, the cases, slices of images and masks, and one route for all actions.

    GET  /                the page            GET /page.js, /page.css   its files
    GET  /cases           every case: begun, finished, in order; the classes
    GET  /case?case=      the case's grid, planes and windows, and its state
    GET  /state?case=     its state alone: version, prompts, undo and redo, and every case as in /cases
    GET  /image?case=&channel=&plane=&index=    uint16 little-endian, rows from top to bottom
    GET  /mask?case=&plane=&index=              label values, uint16 in the same way
    POST /action          see `requests.Request`; answers with the state

What is wrong is one JSON object with `rule`, `where`, `found`, `mend` and `message`, and the server goes on.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from samunet.annotation.guard import HEADERS, App, Guard, problem
from samunet.annotation.planes import PLANES
from samunet.annotation.requests import MOST_BYTES, decoded
from samunet.dataset.label_colours import COLOURS
from samunet.errors import UserError

if TYPE_CHECKING:
    from samunet.annotation.cases import Cases

FILES = {"page.js": "text/javascript", "page.css": "text/css"}


def server_of(cases: Cases, port: int, token: str) -> App:
    """The whole ASGI application, guarded."""
    answers = {"/cases": _Answers.cases, "/case": _Answers.case, "/state": _Answers.state, "/image": _Answers.image,
               "/mask": _Answers.mask}
    held = _Answers(cases, token)
    routes = [Route("/", _threaded(held, _Answers.page)),
              *(Route(f"/{name}", _threaded(held, _Answers.file)) for name in FILES),
              *(Route(path, _threaded(held, answer)) for path, answer in answers.items()),
              Route("/action", held.action, methods=["POST"])]
    return Guard(Starlette(routes=routes, exception_handlers={HTTPException: _unknown_route}), port, token)


class _Answers:
    """What each route answers."""

    def __init__(self, cases: Cases, token: str) -> None:
        self.all, self.token = cases, token

    def page(self, request: Request) -> Response:
        text = resources.files("samunet.annotation").joinpath("page", "index.html").read_text(encoding="utf-8")
        colours = json.dumps(COLOURS)  # numbers alone, so nothing in it ends the attribute
        return HTMLResponse(text.replace("{token}", self.token).replace("{colours}", colours))

    def file(self, request: Request) -> Response:
        name = request.url.path.removeprefix("/")
        text = resources.files("samunet.annotation").joinpath("page", name).read_text(encoding="utf-8")
        return Response(text, media_type=FILES[name])

    def cases(self, request: Request) -> Response:
        return JSONResponse(self.all.to_json())

    def case(self, request: Request) -> Response:
        opened = self.all.opened(request.query_params.get("case", ""))
        return JSONResponse({**opened.display.to_json(), "state": opened.state(), **self.all.to_json()})

    def state(self, request: Request) -> Response:
        opened = self.all.opened(request.query_params.get("case", ""))
        return JSONResponse({"state": opened.state(), **self.all.to_json()})

    def image(self, request: Request) -> Response:
        display = self.all.opened(request.query_params.get("case", "")).display
        channel = _number(request, "channel", len(display.levels))
        plane = _number(request, "plane", len(PLANES))
        index = _number(request, "index", display.shape[PLANES[plane].axis])
        return _voxels(display.slice_of(display.levels[channel], plane, index))

    def mask(self, request: Request) -> Response:
        opened = self.all.opened(request.query_params.get("case", ""))
        plane = _number(request, "plane", len(PLANES))
        index = _number(request, "index", opened.display.shape[PLANES[plane].axis])
        mask = opened.display.turn.apply(opened.mask())
        return _voxels(opened.display.slice_of(mask, plane, index))

    async def action(self, request: Request) -> Response:
        """Read the body up to its bound, then act in a thread of its own."""
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > MOST_BYTES:
                return problem(UserError(f"A request must have at most {MOST_BYTES} bytes.", found="more",
                                         mend="Send shorter strokes."), 413)
        return await run_in_threadpool(_guarded, lambda: JSONResponse(self._act(body)))

    def _act(self, body: bytes) -> dict[str, object]:
        request = decoded(body)
        state = self.all.act(request.case, request.action, request.version)
        return {"state": state, **self.all.to_json()}


def _threaded(held: _Answers, answer: Callable[[_Answers, Request], Response]) -> Callable[[Request], Response]:
    """A route's function; Starlette runs plain functions in threads."""

    def route(request: Request) -> Response:
        return _guarded(lambda: answer(held, request))

    return route


def _guarded(answer: Callable[[], Response]) -> Response:
    """The answer with the page's headers, or what is wrong as JSON."""
    try:
        response = answer()
    except UserError as fault:
        return problem(fault, 400)
    except MemoryError:
        return problem(UserError("The image must fit into memory.", found="not enough memory",
                                 mend="End other programs, or use a machine with more memory."), 500)
    except Exception as fault:  # noqa: BLE001 - the server goes on; the traceback is in its own window
        traceback.print_exception(fault)
        return problem(UserError("This is a fault of samunet.", found=f"{type(fault).__name__}: {fault}"[:300],
                                 mend="Report the traceback that samunet_annotate printed."), 500)
    response.headers.update(HEADERS)
    return response


def _unknown_route(request: Request, fault: Exception) -> Response:
    assert isinstance(fault, HTTPException)
    return problem(UserError("The address must be one of the page.", found=f"{request.method} {request.url.path}"[:200],
                             mend="Open the address that samunet_annotate printed."), fault.status_code)


def _number(request: Request, name: str, count: int) -> int:
    """Query parameter `name`, a whole number below `count`."""
    text = request.query_params.get(name, "")
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text) < count):
        raise UserError(f"`{name}` must be a whole number from 0 to {count - 1}.", where="request", found=text[:50])
    return int(text)


def _voxels(array: np.ndarray) -> Response:
    return Response(array.astype("<u2").tobytes(), media_type="application/octet-stream")
