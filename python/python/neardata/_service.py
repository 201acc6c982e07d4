"""The client's side of the service protocol: HTTP over TCP or a Unix socket, with the standard library only."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ._errors import ServiceError, ServiceUnavailableError, VersionMismatchError

PROTOCOL = 1
CONNECT_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 120.0
MAX_HEAD = 64 * 1024


@dataclass(frozen=True)
class Address:
    """Where a service listens: `http://host:port`, `https://host:port` or `unix:/path`."""

    scheme: str
    host: str
    port: int
    path: str

    @staticmethod
    def parse(text: str) -> Address:
        """Read an address as `NEARDATA_API` gives it."""
        if text.startswith("unix:"):
            return Address("unix", "localhost", 0, text.removeprefix("unix:").removeprefix("//"))
        parts = urlsplit(text if "://" in text else f"http://{text}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ServiceError(f"`{text}` is not the address of a job service; write http://HOST:PORT", "bad_address")
        default_port = 443 if parts.scheme == "https" else 80
        return Address(parts.scheme, parts.hostname, parts.port or default_port, parts.path.rstrip("/"))

    def __str__(self) -> str:
        if self.scheme == "unix":
            return f"unix:{self.path}"
        return f"{self.scheme}://{self.host}:{self.port}{self.path}"

    def connect(self, timeout: float = CONNECT_TIMEOUT_S) -> socket.socket:
        """Open a connection."""
        if self.scheme == "unix":
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.settimeout(timeout)
            try:
                connection.connect(self.path)
            except OSError:
                connection.close()
                raise
            return connection
        connection = socket.create_connection((self.host, self.port), timeout)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.scheme == "https":
            import ssl

            return ssl.create_default_context().wrap_socket(connection, server_hostname=self.host)
        return connection

    def target(self, path: str) -> str:
        """Give the request target of `path` on this service."""
        return path if self.scheme == "unix" else self.path + path


def _receive_all(connection: socket.socket) -> bytes:
    pieces = []
    while piece := connection.recv(1 << 18):
        pieces.append(piece)
    return b"".join(pieces)


def read_head(data: bytes) -> tuple[int, bytes] | None:
    """Split an answer into its status and what follows its head; `None` while the head is incomplete."""
    head, separator, body = data.partition(b"\r\n\r\n")
    if not separator:
        if len(data) > MAX_HEAD:
            raise ValueError("the head of the answer is too long")
        return None
    words = head.split(b"\r\n", 1)[0].split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        raise ValueError("the answer is not HTTP")
    return int(words[1]), body


class Service:
    """Sends requests to one job service; may be used from any thread, as every request has a connection of its own.

    Requests speak HTTP/1.0: answers come unframed until the service closes the connection, so that a head and a few lines are
    all of HTTP there is to know. (`http.client` and what it imports would double the time of `import neardata`.)
    """

    def __init__(self, address: Address, token: str | None = None) -> None:
        self.address = address
        self._head = f"Host: {address.host}\r\nNearData-Protocol: {PROTOCOL}\r\n"
        if token:
            self._head += f"Authorization: Bearer {token}\r\n"

    def request(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        """Send one request and return the JSON answer; anything but success raises."""
        try:
            with self._send(method, path, body) as connection:
                answer = read_head(_receive_all(connection))
        except (OSError, ValueError) as error:
            raise self.unavailable(error) from error
        if answer is None:
            raise self.unavailable(ConnectionError("the connection was closed before the answer"))
        return self.decode(*answer)

    def post(self, path: str, value: dict[str, Any]) -> dict[str, Any]:
        """Post a JSON value."""
        return self.request("POST", path, json.dumps(value, separators=(",", ":")).encode())

    def open_stream(self, path: str) -> socket.socket:
        """Start a GET whose body goes on; the caller reads head and body from the socket."""
        try:
            return self._send("GET", path, None)
        except OSError as error:
            raise self.unavailable(error) from error

    def _send(self, method: str, path: str, body: bytes | None) -> socket.socket:
        head = f"{method} {self.address.target(path)} HTTP/1.0\r\n{self._head}"
        if body is not None:
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        connection = self.address.connect()
        try:
            connection.sendall(head.encode() + b"\r\n" + (body or b""))
        except (BrokenPipeError, ConnectionResetError):
            pass  # a service that refuses the body half-way says why in its answer
        except BaseException:
            connection.close()
            raise
        connection.settimeout(ANSWER_TIMEOUT_S)
        return connection

    def decode(self, status: int, body: bytes) -> dict[str, Any]:
        """Read the body of an answer, raising what it says if the status is not success."""
        try:
            value = json.loads(body) if body else {}
        except ValueError:
            value = None
        if isinstance(value, dict) and status < 300:
            return value
        error = value.get("error") if isinstance(value, dict) else None
        if not isinstance(error, dict):
            text = body[:200].decode("utf-8", "replace").strip()
            message = f"{self.address} answered {status}, not as a NearData job service does"
            raise ServiceError(f"{message}: {text}" if text else message, "not_neardata", "check NEARDATA_API")
        kind = VersionMismatchError if status == 426 else ServiceError
        raise kind(str(error.get("message", "")), str(error.get("code", "")), str(error.get("remedy") or ""))

    def unavailable(self, error: Exception) -> ServiceUnavailableError:
        """Name an address where nobody answers, and the remedy."""
        remedy = "start it with `neardata up`, or unset NEARDATA_API to run calls on this machine"
        if self.address.scheme == "unix":
            remedy = "the private engine may have ended; make a new neardata.Executor"
        message = f"the job service at {self.address} does not answer ({error or type(error).__name__})"
        return ServiceUnavailableError(message, "unavailable", remedy)
