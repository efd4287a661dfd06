"""Who may talk to the server: this machine's browser, on the server's own page, with the token it was given.

A page of another site can send requests to 127.0.0.1, and by DNS rebinding also under its own name. So three checks
come before everything else: the Host header is the server's own, an Origin header too if there is one, and the token,
which is new at each start, is in the header `X-Samunet-Token` or the query `token`. It is no cookie: browsers send
those of one port of 127.0.0.1 to every other port as well.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

from starlette.responses import JSONResponse

from samunet.errors import UserError

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# Nothing from other hosts is loaded, no other page frames this one, and the token is not passed on.
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class Guard:
    """ASGI middleware that refuses foreign requests with status 403."""

    def __init__(self, app: App, port: int, token: str) -> None:
        self.app, self.token = app, token
        self.hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        self.origins = {f"http://{host}" for host in self.hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass an allowed request on."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
        elif fault := self._refused(scope):
            await problem(fault, 403)(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _refused(self, scope: Scope) -> UserError | None:
        headers: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
        hosts, origins = headers.get("host", []), headers.get("origin", [])
        if len(hosts) != 1 or hosts[0] not in self.hosts:
            return UserError("Requests must name this server as their host.", found=f"Host: {', '.join(hosts)[:100]}",
                             mend="Open the address that samunet_annotate printed.")
        if any(origin not in self.origins for origin in origins):
            return UserError("Requests must come from this server's own page.", found=f"Origin: {origins[0][:100]}",
                             mend="Open the address that samunet_annotate printed.")
        query = parse_qs(scope["query_string"].decode("latin-1"))
        given = [*headers.get("x-samunet-token", []), *query.get("token", [])]
        # bytes: compare_digest refuses text with other letters than ASCII
        if not any(secrets.compare_digest(each.encode(), self.token.encode()) for each in given):
            return UserError("Requests must carry the token of this start of the server.",
                             found="another token" if given else "no token",
                             mend="Open the address that samunet_annotate printed; a new start has a new one.")
        return None


def problem(fault: UserError, status: int) -> JSONResponse:
    """`fault` as JSON: `rule`, `where`, `found`, `mend`, and all of it as `message`."""
    return JSONResponse({"rule": fault.rule, "where": fault.where, "found": fault.found, "mend": fault.mend,
                         "message": str(fault)}, status, HEADERS)
