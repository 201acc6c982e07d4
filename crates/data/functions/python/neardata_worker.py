"""The Python worker of NearData: runs the calls that its engine sends, one after the other, on the main thread.

It needs the standard library and cloudpickle only; if the environment has no cloudpickle, the vendored one beside this file is
used. What it says and hears is described in docs/design/spine.md ("Worker protocol").
"""

import io
import json
import os
import pickle
import socket
import struct
import sys
import threading
import traceback
from collections import OrderedDict, deque
from queue import SimpleQueue

PROTOCOL = 1
FUNCTIONS_KEPT = 16  # the engine counts the same way
MAX_PAYLOAD = 256 << 20
LENGTHS = struct.Struct(">II")


class Channel:
    """Frames on a socket; sending is safe from any thread."""

    def __init__(self, path):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(path)
        self._buffer = bytearray()
        self._lock = threading.Lock()

    def send(self, header, payload=b""):
        lengths = LENGTHS.pack(len(header), len(payload))
        with self._lock:
            if len(payload) < 65536:
                self._socket.sendall(lengths + header + payload)
            else:
                self._socket.sendall(lengths + header)
                self._socket.sendall(payload)

    def receive(self):
        """The next header and payload; None when the engine is gone."""
        while True:
            buffer = self._buffer
            if len(buffer) >= 8:
                header, payload = LENGTHS.unpack_from(buffer)
                end = 8 + header + payload
                if len(buffer) >= end:
                    frame = json.loads(buffer[8 : 8 + header]), bytes(memoryview(buffer)[8 + header : end])
                    self._buffer = buffer[end:]
                    return frame
            data = self._socket.recv(1 << 18)
            if not data:
                return None
            buffer += data


class LogStream(io.RawIOBase):
    """Standard output and error of user code: lines go to the job's log, with the call that wrote them."""

    def __init__(self, worker, descriptor):
        self._worker = worker
        self._descriptor = descriptor

    def writable(self):
        return True

    def fileno(self):
        return self._descriptor

    def write(self, data):
        self._worker.channel.send(b'{"type":"log","lease":%d}' % self._worker.lease, bytes(data))
        return len(data)


class Function:
    """A function as it was shipped, loaded at its first call."""

    def __init__(self, data):
        self._data = data
        self._loaded = None

    def __call__(self, arguments):
        if self._data is not None:
            self._loaded = pickle.loads(self._data)
            self._data = None
        args, kwargs = pickle.loads(arguments)
        return self._loaded(*args, **kwargs)


class Worker:
    def __init__(self, channel):
        self.channel = channel
        self.lease = 0  # of the call that runs
        self._functions = OrderedDict()
        self._queue = deque()
        self._wake = SimpleQueue()

    def start(self):
        """Listen to the engine on a thread of its own; user code has the main thread."""
        threading.Thread(target=self._listen, name="neardata-listener", daemon=True).start()
        for name, descriptor in (("stdout", 1), ("stderr", 2)):
            raw = io.BufferedWriter(LogStream(self, descriptor))
            stream = io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", line_buffering=True)
            setattr(sys, name, stream)

    def _listen(self):
        try:
            while True:
                frame = self.channel.receive()
                if frame is None:
                    break
                self._obey(*frame)
        finally:
            os._exit(0)  # the engine is gone, or told us to stop: nobody waits for what runs

    def _obey(self, header, payload):
        kind = header["type"]
        if kind == "calls":
            function = self._functions[header["function"]]
            at = 0
            for lease, length in header["calls"]:
                self._queue.append((lease, function, payload[at : at + length]))
                at += length
            self._wake.put(None)
        elif kind == "function":
            self._functions[header["id"]] = Function(payload)
            if len(self._functions) > FUNCTIONS_KEPT:
                self._functions.popitem(last=False)
        elif kind == "return":
            leases = []
            while True:
                try:
                    leases.append(self._queue.pop()[0])
                except IndexError:
                    break
            self.channel.send(json.dumps({"type": "returned", "leases": leases[::-1]}).encode())
        elif kind == "stop":
            os._exit(0)

    def run(self):
        while True:
            try:
                lease, function, arguments = self._queue.popleft()
            except IndexError:
                self._wake.get()
                continue
            self.lease = lease
            try:
                payload = dump(function(arguments))
                if len(payload) > MAX_PAYLOAD:
                    raise OverflowError(f"the result has {len(payload)} bytes, more than {MAX_PAYLOAD}; write it to an object")
                header = b'{"type":"value","lease":%d}' % lease
            except BaseException as error:
                header, payload = describe(lease, error)
            sys.stdout.flush()
            sys.stderr.flush()
            self.channel.send(header, payload)
            function = arguments = payload = None  # do not hold memory while waiting


def dump(value):
    """Pickle by reference if that works, else by value."""
    try:
        return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    except Exception:
        import cloudpickle

        return cloudpickle.dumps(value, pickle.HIGHEST_PROTOCOL)


def describe(lease, error):
    """An exception as header and payload: one line, the traceback without our own frames, and the pickle if it can be read back."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename == __file__:
        frames = frames.tb_next
    try:
        message = f"{type(error).__name__}: {error}"
    except Exception:
        message = type(error).__name__
    try:
        text = "".join(traceback.format_exception(type(error), error, frames))
    except Exception:
        text = message
    try:
        data = dump(error)
        if not isinstance(pickle.loads(data), BaseException) or len(data) > MAX_PAYLOAD:
            data = b""
    except BaseException:
        data = b""
    header = {"type": "raised", "lease": lease, "message": message[:10000], "traceback": text[-200000:]}
    return json.dumps(header).encode("utf-8", "backslashreplace"), data


def main():
    channel = Channel(os.environ["NEARDATA_WORKER_SOCKET"])
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [*json.loads(os.environ["NEARDATA_WORKER_PATH"]), os.path.join(here, "vendor")]
    hello = {
        "type": "hello",
        "protocol": PROTOCOL,
        "version": ".".join(map(str, sys.version_info[:3])),
        "kind": "python",
        "pid": os.getpid(),
        "slots": 1,
        "id": os.environ["NEARDATA_WORKER_ID"],
    }
    for name in ("NEARDATA_WORKER_SOCKET", "NEARDATA_WORKER_ID", "NEARDATA_WORKER_PATH"):
        del os.environ[name]
    channel.send(json.dumps(hello).encode())
    worker = Worker(channel)
    worker.start()
    worker.run()


if __name__ == "__main__":
    main()
