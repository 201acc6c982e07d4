"""What a tree of processes uses: CPU seconds and proportional memory, read from /proc."""

import os
import threading
import time

TICK = os.sysconf("SC_CLK_TCK")


def tree(root: int) -> list[int]:
    """The process and everything below it."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as stat:
                    parent = int(stat.read().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry))
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += children.get(pid, [])
    return found


def cpu_seconds(pids: list[int]) -> float:
    """User and system time of these processes and of the children they have reaped."""
    ticks = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat") as stat:
                fields = stat.read().rpartition(")")[2].split()
            ticks += sum(int(field) for field in fields[11:15])
        except OSError:
            pass
    return ticks / TICK


def pss_bytes(pid: int) -> int:
    """Proportional set size of one process."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as rollup:
            return next((int(line.split()[1]) * 1024 for line in rollup if line.startswith("Pss:")), 0)
    except OSError:
        return 0


class PeakPss(threading.Thread):
    """Samples the memory of a tree until stopped; `peak` is the largest sum, `processes` the parts of it by command line."""

    def __init__(self, root: int, every: float = 0.2):
        super().__init__(daemon=True)
        self.root, self.every, self.peak, self.processes, self.running = root, every, 0, {}, True

    def run(self):
        while self.running:
            parts = {pid: pss_bytes(pid) for pid in tree(self.root)}
            if sum(parts.values()) > self.peak:
                self.peak = sum(parts.values())
                self.processes = {pid: (command(pid), size) for pid, size in parts.items()}
            time.sleep(self.every)

    def stop(self):
        self.running = False
        self.join()


def command(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as line:
            return " ".join(os.path.basename(word) for word in line.read().decode(errors="replace").split("\0")[:3]).strip()
    except OSError:
        return "?"
