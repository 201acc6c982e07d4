"""A job service in this process that speaks the protocol's client side: it runs calls on threads and can misbehave on demand."""

from __future__ import annotations

import base64
import concurrent.futures
import json
import pickle
import threading
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Event = dict[str, Any]


class FakeJob:
    """Events of one job; readers wait for more."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.more = threading.Condition()
        self.cancelled: set[int] = set()

    def add(self, **event: Any) -> None:
        with self.more:
            self.events.append({"seq": len(self.events) + 1, "t": 0.0, **event})
            self.more.notify_all()


class FakeService:
    """Serves on a local port; `jobs`, `requests` and `cancels` tell what came."""

    def __init__(self, workers: int = 4) -> None:
        self.jobs: dict[str, FakeJob] = {}
        self.requests: list[dict[str, Any]] = []
        self.cancels: list[dict[str, Any]] = []
        self.connections: list[str] = []
        self.token = "secret"
        self.protocol = "1"
        self.drop_after: int | None = None  # close each event stream after so many events, once a job
        self.forgets = False  # lose all jobs at that moment
        self.hold = threading.Event()  # calls wait for it
        self.hold.set()
        self.results: dict[str, Event] = {}  # of cached calls
        self.script: list[Event] | None = None  # events of the next jobs, instead of running their calls
        self.pool = concurrent.futures.ThreadPoolExecutor(workers)
        service = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args: Any) -> None:
                pass

            def do_GET(self) -> None:
                service.get(self)

            def do_POST(self) -> None:
                service.post(self)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign] # clients that went away
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self.hold.set()
        self.server.shutdown()
        self.server.server_close()
        self.pool.shutdown()

    def answer(self, handler: BaseHTTPRequestHandler, status: int, value: Any) -> None:
        body = json.dumps(value).encode()
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def refuse(self, handler: BaseHTTPRequestHandler, status: int, code: str, message: str, remedy: str = "") -> None:
        self.answer(handler, status, {"v": 1, "error": {"code": code, "message": message, "remedy": remedy}})

    def admits(self, handler: BaseHTTPRequestHandler) -> bool:
        self.connections.append(handler.path)
        if handler.headers.get("NearData-Protocol") != self.protocol:
            text = f"the service speaks protocol {self.protocol}, the client {handler.headers.get('NearData-Protocol')}"
            self.refuse(handler, 426, "protocol", text, "install the service's version")
            return False
        if handler.headers.get("Authorization") != f"Bearer {self.token}":
            self.refuse(handler, 401, "unauthorized", "the token is missing or wrong", 'run eval "$(neardata env)"')
            return False
        return True

    def post(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        if not self.admits(handler):
            return
        if handler.path == "/v1/calls":
            self.requests.append(body)
            name = f"job{len(self.requests)}"
            job = self.jobs[name] = FakeJob()
            self.answer(handler, 200, {"v": 1, "job": name})
            self.start(job, body)
            return
        job = self.jobs[handler.path.split("/")[3]]
        self.cancels.append(body)
        job.cancelled.update(body["calls"])
        for call in body["calls"]:
            job.add(type="call", stage="map", call=call, state="cancelled", attempt=1)
        self.answer(handler, 200, {"v": 1})

    def get(self, handler: BaseHTTPRequestHandler) -> None:
        if not self.admits(handler):
            return
        parts = urlsplit(handler.path)
        job = self.jobs.get(parts.path.split("/")[3])
        if job is None:
            self.refuse(handler, 404, "no_such_job", "there is no such job")
            return
        at = max(0, int(parse_qs(parts.query)["from"][0]) - 1)
        limit = self.drop_after
        self.drop_after = None
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(b"\n")
        sent = 0
        while limit is None or sent < limit:
            with job.more:
                while len(job.events) <= at:
                    job.more.wait()
                event = job.events[at]
            at += 1
            sent += 1
            handler.wfile.write(json.dumps(event).encode() + b"\n")
            if event["type"] == "job" and event["state"] != "running":
                return
        if self.forgets:
            self.jobs.clear()

    def start(self, job: FakeJob, body: dict[str, Any]) -> None:
        job.add(type="job", state="running")
        job.add(type="stage", stage="map", calls=len(body["calls"]))
        if self.script is not None:
            for event in self.script:
                job.add(**event)
            return
        function = pickle.loads(base64.b64decode(body["python"]["function"]))
        keys = body["options"]["cached"] or [None] * len(body["calls"])
        left = [len(keys)]
        lock = threading.Lock()

        def run(call: int, arguments: str, key: str | None) -> None:
            self.hold.wait()
            if call not in job.cancelled:
                self.run(job, call, function, arguments, key)
            with lock:
                left[0] -= 1
                if left[0] == 0:
                    job.add(type="job", state="done")

        for call, (arguments, key) in enumerate(zip(body["calls"], keys, strict=True)):
            self.pool.submit(run, call, arguments, key)

    def run(self, job: FakeJob, call: int, function: Any, arguments: str, key: str | None) -> None:
        if key in self.results:
            job.add(**{**self.results[key], "call": call, "state": "reused"})
            return
        job.add(type="call", stage="map", call=call, state="started", attempt=1, pid=4711, host="here")
        event: Event = {"type": "call", "stage": "map", "call": call, "attempt": 1}
        try:
            args, kwargs = pickle.loads(base64.b64decode(arguments))
            value = function(*args, **kwargs)
        except Exception as error:
            try:
                text = base64.b64encode(pickle.dumps(error)).decode()
            except Exception:
                text = None
            failure = {"cause": "exception", "message": repr(error), "traceback": traceback.format_exc(), "pickle": text}
            job.add(**event, state="failed", error=failure)
            return
        event |= {"state": "done", "value": base64.b64encode(pickle.dumps(value)).decode()}
        if key is not None:
            self.results[key] = event
        job.add(**event)
