"""Bind the workers of a multiprocessing pool: python workers_multiprocessing.py 3."""

import json
import multiprocessing
import os
import sys
import time

import mpibind


def start(counter, workers):
    # Counting on and on: a worker that is started in place of another takes its turn, too.
    with counter.get_lock():
        number = counter.value
        counter.value += 1
    binding = mpibind.bind(local_rank=number % workers, local_size=workers)
    os.environ["WORKER"] = str(binding.local_rank)


def where(_):
    time.sleep(0.5)  # so that each worker gets one
    return int(os.environ["WORKER"]), sorted(os.sched_getaffinity(0))


if __name__ == "__main__":
    workers = int(sys.argv[1])
    spawn = multiprocessing.get_context("spawn")
    arguments = (spawn.Value("i", 0), workers)
    with spawn.Pool(workers, initializer=start, initargs=arguments) as pool:
        print(json.dumps(pool.map(where, range(workers), chunksize=1)))
