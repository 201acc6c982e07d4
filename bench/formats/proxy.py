"""A TCP relay that counts what goes through it: bytes towards the client, and GET requests."""

import socket
import threading


class CountingProxy:
    """Relays connections to `target`; `bytes` and `requests` count until they are set back."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target, self.bytes, self.requests = target, 0, 0
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def reset(self) -> None:
        self.bytes = self.requests = 0

    def _accept(self) -> None:
        while True:
            client, _ = self.listener.accept()
            server = socket.create_connection(self.target)
            for side in (client, server):
                side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._relay, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self._relay, args=(server, client, True), daemon=True).start()

    def _relay(self, source: socket.socket, target: socket.socket, down: bool) -> None:
        try:
            while data := source.recv(1 << 20):
                with self.lock:
                    if down:
                        self.bytes += len(data)
                    else:
                        self.requests += data.count(b"GET /")
                target.sendall(data)
        except OSError:
            pass
        finally:
            for side in (source, target):
                try:
                    side.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
