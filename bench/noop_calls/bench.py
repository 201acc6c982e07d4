"""One system, 1 000 no-op calls after a warm-up: `system wall_s cpu_s pids`."""

import os
import sys
import time

from processes import cpu_seconds, tree

CALLS = 1000


def noop(_):
    return os.getpid(), time.time()


def measure(name, batch):
    batch(64)  # warm-up
    time.sleep(1)
    before, started = cpu_seconds(tree(os.getpid())), time.perf_counter()
    results = batch(CALLS)
    wall, cpu = time.perf_counter() - started, cpu_seconds(tree(os.getpid())) - before
    assert len(results) == CALLS
    print(f"{name:10} {wall:7.3f} {cpu:7.2f}   {len({pid for pid, _ in results})} pids")


def neardata():
    import neardata

    with neardata.Executor(workers=2) as executor:
        measure("neardata", lambda count: [future.result() for future in executor.map(noop, range(count))])


def bare():
    import multiprocessing

    def loop(connection):
        while (value := connection.recv()) is not None:
            connection.send(noop(value))

    pairs = [multiprocessing.Pipe() for _ in range(2)]
    workers = [multiprocessing.Process(target=loop, args=(theirs,)) for _, theirs in pairs]
    [worker.start() for worker in workers]

    def batch(count):
        results = []
        for value in range(0, count, 2):
            [ours.send(value) for ours, _ in pairs]
            results += [ours.recv() for ours, _ in pairs]
        return results

    measure("bare", batch)
    [ours.send(None) for ours, _ in pairs]


def ray():
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    remote = ray.remote(noop)
    measure("ray", lambda count: ray.get([remote.remote(value) for value in range(count)]))


def dask():
    from distributed import Client

    with Client(n_workers=2, threads_per_worker=1, dashboard_address=None) as client:
        measure("dask", lambda count: client.gather(client.map(noop, range(count), pure=False)))


if __name__ == "__main__":
    {"neardata": neardata, "bare": bare, "ray": ray, "dask": dask}[sys.argv[1]]()
