"""Serve a folder on this machine only, and open it in the browser.

python tools/serve.py FOLDER [PORT]
"""

from __future__ import annotations

import sys
import webbrowser
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

USUAL_PORT = 8000


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing for each request."""


def open_server(folder: str, port: int | None) -> ThreadingHTTPServer:
    """Bind the port asked for; with none asked for, the usual one or any that is free."""
    handler = partial(QuietHandler, directory=folder)
    if port is not None:
        return ThreadingHTTPServer(("127.0.0.1", port), handler)
    try:
        return ThreadingHTTPServer(("127.0.0.1", USUAL_PORT), handler)
    except OSError:
        return ThreadingHTTPServer(("127.0.0.1", 0), handler)


def main(arguments: list[str]) -> int:
    if len(arguments) not in (1, 2):
        return complain("usage: python tools/serve.py FOLDER [PORT]")
    folder, port = arguments[0], arguments[1] if len(arguments) == 2 else None
    if not Path(folder).is_dir():
        return complain(f"there is no folder {folder}: `make book` builds the site")
    if port is not None and not (port.isdecimal() and 0 < int(port) < 65536):
        return complain(f"a port is a number from 1 to 65535, got {port!r}")
    try:
        server = open_server(folder, int(port) if port else None)
    except OSError as error:
        return complain(
            f"port {port} can't be used ({error.strerror}): give another, such as "
            "`make serve PORT=8001`, or none to have a free one chosen"
        )
    url = f"http://127.0.0.1:{server.server_port}/"
    print(f"Serving {folder} at {url} (Ctrl-C stops)", flush=True)
    webbrowser.open(url)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print()
    return 0


def complain(sentence: str) -> int:
    print(f"serve: {sentence}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
