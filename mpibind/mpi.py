"""Binding the ranks of an MPI program: ``mpibind.mpi.bind(comm)``."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

try:
    from mpi4py import MPI
except ImportError as error:
    # mpi4py itself may be there and its MPI library may not: the cause says which.
    raise ImportError(
        f"mpibind.mpi needs mpi4py ({error}); pip install 'mpibind[mpi]' brings it"
    ) from error

from mpibind import errors
from mpibind.binding import Binding, Part, parts
from mpibind.topology import Topology, load

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mpibind.mapping import Mapping


def bind(
    comm: MPI.Intracomm | None = None,
    *,
    nthreads: int = 0,
    greedy: bool = True,
    gpu_optim: bool = True,
    smt: int = 0,
    restrict_ids: str | Iterable[int] | None = None,
    restrict_type: str = "cpu",
    topology: Topology | str | os.PathLike[str] | None = None,
    gpu_ids: str = "index",
    apply: bool = True,
    env: bool = True,
    omp_affinity: bool = False,
    verbose: bool = False,
) -> Binding:
    """Map the ranks of each node to its hardware and bind the calling process.

    Collective over `comm`. One rank of each node discovers the node and maps all its ranks; the
    others receive their own part of the answer. Then each rank binds all its threads and sets
    ``OMP_NUM_THREADS`` and the variable that shows it its GPUs.

    Parameters
    ----------
    comm : mpi4py.MPI.Intracomm, optional
        The ranks to bind; ``MPI.COMM_WORLD`` without.
    nthreads, greedy, gpu_optim, smt, restrict_ids, restrict_type, gpu_ids
        As in `mpibind.Topology.map`.
    topology : Topology or path-like, optional
        The machine to map to, or its hwloc XML; each node itself without.
    apply : bool
        Whether to bind.
    env : bool
        Whether to set the variables.
    omp_affinity : bool
        Whether to also pin OpenMP's threads (``OMP_PLACES``, ``OMP_PROC_BIND``).
    verbose : bool
        Whether rank 0 prints a line for each rank, in the order of ranks.

    Returns
    -------
    Binding

    Raises
    ------
    MpibindError
        If anything fails on any rank. All ranks raise the same error, which names the rank, its
        host and the cause, and all are as they were before.

    Examples
    --------
    >>> import mpibind.mpi
    >>> binding = mpibind.mpi.bind()
    >>> binding.applied
    True
    >>> binding.restore()
    """
    comm = MPI.COMM_WORLD if comm is None else comm
    node = comm.Split_type(MPI.COMM_TYPE_SHARED, key=comm.rank)
    try:
        mapping: Mapping | None = None
        sent: list[Part | Exception] | None = None
        if node.rank == 0:
            try:
                mapping = load(topology).map(
                    node.size,
                    nthreads=nthreads,
                    greedy=greedy,
                    gpu_optim=gpu_optim,
                    smt=smt,
                    restrict_ids=restrict_ids,
                    restrict_type=restrict_type,
                    gpu_ids=gpu_ids,
                )
                sent = [*parts(mapping, omp_affinity=omp_affinity)]
            except Exception as error:
                # The others are waiting for their parts: whatever it is, they must hear of it.
                sent = [error] * node.size
        part = node.scatter(sent)
        local_rank, local_size = node.rank, node.size
    finally:
        node.Free()

    binding: Binding | None = None
    failure: Exception | None = None
    if isinstance(part, Exception):
        failure = part
    else:
        try:
            binding = Binding(
                part,
                rank=comm.rank,
                size=comm.size,
                local_rank=local_rank,
                local_size=local_size,
                mapping=mapping,
            )
            if apply:
                binding.bind_process()
        except Exception as error:
            failure = error
    try:
        _raise_together(comm, failure)
    except BaseException:
        if binding is not None:
            binding.restore()
        raise
    assert binding is not None, "a rank without a failure has a binding"
    if env:
        binding.set_variables()
    if verbose:
        _print_lines(comm, str(binding))
    return binding


def _raise_together(comm: MPI.Intracomm, failure: Exception | None) -> None:
    """Raise the error of the lowest rank that has one on all ranks; return if no rank has one."""
    nobody = comm.size
    first = comm.allreduce(nobody if failure is None else comm.rank, op=MPI.MIN)
    if first == nobody:
        return
    told: tuple[str, str] | None = None
    if comm.rank == first:
        host = os.uname().nodename
        cause = failure if isinstance(failure, errors.MpibindError) else repr(failure)
        told = type(failure).__name__, f"rank {first} on {host}: {cause}"
    name, message = comm.bcast(told, root=first)
    kind = getattr(errors, name, errors.MpibindError)
    raise kind(message) from failure


def _print_lines(comm: MPI.Intracomm, line: str) -> None:
    lines = comm.gather(line)
    if lines is not None:
        print("\n".join(lines))
        sys.stdout.flush()
