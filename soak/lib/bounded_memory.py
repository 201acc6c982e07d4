"""Runs a command and prints the peak resident memory of every kind of process it starts; fails above 1 GiB for any one process."""

import os
import subprocess
import sys
import time

from processes import command, tree

LIMIT = 1 << 30
environment = {name: value for name, value in os.environ.items() if not name.startswith(("NEARDATA_", "AWS_"))}
child = subprocess.Popen(sys.argv[1:], env=environment)
peaks: dict[str, int] = {}
while child.poll() is None:
    for pid in tree(child.pid):
        try:
            with open(f"/proc/{pid}/status") as status:
                peak = next((int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:")), 0)
        except OSError:
            continue
        name = command(pid)
        peaks[name] = max(peaks.get(name, 0), peak)
    time.sleep(0.1)
for name, peak in sorted(peaks.items(), key=lambda item: -item[1]):
    print(f"{peak / 2**20:8.1f} MiB  {name}")
worst = max(peaks.values())
if child.returncode or worst > LIMIT:
    sys.exit(f"exit code {child.returncode}, largest process {worst / 2**20:.0f} MiB, limit {LIMIT / 2**20:.0f} MiB")
