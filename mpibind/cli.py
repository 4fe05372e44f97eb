"""The command line: see where tasks go, on any node, and start programs bound.

The command ``mpibind`` itself is a small program without Python, in ``rust/cli``: thousands of
ranks start ``mpibind run`` at once. What is not ``run`` it leaves to this module.

Each command's parser is made when it is asked for, and its modules are loaded then.

Exit status: 0, 1 if something failed, 2 if it was asked for wrongly.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys

from mpibind.errors import InvalidParameterError, MpibindError
from mpibind.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import NoReturn, TextIO

    from mpibind.launcher import Place
    from mpibind.settings import Settings
    from mpibind.topology import Topology


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says.

    Parameters
    ----------
    arguments : sequence of str, optional
        The words after the command's name; those of this process without.

    Returns
    -------
    int
        The exit status.
    """
    words = [*(sys.argv[1:] if arguments is None else arguments)]
    name = "mpibind"
    try:
        _let_signals_end_quietly()
        if not words or words[0] not in _COMMANDS:
            return _without_command(words)
        name = f"mpibind {words[0]}"
        return _COMMANDS[words[0]](words[1:])
    except _UsageError as error:
        return _failed(name, f"{error}; see `{name} --help`", 2)
    except InvalidParameterError as error:
        return _failed(name, str(error), 2)
    except MpibindError as error:
        return _failed(name, str(error), 1)
    except OSError as error:
        return _failed(name, _system_words(error), 1)
    except BaseException as error:
        # The core is loaded by those that need it.
        if type(error).__name__ != "PanicException":
            raise
        return _failed(name, f"this is a defect of mpibind, please report it: {error}", 1)


class _UsageError(Exception):
    """The command line is not one."""


def _failed(name: str, words: str, status: int) -> int:
    _complain(f"{name}: error: {words}")
    return status


def _complain(words: str) -> None:
    """Print one line on standard error, after what standard output already has."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        _give_up(1)
    try:
        if sys.stderr is not None:
            _write(sys.stderr, " ".join(words.split()))
    except OSError:
        # Where nobody can be told, the exit status still tells.
        _give_up(2)


def _give_up(stream: int) -> None:
    """Let go of a stream whose reader, or the room on its disk, is gone.

    Python would try again at exit.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream)


def _system_words(error: OSError) -> str:
    words = error.strerror or str(error)
    return words if error.filename is None else f"{error.filename}: {words}"


def _let_signals_end_quietly() -> None:
    """Die of a closed pipe and of Ctrl-C as programs do, without a traceback.

    What Python does about these signals is also handed on to programs that it becomes: SIGPIPE
    would be ignored.
    """
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


# ------------------------------------------------------------------------------
# Options
# ------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, with the nearest option for one that there is not."""

    def __init__(self, command: str, description: str, usage: str, examples: str) -> None:
        super().__init__(
            prog=f"mpibind {command}".rstrip(),
            description=description,
            usage=usage,
            epilog=f"examples:\n{examples}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            # A prefix that is enough today may be two options' tomorrow.
            allow_abbrev=False,
        )

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """Read the words, or raise an error that says what is wrong with them."""
        options, unknown = self.parse_known_args(words)
        if unknown:
            self.error(self._about(unknown[0]))
        return options

    def print_help(self, file: object = None) -> None:
        """Print the help, or raise: argparse itself hides that it could not."""
        _print(self.format_help().rstrip("\n"))

    def error(self, message: str) -> NoReturn:
        """Raise what is wrong, in place of printing it with all options."""
        raise _UsageError(message.removeprefix("argument "))

    def _about(self, word: str) -> str:
        if not word.startswith("-"):
            hint = f"; did you mean `-n {word}`?" if word.isdigit() else ""
            return f"{word!r} is not expected here{hint}"
        import difflib

        option = word.partition("=")[0]
        known = [name for action in self._actions for name in action.option_strings]
        near = difflib.get_close_matches(option, known, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]}?" if near else ""
        return f"there is no option {option}{hint}"


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def _counts(text: str) -> list[int]:
    try:
        return [int(count) for count in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a list of whole numbers, such as 2,0 (GPUs of each NUMA node)"
        ) from None


def _add_node(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the node")
    group.add_argument("--topology", metavar="FILE", help="hwloc's XML of it, else this machine")
    group.add_argument("--synthetic", metavar="TEXT", help="or hwloc's synthetic text")
    group.add_argument(
        "--gpus",
        metavar="N,N...",
        type=_counts,
        help="with --synthetic: GPUs to add to each NUMA node",
    )


def _add_mapping(parser: argparse.ArgumentParser) -> None:
    flag = argparse.BooleanOptionalAction
    group = parser.add_argument_group(
        "the mapping",
        "What is not given comes from the variables MPIBIND, MPIBIND_RESTRICT and\n"
        "MPIBIND_RESTRICT_TYPE, then from the defaults.",
    )
    group.add_argument(
        "--nthreads", metavar="N", type=_whole, default=0, help="threads per task; 0 computes it"
    )
    group.add_argument(
        "--smt", metavar="K", type=_whole, help="hardware threads per core; 0 decides"
    )
    group.add_argument(
        "--greedy", action=flag, help="let fewer tasks than NUMA domains share all of them"
    )
    group.add_argument("--gpu-optim", action=flag, help="put tasks where the GPUs are")
    group.add_argument(
        "--no-gpu", dest="gpu_optim", action="store_false", default=None, help="the same"
    )
    group.add_argument(
        "--restrict-ids", "--restrict", metavar="IDS", help="the only ids to use, such as 0-3,8"
    )
    group.add_argument(
        "--restrict-type", metavar="cpu|mem", help="what these are: CPUs or NUMA nodes"
    )
    group.add_argument(
        "--gpu-ids", metavar="index|uuid|pci|name", default="index", help="how GPUs are named"
    )
    group.add_argument("--visible", metavar="own|own-first|off", help="which GPUs a task is shown")
    group.add_argument("--nics", action=flag, help="name the near network cards to UCX and NCCL")


def _add_json(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def _node(options: argparse.Namespace) -> Topology | None:
    """Return the node that was asked for; None for this machine."""
    from mpibind.topology import Topology, load

    if options.synthetic is None:
        if options.gpus is not None:
            raise _UsageError("--gpus adds GPUs to the node of --synthetic, which is not given")
        return None if options.topology is None else load(options.topology)
    if options.topology is not None:
        raise _UsageError("--topology and --synthetic are two nodes; give one of them")
    return Topology.from_synthetic(options.synthetic, options.gpus or ())


def _settings(
    options: argparse.Namespace, topology: Topology | str | None, **more: object
) -> Settings:
    from mpibind.settings import resolve

    return resolve(
        nthreads=options.nthreads,
        greedy=options.greedy,
        gpu_optim=options.gpu_optim,
        smt=options.smt,
        restrict_ids=options.restrict_ids,
        restrict_type=options.restrict_type,
        topology=topology,
        gpu_ids=options.gpu_ids,
        visible=options.visible,
        nics=options.nics,
        **more,  # type: ignore[arg-type]  # what each command has besides
    )


# ------------------------------------------------------------------------------
# Printing
# ------------------------------------------------------------------------------


def _show(lines: Iterable[str]) -> None:
    """Print lines; on a terminal they are cut to its width, elsewhere each stays whole."""
    if sys.stdout is not None and sys.stdout.isatty():
        from mpibind.text import wrapped

        width = max(os.get_terminal_size(1).columns, 40)
        lines = [part for line in lines for part in wrapped(line, width)]
    _print("\n".join(lines))


def _show_json(value: object) -> None:
    """Print it on one line: those of several ranks stay apart."""
    import json

    _print(json.dumps(value))


def _deliver(text: str, path: str) -> None:
    """Write a file, or print it where its name is ``-``."""
    if path == "-":
        _print_for_programs(text.rstrip("\n"))
        return
    from mpibind import files

    try:
        files.deliver(text, path)
    except OSError as error:
        raise MpibindError(
            f"cannot write {path!r}: {error.strerror}; name a file in a folder that you may write "
            "to, or - to print it"
        ) from None


def _only_one_prints(options: argparse.Namespace, *names: str) -> None:
    """Refuse to print two things that programs read: nobody could tell where the second begins."""
    printing = [f"--{name} -" for name in names if getattr(options, name) == "-"]
    if options.json:
        printing.append("--json")
    if getattr(options, "devices", False):
        printing.append("--devices")
    if len(printing) > 1:
        advice = "name a file" if any(word.endswith("-") for word in printing) else "give one"
        raise _UsageError(f"{' and '.join(printing)} would print one after the other; {advice}")


def _print_for_programs(text: str) -> None:
    """Print what says itself that it is UTF-8, whatever the terminal is set to."""
    if sys.stdout is not None:
        sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]  # it is a file
    _print(text)


def _print(text: str) -> None:
    if sys.stdout is None:
        raise MpibindError("standard output is closed: there is nowhere to print to")
    _take_all_letters(sys.stdout)
    _write(sys.stdout, text)


def _take_all_letters(stream: TextIO) -> None:
    """Print letters that the terminal is not set to, in names of files and devices, as marks."""
    stream.reconfigure(errors="backslashreplace")  # type: ignore[attr-defined]  # it is a file


def _write(stream: TextIO, text: str) -> None:
    """Write text and its newline as one, so that those of several ranks do not mix.

    print() writes twice where Python does not buffer (PYTHONUNBUFFERED).
    """
    stream.write(f"{text}\n")
    stream.flush()


# ------------------------------------------------------------------------------
# Without a command
# ------------------------------------------------------------------------------

_EXAMPLES = """\
  mpibind map -n 4                                where would four tasks go?
  mpibind map -n 8 --topology node.xml            and on that node?
  mpiexec -n 4 mpibind run -- ./app               start an MPI program bound
  srun -N 2 --ntasks-per-node=4 mpibind run -- ./app
  mpibind doctor                                  what is in the way?
"""


def _without_command(words: Sequence[str]) -> int:
    parser = _Parser(
        "",
        "Maps the tasks of a node, their threads and GPUs to the hardware, memory first.\n\n"
        "commands:\n"
        "  map      show where tasks would go, on this node or any other\n"
        "  run      start a program bound, under any launcher\n"
        "  report   show what processes are bound to, and what is wrong with that\n"
        "  topo     show a node as mpibind sees it\n"
        "  doctor   look for what is in the way, and say what to do\n\n"
        "`mpibind COMMAND --help` says more.",
        "mpibind COMMAND [options]",
        _EXAMPLES,
    )
    parser.add_argument("--version", action="store_true", help="show the version, and hwloc's")
    if words and not words[0].startswith("-"):
        import difflib

        near = difflib.get_close_matches(words[0], _COMMANDS, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(_COMMANDS)}"
        raise _UsageError(f"there is no command {words[0]!r}; {hint}")
    options = parser.parse(words)
    if not options.version:
        raise _UsageError(f"say what to do: {', '.join(_COMMANDS)}")
    from mpibind import _core

    _show([f"mpibind {_core.__version__}, hwloc {_core.hwloc_version()}"])
    return 0


# ------------------------------------------------------------------------------
# mpibind map
# ------------------------------------------------------------------------------


def _map(words: Sequence[str]) -> int:
    parser = _Parser(
        "map",
        "Shows where the tasks of a node would go. Nothing is bound or set.",
        "mpibind map -n TASKS [options]",
        "  mpibind map -n 4 --smt 1\n"
        "  mpibind map -n 8 --topology node.xml --no-gpu\n"
        '  mpibind map -n 8 --synthetic "package:2 [numa] core:18 pu:2" --gpus 2,0\n'
        "  mpibind map --sweep --topology node.xml         what are the choices?\n"
        "  mpibind map -n 4 --svg picture.svg\n",
    )
    parser.add_argument("-n", "--ntasks", metavar="TASKS", type=_whole, help="tasks on the node")
    _add_node(parser)
    _add_mapping(parser)
    group = parser.add_argument_group("what is shown")
    one = group.add_mutually_exclusive_group()
    one.add_argument("--env", action="store_true", help="the variables that `mpibind run` sets")
    one.add_argument("--sweep", action="store_true", help="a table of choices: tasks, smt, greedy")
    one.add_argument("--svg", metavar="FILE", help="write a picture of the node; - prints it")
    _add_json(group)
    options = parser.parse(words)
    if options.ntasks is None and not options.sweep:
        raise _UsageError("say how many tasks the node has, such as -n 4")
    _only_one_prints(options, "svg")
    settings = _settings(options, _node(options), apply=False, env=False, omp_affinity=True)
    if settings.core.is_off:
        raise MpibindError(
            "MPIBIND=off says that nothing is to be mapped; unset MPIBIND to see what would be"
        )
    if options.sweep:
        return _sweep(options, settings)
    return _show_mapping(options, settings)


def _show_mapping(options: argparse.Namespace, settings: Settings) -> int:
    from mpibind import given, text
    from mpibind.binding import map_node

    mapping, parts = map_node(settings, options.ntasks, None, [given.view()])
    assert mapping is not None, "only with MPIBIND=off there is none"
    if options.svg is not None:
        _deliver(mapping.to_svg(), options.svg)
    variables = [part.env for part in parts if part is not None]
    if mapping.topology._core.is_live:
        variables = [given.heed_choice(of_task)[0] for of_task in variables]
    if options.env and options.json:
        _show_json(variables)
    elif options.env:
        by_name = {name: [of_task[name] for of_task in variables] for name in variables[0]}
        _show(text.variables(by_name).splitlines())
    elif options.json:
        _print_for_programs(mapping.to_json())
    elif options.svg is None:
        _show(str(mapping).splitlines())
    for kind, told in (("warning", mapping._core.warnings), ("note", mapping._core.notes)):
        for words in told:
            _complain(f"mpibind map: {kind}: {words}")
    return 0


def _sweep(options: argparse.Namespace, settings: Settings) -> int:
    from mpibind import sweep
    from mpibind.topology import load

    node = load(settings.topology)

    def ask(smt: int, greedy: bool) -> Settings:
        choice = argparse.Namespace(**{**vars(options), "smt": smt, "greedy": greedy})
        return _settings(choice, node, apply=False, env=False)

    rows = sweep.rows(node, ask, options.ntasks, options.smt, options.greedy)
    if options.json:
        _show_json([row._asdict() for row in rows])
    else:
        _show(sweep.lines(rows))
    return 0


# ------------------------------------------------------------------------------
# mpibind run
# ------------------------------------------------------------------------------


def _run(words: Sequence[str]) -> int:
    """Do what the program `mpibind` does by itself, in the same way."""
    from mpibind import _core

    _forget_locale_of_python()
    return _core.run([*words])


def _forget_locale_of_python() -> None:
    """Take back what Python put into the environment when it started.

    In the locale "C" it sets LC_CTYPE for its own sake and its children's (PEP 538). The program
    shall find what the user set.
    """
    if "LC_CTYPE" not in os.environ:
        return
    from pathlib import Path

    try:
        at_start = Path("/proc/self/environ").read_bytes().split(b"\0")
    except OSError:
        return
    if not any(entry.startswith(b"LC_CTYPE=") for entry in at_start):
        del os.environ["LC_CTYPE"]


# ------------------------------------------------------------------------------
# mpibind report
# ------------------------------------------------------------------------------


def _report(words: Sequence[str]) -> int:
    parser = _Parser(
        "report",
        "Shows what this process is bound to, and what is wrong with that. Under mpiexec\n"
        "there is one line for each rank: rank 0 prints all if mpi4py is there and of the\n"
        "same MPI, else each prints its own. With --pid, another process and all that it\n"
        "has started.",
        "mpibind report [options]",
        "  mpiexec -n 4 mpibind report                     as the launcher starts them\n"
        "  mpiexec -n 4 mpibind run -- mpibind report      as mpibind binds them\n"
        "  mpibind report --pid $(pgrep -o mpiexec)        a job that runs\n",
    )
    parser.add_argument("--pid", metavar="PID", type=_whole, help="look at this process")
    parser.add_argument("--topology", metavar="FILE", help="hwloc's XML of this node")
    parser.add_argument("--no-mpi", action="store_true", help="each rank for itself, without MPI")
    _add_json(parser)
    options = parser.parse(words)
    if options.pid is not None:
        return _report_tree(options)
    if not options.no_mpi and _can_ask_mpi():
        import mpibind.mpi

        if sys.stdout is not None:
            _take_all_letters(sys.stdout)
        found = mpibind.mpi.report(topology=options.topology, as_dict=options.json)
        if found is not None:
            _show_json(found)
        return 0
    from mpibind import reporting
    from mpibind.topology import load

    ranks, findings = reporting.examine([reporting.look(_own_place())], load(options.topology))
    if options.json:
        _show_json(reporting.as_dictionary(ranks, findings))
    else:
        _show(reporting.lines(ranks, findings))
    return 0


def _report_tree(options: argparse.Namespace) -> int:
    from mpibind import processes
    from mpibind.topology import load

    found = processes.tree(options.pid)
    findings = processes.examined(found, load(options.topology))
    if options.json:
        _show_json(processes.as_json(found, findings))
    else:
        _show(processes.lines(found, findings))
    return 0


def _own_place() -> Place:
    """Return what the launcher says, or that this process is alone."""
    from mpibind.launcher import place, started_by

    return place(0, 1) if started_by() is None else place()


def _can_ask_mpi() -> bool:
    """Tell whether the ranks can be asked through MPI.

    mpi4py may have been built for another MPI than the launcher's; then each rank is alone.
    """
    from mpibind.launcher import started_by

    if started_by() in (None, "torchrun"):
        return False
    try:
        from mpi4py import MPI
    except ImportError:
        return False
    return MPI.COMM_WORLD.size > 1 or _own_place().size == 1


# ------------------------------------------------------------------------------
# mpibind topo
# ------------------------------------------------------------------------------


def _topo(words: Sequence[str]) -> int:
    parser = _Parser(
        "topo",
        "Shows a node as mpibind sees it: levels, memory, GPUs and network cards.",
        "mpibind topo [options]",
        "  mpibind topo\n"
        "  mpibind topo --devices                          which GPUs, how found?\n"
        "  mpibind topo --topology node.xml --json\n"
        "  mpibind topo --xml node.xml                     for another machine to look at\n",
    )
    _add_node(parser)
    group = parser.add_argument_group("what is shown")
    group.add_argument(
        "--devices",
        action="store_true",
        help="tables of the GPUs and network cards: what and where they are, how each was found, "
        "and what is not counted",
    )
    group.add_argument("--xml", metavar="FILE", help="write hwloc's XML; - prints it")
    group.add_argument("--svg", metavar="FILE", help="write a picture, likewise")
    _add_json(group)
    options = parser.parse(words)
    _only_one_prints(options, "xml", "svg")
    from mpibind.topology import Topology, devices

    node = _node(options) or Topology()
    if options.xml is not None:
        _deliver(node.to_xml(), options.xml)
    if options.svg is not None:
        _deliver(node.to_svg(), options.svg)
    if options.json:
        _print_for_programs(node.to_json())
    elif options.devices:
        _show(str(devices(node)).splitlines())
    elif options.xml is None and options.svg is None:
        _show(str(node).splitlines())
    return 0


# ------------------------------------------------------------------------------
# mpibind doctor
# ------------------------------------------------------------------------------


def _doctor(words: Sequence[str]) -> int:
    parser = _Parser(
        "doctor",
        "Looks for what is in the way of a good binding on this node, and says what to\n"
        "do. Exit status 1 if there is a problem; warnings and notes do not count.",
        "mpibind doctor [--json]",
        "  mpibind doctor\n  srun -N 1 -n 1 mpibind doctor                   as a job sees it\n",
    )
    _add_json(parser)
    options = parser.parse(words)
    from mpibind import doctor

    seen = doctor.look()
    found = doctor.findings(seen)
    if options.json:
        _show_json(doctor.as_dictionary(seen, found))
    else:
        _show(doctor.lines(seen, found))
    return int(any(finding.level == "problem" for finding in found))


_COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "map": _map,
    "run": _run,
    "report": _report,
    "topo": _topo,
    "doctor": _doctor,
}
