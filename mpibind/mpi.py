"""The ranks of an MPI program: ``mpibind.mpi.bind(comm)`` and what goes with it.

All functions are collective: every rank of the communicator calls them. What they send does not
depend on parameters, which may differ from rank to rank by mistake; and an error on one rank
becomes an error on all. So no rank is left waiting.
"""

from __future__ import annotations

import os
import time
import zlib
from itertools import chain

try:
    from mpi4py import MPI
except ImportError as error:
    # mpi4py itself may be there and its MPI library may not: the cause says which.
    raise ImportError(
        f"mpibind.mpi needs mpi4py ({error}); pip install 'mpibind[mpi]' brings it"
    ) from error

from mpibind import _core, errors, given
from mpibind.binding import Binding, map_node
from mpibind.launcher import Place
from mpibind.settings import Settings, resolve
from mpibind.topology import load
from mpibind.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any, TypeVar

    from mpibind.binding import Part
    from mpibind.mapping import Mapping
    from mpibind.reporting import Finding, Process, Rank
    from mpibind.topology import Topology

    _T = TypeVar("_T")
    _Told = TypeVar("_Told", bound="tuple[int, str, object]")


def bind(
    comm: MPI.Intracomm | None = None,
    *,
    nthreads: int = 0,
    greedy: bool | None = None,
    gpu_optim: bool | None = None,
    smt: int | None = None,
    restrict_ids: str | Iterable[int] | None = None,
    restrict_type: str | None = None,
    topology: Topology | str | os.PathLike[str] | None = None,
    gpu_ids: str = "index",
    apply: bool = True,
    env: bool = True,
    omp_affinity: bool = False,
    visible: str | None = None,
    respect: str = "cgroup",
    membind: str | None = None,
    verbose: bool | int | None = None,
    nics: bool | None = None,
) -> Binding:
    """Map the ranks of each node to its hardware and bind the calling process.

    Collective over `comm`. One rank of each node discovers the node and maps all its ranks; the
    others receive their own part of the answer. Then each rank binds all its threads and sets
    ``OMP_NUM_THREADS`` and the variable that shows it its GPUs.

    Parameters
    ----------
    comm : mpi4py.MPI.Intracomm, optional
        The ranks to bind; ``MPI.COMM_WORLD`` without.
    nthreads, gpu_ids
        As in `mpibind.Topology.map`.
    greedy, gpu_optim, smt, restrict_ids, restrict_type
        As in `mpibind.Topology.map`. If one is not given, ``MPIBIND``, ``MPIBIND_RESTRICT`` and
        ``MPIBIND_RESTRICT_TYPE`` count, and then the defaults there.
    topology : Topology or path-like, optional
        The machine to map to, or its hwloc XML; each node itself without. May differ from node to
        node.
    apply : bool
        Whether to bind.
    env : bool
        Whether to set the variables, and resize thread pools that are loaded already.
    omp_affinity : bool
        Whether to also pin OpenMP's threads (``OMP_PLACES``, ``OMP_PROC_BIND``).
    visible : {"own", "own-first", "off"}
        Which GPUs the rank is shown: its own; all of the node with its own first, as libraries
        want that copy from GPU to GPU; or whatever it sees now.
    respect : {"cgroup", "affinity"}
        What limits the CPUs: the job's cgroup, or the masks that the node's ranks have together,
        for jobs that share a node without cgroups.
    membind : {"bind", "preferred"}, optional
        Whether new memory of the calling thread, and of threads that start later, must come from
        the rank's NUMA nodes, or should.
    verbose : bool or int
        Whether rank 0 prints a line for each rank, in the order of ranks; 2 adds notes. It is
        enough that one rank asks.
    nics : bool
        Whether to name the closest network cards to UCX and NCCL (``UCX_NET_DEVICES``,
        ``NCCL_IB_HCA``), unless they are set already. If it is not given, ``MPIBIND`` counts; else
        it is False.

    Returns
    -------
    Binding

    Raises
    ------
    MpibindError
        If anything fails on any rank. All ranks raise the same error, which names the rank, its
        host and the cause, and all are as they were before. Ranks that ask for different things
        are an error, except for `apply`, `env` and `verbose`.
    InvalidParameterError
        If `comm` is an intercommunicator or was freed.
    UserWarning
        If a rank has a warning and it was made an error there; all ranks raise it.

    Examples
    --------
    >>> import mpibind.mpi
    >>> binding = mpibind.mpi.bind()
    >>> binding.applied
    True
    >>> binding.restore()
    """
    return _together(
        comm,
        lambda: resolve(
            nthreads=nthreads,
            greedy=greedy,
            gpu_optim=gpu_optim,
            smt=smt,
            restrict_ids=restrict_ids,
            restrict_type=restrict_type,
            topology=topology,
            gpu_ids=gpu_ids,
            apply=apply,
            env=env,
            omp_affinity=omp_affinity,
            visible=visible,
            respect=respect,
            membind=membind,
            verbose=verbose,
            nics=nics,
        ),
    )


def map(  # shadows a builtin, under the name that Topology.map has
    comm: MPI.Intracomm | None = None,
    *,
    nthreads: int = 0,
    greedy: bool | None = None,
    gpu_optim: bool | None = None,
    smt: int | None = None,
    restrict_ids: str | Iterable[int] | None = None,
    restrict_type: str | None = None,
    topology: Topology | str | os.PathLike[str] | None = None,
    gpu_ids: str = "index",
    respect: str = "cgroup",
    verbose: bool | int | None = None,
) -> Binding:
    """Tell where `bind` would put the calling process. Nothing is bound or set.

    Collective over `comm`; parameters and errors are those of `bind`.

    Returns
    -------
    Binding
        With ``applied`` False and an empty ``env``.

    Examples
    --------
    >>> import mpibind.mpi
    >>> there = mpibind.mpi.map(topology="test-suite/topologies/power9-ac922-4gpu.xml")
    >>> there.nthreads, there.gpus
    (160, ('0', '1', '2', '3'))
    """
    return _together(
        comm,
        lambda: resolve(
            nthreads=nthreads,
            greedy=greedy,
            gpu_optim=gpu_optim,
            smt=smt,
            restrict_ids=restrict_ids,
            restrict_type=restrict_type,
            topology=topology,
            gpu_ids=gpu_ids,
            apply=False,
            env=False,
            respect=respect,
            verbose=verbose,
        ),
    )


def get_mapping(
    comm: MPI.Intracomm | None = None, verbose: bool | int | None = None
) -> dict[str, int | list[int] | list[str]]:
    """Tell where `bind` would put the calling process, in the classic library's form.

    Collective over `comm`; nothing is bound or set.

    Returns
    -------
    dict
        ``nthreads`` (int), ``cpus`` (list of int, OS ids) and ``gpus`` (list of str).

    Raises
    ------
    MpibindError
        As `bind`.

    Examples
    --------
    >>> import mpibind.mpi
    >>> sorted(mpibind.mpi.get_mapping())
    ['cpus', 'gpus', 'nthreads']
    """
    there = map(comm, verbose=verbose)
    return {"nthreads": there.nthreads, "cpus": list(there.cpu_list), "gpus": list(there.gpus)}


def report(
    comm: MPI.Intracomm | None = None,
    *,
    topology: Topology | str | os.PathLike[str] | None = None,
    as_dict: bool = False,
) -> dict[str, Any] | None:
    """Print what the ranks are really bound to, and what is wrong with that.

    Collective over `comm`. Rank 0 prints a line for each rank, in the order of ranks, as `bind`
    does but with what the kernel says: the CPUs of all threads together. A line for each finding
    follows: CPUs that ranks share, more threads than CPUs, ranks across NUMA domains, GPUs far from
    their rank, a CPU quota below the CPUs.

    Parameters
    ----------
    comm : mpi4py.MPI.Intracomm, optional
        The ranks to look at; ``MPI.COMM_WORLD`` without.
    topology : Topology or path-like, optional
        As in `mpibind.report`; that of each node's first rank counts.
    as_dict : bool
        Whether rank 0 returns it instead of printing.

    Returns
    -------
    dict or None
        On rank 0 with `as_dict`, as of `mpibind.report`; None elsewhere.

    Examples
    --------
    >>> import mpibind.mpi
    >>> found = mpibind.mpi.report(as_dict=True)
    >>> found["ranks"][0]["local_size"]
    1
    """
    from mpibind.reporting import as_dictionary, lines, look

    comm = _checked(comm)
    node = comm.Split_type(MPI.COMM_TYPE_SHARED, key=comm.rank)
    try:
        regrouped = _regroup(comm, node) if comm.allreduce(node.size == 1, op=MPI.LOR) else None
        if regrouped is not None:
            node.Free()
            node = regrouped
        failure: _Failure | None = None
        seen: Process | None = None
        try:
            seen = look(Place(node.rank, node.size, comm.rank, comm.size))
        except _FAILURES as error:
            failure = _Failure.of(error)
        processes = node.gather(seen)
    finally:
        node.Free()
    examined: tuple[list[Rank], list[Finding]] | None = None
    if processes is not None and None not in processes:
        try:
            examined = _examine(processes, topology)
        except _FAILURES as error:
            failure = _Failure.of(error)
    _raise_first(comm, failure)
    found = _gather_last(comm, examined)
    if found is None:
        return None
    told = [of_node for of_node in found if of_node is not None]
    ranks = sorted(chain.from_iterable(ranks for ranks, _ in told), key=_rank_of)
    findings = [*chain.from_iterable(findings for _, findings in told)]
    if as_dict:
        return as_dictionary(ranks, findings)
    print("\n".join(lines(ranks, findings)), flush=True)
    return None


def _examine(
    processes: list[Process], topology: Topology | str | os.PathLike[str] | None
) -> tuple[list[Rank], list[Finding]]:
    """Examine a node. That it cannot be discovered is a finding."""
    from mpibind.reporting import examine

    try:
        node: Topology | BaseException = load(topology)
    except _FAILURES as error:
        node = error
    return examine(processes, node)


def _rank_of(rank: Rank) -> int:
    return rank.process.place.rank


# ------------------------------------------------------------------------------
# How it is done
# ------------------------------------------------------------------------------


def _together(comm: MPI.Intracomm | None, ask: Callable[[], Settings]) -> Binding:
    """Map and bind, with one split, one message to each rank of a node and one reduction.

    Only where MPI says that a rank is alone on its node, and where ranks of a node were given
    different GPUs, there is a second look.
    """
    comm = _checked(comm)
    settings: Settings | None = None
    failure: _Failure | None = None
    try:
        settings = ask()
    except _FAILURES as error:
        failure = _Failure.of(error)
    view = given.view()
    node = comm.Split_type(MPI.COMM_TYPE_SHARED, key=comm.rank)
    regrouped: MPI.Comm | None = None
    # Read while the node's leader discovers.
    reads = node.rank != 0 and settings is not None and settings.core.env
    pools = _core.thread_pools() if reads else None
    try:
        binding, verdict = _attempt(comm, node, view, settings, failure, pools)
        if verdict.someone_is_alone and comm.size > 1:
            regrouped = _regroup(comm, node)
            if regrouped is not None:
                binding.restore()
                node.Free()
                node = regrouped
                binding, verdict = _attempt(comm, node, view, settings, failure, pools)
        if verdict.views_differ:
            binding.restore()
            binding, verdict = _attempt(comm, node, view, settings, failure, pools, ask=True)
        if regrouped is not None and comm.rank == 0:
            binding._warnings.append(_REGROUPED)
    finally:
        node.Free()
    if verdict.verbose:
        found = _gather_last(comm, binding._lines(verdict.verbose))
        if found is not None:
            binding._print(_merged(found))
    if verdict.someone_warns or verdict.verbose or regrouped is not None:
        _warn_together(comm, binding)
    return binding


def _warn_together(comm: MPI.Intracomm, binding: Binding) -> None:
    """Give each rank's warnings. Where one is made an error, it is one on all ranks."""
    failure: tuple[int, str, str] | None = None
    cause: UserWarning | None = None
    try:
        binding._warn(stacklevel=5)
    except UserWarning as error:
        failure, cause = (comm.rank, os.uname().nodename, str(error)), error
    failed = _first(comm, failure)
    if failed is not None:
        binding.restore()
        rank, host, text = failed
        raise UserWarning(f"rank {rank} on {host}: {text}") from cause


_REGROUPED = (
    "MPI put ranks that share a node into groups of one (MPI_COMM_TYPE_SHARED), as some builds do; "
    "mpibind grouped them by host, boot and cpuset instead"
)


def _checked(comm: MPI.Intracomm | None) -> MPI.Intracomm:
    if not MPI.Is_initialized():
        raise errors.MpibindError(
            "MPI is not initialised: call MPI.Init() before, or leave mpi4py.rc.initialize True"
        )
    if MPI.Is_finalized():
        raise errors.MpibindError("MPI is finalised already: bind before MPI.Finalize()")
    if comm is None:
        return MPI.COMM_WORLD
    if not isinstance(comm, MPI.Comm):
        raise TypeError(
            f"comm must be an mpi4py.MPI.Intracomm, not {comm!r} ({type(comm).__name__})"
        )
    legal = "it must be an intracommunicator, such as MPI.COMM_WORLD"
    if comm == MPI.COMM_NULL:
        raise errors.illegal("comm", comm, f"it is MPI.COMM_NULL, or was freed; {legal}")
    if comm.Is_inter():
        raise errors.illegal(
            "comm",
            comm,
            f"it is an intercommunicator, whose two groups have no common order; {legal}",
        )
    return comm


_FAILURES = (Exception, _core.PanicException)
"""What other ranks must hear of; a panic of the core is no `Exception`."""


class _Failure(NamedTuple):
    """An error on its way to other ranks. Not every exception can be sent; what it says can."""

    kind: str
    text: str
    fields: dict[str, object]

    @classmethod
    def of(cls, error: BaseException) -> _Failure:
        kind = type(error).__name__
        if not isinstance(error, errors.MpibindError):
            return cls(kind, f"{kind}: {error}", {})
        names = (*getattr(type(error), "__annotations__", ()), "errno")
        fields = {name: getattr(error, name) for name in names if hasattr(error, name)}
        return cls(kind, str(error), fields)

    def raise_from(self, rank: int, host: str) -> None:
        """Raise it again, on any rank."""
        error = getattr(errors, self.kind, errors.MpibindError)(
            f"rank {rank} on {host}: {self.text}"
        )
        for name, value in self.fields.items():
            setattr(error, name, value)
        raise error


def _raise_first(comm: MPI.Intracomm, failure: _Failure | None) -> None:
    """Raise the error of the lowest rank that has one, on all ranks."""
    told = None if failure is None else (comm.rank, os.uname().nodename, failure)
    failed = _first(comm, told)
    if failed is not None:
        rank, host, first = failed
        first.raise_from(rank, host)


class _Verdict(NamedTuple):
    """What all ranks come to know together; made by merging what each knows."""

    failed: tuple[int, str, _Failure] | None
    """The lowest rank that failed, its host, and how."""
    asked: tuple[int, str, dict[str, str]] | None
    """The lowest rank that could say what it was asked for, its host, and that."""
    differing: str | None
    """How two ranks were asked for different things, if any were."""
    verbose: int
    someone_is_alone: bool
    views_differ: bool
    """Whether a rank was given other GPUs than its node's leader took for granted."""
    someone_warns: bool

    def merged(self, other: _Verdict) -> _Verdict:
        """Put what two groups of ranks know together."""
        differing = self.differing or other.differing
        if not differing and self.asked and other.asked and self.asked[2] != other.asked[2]:
            differing = _difference(*sorted((self.asked, other.asked), key=_rank))
        return _Verdict(
            _lowest(self.failed, other.failed),
            _lowest(self.asked, other.asked),
            differing,
            max(self.verbose, other.verbose),
            self.someone_is_alone or other.someone_is_alone,
            self.views_differ or other.views_differ,
            self.someone_warns or other.someone_warns,
        )


def _rank(told: tuple[int, str, object]) -> int:
    return told[0]


def _lowest(one: _Told | None, other: _Told | None) -> _Told | None:
    if one is None or other is None:
        return one or other
    return min(one, other, key=_rank)


def _first(comm: MPI.Intracomm, told: _Told | None) -> _Told | None:
    """Return what the lowest rank has to tell that has something. Mostly nobody has."""
    (someone_tells,) = _largest(comm, (told is not None,))
    if not someone_tells:
        return None
    lowest: _Told | None = comm.allreduce(told, op=_lowest)
    return lowest


def _difference(low: tuple[int, str, dict[str, str]], high: tuple[int, str, dict[str, str]]) -> str:
    for name in (*low[2], *high[2]):
        ours, theirs = low[2].get(name), high[2].get(name)
        if ours != theirs and ours is not None and theirs is not None:
            return (
                f"ranks disagree: {name}={ours} on rank {low[0]} ({low[1]}), "
                f"{name}={theirs} on rank {high[0]} ({high[1]}); all ranks must ask for the same"
            )
    raise AssertionError("two different dictionaries that do not differ")


def _attempt(
    comm: MPI.Intracomm,
    node: MPI.Comm,
    view: given.View,
    settings: Settings | None,
    failure: _Failure | None,
    pools: Sequence[str] | None,
    ask: bool = False,
) -> tuple[Binding, _Verdict]:
    """Map and bind the ranks of these nodes, or raise the same error on all."""
    message, mapping = _share_out(node, view, settings, failure, ask)
    expected = message.view if isinstance(message, _Share) else None
    differs = expected is not None and expected != view
    binding: Binding | None = None
    if failure is None and isinstance(message, _Failure):
        failure = message
    elif failure is None and settings is not None:
        try:
            binding = _bind_part(comm, node, settings, message, mapping, pools)
        except _FAILURES as error:
            failure = _Failure.of(error)
    try:
        warns = binding is not None and any(binding._warnings)
        own = _own_verdict(comm, node, settings, failure, differs, warns)
        verdict = _judge(comm, own, settings)
        # First, as it may be the cause of the other.
        if verdict.differing is not None:
            raise errors.InvalidParameterError(verdict.differing)
        if verdict.failed is not None:
            rank, host, told = verdict.failed
            told.raise_from(rank, host)
    except BaseException:
        if binding is not None:
            binding.restore()
        raise
    assert binding is not None, "a rank without a failure has a binding"
    return binding, verdict


def _own_verdict(
    comm: MPI.Intracomm,
    node: MPI.Comm,
    settings: Settings | None,
    failure: _Failure | None,
    differs: bool,
    warns: bool,
) -> _Verdict:
    host = os.uname().nodename
    return _Verdict(
        None if failure is None else (comm.rank, host, failure),
        None if settings is None else (comm.rank, host, settings.words()),
        None,
        0 if settings is None else settings.core.verbose,
        node.size == 1,
        differs,
        warns,
    )


def _judge(comm: MPI.Intracomm, own: _Verdict, settings: Settings | None) -> _Verdict:
    """Come to know together what each rank knows.

    A few numbers tell whether all is well, which takes one reduction by the MPI library itself.
    Only what is not well is sent in words, from Python to Python.
    """
    digest = 0 if settings is None else settings.core.digest
    # Of equal numbers the largest of both is the same: ~ turns the order around.
    numbers = (
        own.failed is not None,
        digest,
        ~digest,
        own.verbose,
        own.someone_is_alone,
        own.views_differ,
        own.someone_warns,
    )
    failed, largest, smallest, verbose, alone, differ, warn = _largest(comm, numbers)
    if failed or largest != ~smallest:
        merged: _Verdict = comm.allreduce(own, op=lambda a, b: a.merged(b))
        return merged
    return own._replace(
        verbose=verbose,
        someone_is_alone=bool(alone),
        views_differ=bool(differ),
        someone_warns=bool(warn),
    )


def _largest(comm: MPI.Intracomm, numbers: Sequence[int]) -> list[int]:
    """Return the largest of all ranks' numbers of 64 bits, each for itself.

    Nobody keeps a CPU busy that waits; other ranks of the node may still be binding themselves.
    """
    sent, received = (memoryview(bytearray(8 * len(numbers))).cast("q") for _ in range(2))
    for place, number in enumerate(numbers):
        sent[place] = number
    request = comm.Iallreduce([sent, MPI.INT64_T], [received, MPI.INT64_T], op=MPI.MAX)
    try:
        _sleep_until(request.Test, _STEP)
    except BaseException:
        # Such as Ctrl-C. MPI will write there all the same.
        _abandoned.append(request)
        raise
    return received.tolist()


_abandoned: list[MPI.Request] = []


class _Share(NamedTuple):
    """What the leader of a node sends to a rank."""

    part: Part | None
    topology: str
    """What the leader was asked to map to."""
    view: given.View | None
    """What the leader took all ranks to have been given; None if it knows, or does not care."""


class _Ask:
    """What the leader sends if it needs to know first what the ranks have: CPU masks and GPUs.

    That its message decides what comes next, and not each rank's own parameters, keeps ranks with
    different parameters from waiting for each other.
    """


def _share_out(
    node: MPI.Comm,
    view: given.View,
    settings: Settings | None,
    failure: _Failure | None,
    ask: bool,
) -> tuple[_Share | _Failure, Mapping | None]:
    """Map the node on its leader; return this rank's share, and the mapping on the leader."""
    if node.rank != 0:
        message = _receive(node)
        if isinstance(message, _Ask):
            node.gather((_own_mask(), view))
            message = _receive(node)
        return message, None
    masks: set[int] | None = None
    views = [view]
    needs_masks = settings is not None and settings.core.respect == "affinity"
    if settings is not None and not settings.core.is_off and (ask or needs_masks):
        _scatter(node, [_Ask()] * node.size)
        told = node.gather((_own_mask(), view)) or []
        views = [each for _, each in told]
        if needs_masks:
            masks = set().union(*(mask for mask, _ in told))
    mapping: Mapping | None = None
    sent: list[_Share | _Failure]
    try:
        if settings is None:
            sent = [failure or _Failure("MpibindError", "no settings", {})] * node.size
        else:
            mapping, parts = map_node(settings, node.size, masks, views)
            taken = views[0] if len(views) == 1 and mapping is not None else None
            word = settings.topology_word()
            sent = [_Share(part, word, taken) for part in parts]
    except _FAILURES as error:
        # The others are waiting for their shares: whatever it is, they must hear of it.
        sent = [_Failure.of(error)] * node.size
    _scatter(node, sent)
    return sent[0], mapping


def _scatter(node: MPI.Comm, shares: Sequence[object]) -> None:
    """Send each rank of the node its share; the leader's own is the first."""
    requests = [node.isend(share, rank) for rank, share in enumerate(shares) if rank != 0]
    MPI.Request.waitall(requests)


def _receive(node: MPI.Comm) -> Any:  # noqa: ANN401  # whatever was sent
    """Wait for the share of this rank without keeping a CPU busy.

    MPI libraries wait in a loop. Where ranks are not bound yet, or are more than the CPUs, that
    takes time from the leader, which discovers the node meanwhile and sets the pace for all.
    """
    message = _sleep_until(lambda: node.improbe(0), _PAUSE)
    return message.recv()


def _sleep_until(answer: Callable[[], _T | None], pause: float) -> _T:
    """Ask until there is an answer, with pauses."""
    while not (found := answer()):
        time.sleep(pause)
    return found


# In seconds. To be woken takes a CPU for some thirty microseconds, and all ranks of a node wait for
# discovery, which takes some milliseconds. A reduction takes several steps, up to twenty where
# there are a million ranks.
_PAUSE, _STEP = 1e-3, 0.1e-3


def _own_mask() -> list[int]:
    try:
        return _core.current_cpus()
    except errors.AffinityError:
        return []  # binding will fail with this error, where it can be told


def _bind_part(
    comm: MPI.Intracomm,
    node: MPI.Comm,
    settings: Settings,
    share: _Share | _Failure,
    mapping: Mapping | None,
    pools: Sequence[str] | None,
) -> Binding:
    assert isinstance(share, _Share)
    # To put a large topology into a word takes a while, and the leader's is its own.
    if node.rank != 0 and not settings.core.is_off and share.part is not None:
        ours = settings.topology_word()
        if ours != share.topology:
            raise errors.InvalidParameterError(
                f"ranks of one node disagree: topology={ours} here, {share.topology} on the node's "
                "first rank; all ranks of a node must ask for the same"
            )
    here = Place(node.rank, node.size, comm.rank, comm.size)
    binding = Binding(share.part, here, settings, mapping)
    binding._put(pools)
    return binding


def _regroup(comm: MPI.Intracomm, node: MPI.Comm) -> MPI.Comm | None:
    """Put ranks together that share a node though MPI left each of them alone.

    Where a host has a rank that is not alone, MPI's word stands: it knows of containers and of
    pretended nodes what a host's name does not tell. Returns None on all ranks if nothing changes.
    """
    key = _host_key()
    # Hosts that happen to have the same colour are told apart in the group.
    coloured = comm.Split(zlib.crc32(key.encode()) & 0x7FFF_FFFF, comm.rank)
    told = coloured.allgather((key, node.size))
    together = [rank for rank, (other, _) in enumerate(told) if other == key]
    wrong = len(together) > 1 and all(size == 1 for other, size in told if other == key)
    group = coloured.Split(together[0], comm.rank)
    coloured.Free()
    if comm.allreduce(wrong, op=MPI.LOR):
        if wrong:
            return group
        group.Free()
        return node.Dup()
    group.Free()
    return None


def _host_key() -> str:
    """What ranks of one node, in one container, have in common."""
    try:
        # Without pathlib, which nothing else here imports.
        with open("/proc/sys/kernel/random/boot_id") as file:  # noqa: PTH123
            boot = file.read().strip()
    except OSError:
        boot = ""
    return "\n".join((boot, os.uname().nodename, _core.cpuset_cpus() or ""))


def _gather_last(comm: MPI.Intracomm, told: _T) -> list[_T] | None:
    """Gather on rank 0 with nothing to follow: nobody leaves before rank 0 has it all.

    The program may end here, and a rank's last message is lost with Open MPI 5.0 over TCP if the
    rank finalises MPI before the connection is made. Rank 0 would wait for it for ever.
    """
    found = comm.gather(told)
    comm.barrier()
    return found


def _merged(found: list[list[str]]) -> list[str]:
    """Put what ranks have to say in order: a line for each, then each note once."""
    lines = [lines[0] for lines in found]
    notes = dict.fromkeys(note for lines in found for note in lines[1:])
    return [*lines, *notes]
