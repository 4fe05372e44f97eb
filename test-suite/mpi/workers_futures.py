"""Bind the workers of a process pool of concurrent.futures: python workers_futures.py 3."""

import json
import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor

import mpibind


def start(counter, workers):
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
    pool = ProcessPoolExecutor(workers, mp_context=spawn, initializer=start, initargs=arguments)
    with pool:
        print(json.dumps([*pool.map(where, range(workers))]))
