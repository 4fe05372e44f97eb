"""Binds the MPI engines of ipyparallel, as a notebook would, and prints what became of them."""

import json
import os
import sys

import ipyparallel


def bind(topology):
    import mpibind.mpi

    global binding
    binding = mpibind.mpi.bind(topology=topology, apply=topology is None)
    return binding


def mask():
    import os

    return sorted(os.sched_getaffinity(0))


def restore():
    binding.restore()


with ipyparallel.Cluster(engines="mpi", n=2, log_level=40) as ranks:
    view = ranks[:]
    before = view.apply_sync(mask)
    elsewhere = view.apply_sync(bind, os.path.abspath(sys.argv[1]))  # noqa: PTH100
    bound = view.apply_sync(bind, None)
    masks = view.apply_sync(mask)
    view.apply_sync(restore)
    after = view.apply_sync(mask)

told = {
    "elsewhere": [str(binding) for binding in elsewhere],
    "pictures": [binding._repr_html_().count("<svg") for binding in elsewhere],
    "bound": [sorted(binding.cpu_list) for binding in bound],
    "masks": masks,
    "restored": before == after,
}
print(json.dumps(told))
