"""Binding the ranks of an MPI program: ``mpibind.mpi.bind(comm)``."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NamedTuple

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
        sent: list[Part | _Failure] | None = None
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
                sent = [_Failure.of(error)] * node.size
        part = node.scatter(sent)
        local_rank, local_size = node.rank, node.size
    finally:
        node.Free()

    binding: Binding | None = None
    failure: _Failure | None = None
    if isinstance(part, _Failure):
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
            failure = _Failure.of(error)
    try:
        somebody_wants_lines = _agree(comm, failure, bool(verbose))
    except BaseException:
        if binding is not None:
            binding.restore()
        raise
    assert binding is not None, "a rank without a failure has a binding"
    if env:
        binding.set_variables()
    if somebody_wants_lines:
        _print_lines(comm, str(binding))
    return binding


class _Failure(NamedTuple):
    """An error on its way to other ranks. Not every exception can be sent; its text can."""

    kind: str
    text: str

    @classmethod
    def of(cls, error: Exception) -> _Failure:
        kind = type(error).__name__
        return cls(
            kind, str(error) if isinstance(error, errors.MpibindError) else f"{kind}: {error}"
        )


def _agree(comm: MPI.Intracomm, failure: _Failure | None, verbose: bool) -> bool:
    """Raise the error of the lowest rank that has one on all ranks, or say if any is verbose."""
    nobody = comm.size
    mine = (nobody if failure is None else comm.rank, not verbose)
    first, nobody_is_verbose = comm.allreduce(mine, op=MPI.MIN)  # of Python objects: min()
    if first == nobody:
        return not nobody_is_verbose
    told: _Failure | None = None
    if comm.rank == first and failure is not None:
        place = f"rank {first} on {os.uname().nodename}"
        told = _Failure(failure.kind, f"{place}: {failure.text}")
    kind, text = comm.bcast(told, root=first)
    raise getattr(errors, kind, errors.MpibindError)(text)


def _print_lines(comm: MPI.Intracomm, line: str) -> None:
    lines = comm.gather(line)
    if lines is not None:
        print("\n".join(lines))
        sys.stdout.flush()
