"""A web server on this machine that can cut, stall, lie and refuse."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


@dataclass
class Server:
    """One file per path, each with a way to misbehave, and the paths and ranges that were asked for."""

    body: bytes = b""  # of a path added without one
    url: str = ""
    bodies: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    ranges: list[str | None] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    def add(self, path: str, body: bytes | None = None, fault: str = "") -> str:
        self.bodies[path], self.faults[path] = self.body if body is None else body, fault
        return self.url + path


def handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body, fault = server.bodies.get(self.path), server.faults.get(self.path, "")
            asked = self.headers.get("Range")
            server.ranges.append(asked)
            server.paths.append(self.path)
            if body is None:
                self.send_error(404)
                return
            start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and fault != "ignores ranges" else 0
            if asked and start >= len(body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(body)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206 if asked and fault != "ignores ranges" else 200)
            if asked and fault != "ignores ranges":
                start = 0 if fault == "wrong range" else start
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            end = start + int(fault.removeprefix("cut ")) if fault.startswith("cut ") else len(body)
            end = 20_000 if fault == "stalls" else end
            self.wfile.write(body[start:end])
            if fault == "stalls":
                server.released.wait(30)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@contextmanager
def serving(monkeypatch: pytest.MonkeyPatch, body: bytes = b"") -> Iterator[Server]:
    """Serve until the block ends."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    state = Server(body)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler(state)) as http:
        state.url = f"http://127.0.0.1:{http.server_port}/"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield state
        state.released.set()
        http.shutdown()
        thread.join()
