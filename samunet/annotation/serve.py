"""Start the server on 127.0.0.1 and open the page."""

from __future__ import annotations

import secrets
import socket
import webbrowser

from samunet.annotation.cases import Cases
from samunet.annotation.server import server_of
from samunet.console import say
from samunet.errors import UserError

HOST = "127.0.0.1"


def serve(cases: Cases, port: int, *, browser: bool) -> None:
    """Serve the page until the process is interrupted.

    Arguments:
        port: 0 chooses a free one.
        browser: also open the page in the machine's browser.

    Raises:
        UserError: the port is taken.
    """
    import uvicorn

    with _listening(port) as listener:
        number, token = listener.getsockname()[1], secrets.token_urlsafe(32)
        address = f"http://{HOST}:{number}/?token={token}"
        config = uvicorn.Config(server_of(cases, number, token), log_level="warning", access_log=False, ws="none",
                                server_header=False, timeout_graceful_shutdown=2)
        say(f"{len(cases.order)} cases, {cases.finished_count()} finished. Ctrl-C ends the server; everything is "
            f"saved at once.\nopen: {address}")
        if browser:
            webbrowser.open(address)
        uvicorn.Server(config).run(sockets=[listener])


def _listening(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen()
    except OSError as fault:
        listener.close()
        raise UserError("The port must be free.", where=f"--port {port}", found=fault.strerror or str(fault),
                        mend="Leave --port out, which chooses a free one.") from fault
    return listener
