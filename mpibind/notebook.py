"""What notebooks show: a picture, and a table below it."""

from __future__ import annotations

from itertools import compress

from mpibind import _core, picture
from mpibind.text import memory
from mpibind.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mpibind.binding import Binding
    from mpibind.mapping import Mapping
    from mpibind.topology import Topology

MOST_ROWS = 64
"""Rows of a table that are shown; whoever has more tasks prints the mapping."""

STYLE = (
    "<style>.mpibind-table{margin-top:8px}"
    ".mpibind-table :is(td,th){text-align:left!important;vertical-align:top}</style>"
)


def topology(node: Topology) -> str:
    """Show a node, with its memory and devices."""
    memories = [
        (numa.os_index, numa.subtype, memory(numa.memory) if numa.memory else None, numa.cpus)
        for numa in node.numas
    ]
    gpus = [(gpu.index, gpu.vendor, gpu.model, gpu.pci, gpu.uuid) for gpu in node.gpus]
    nics = [(nic.name, nic.pci, "down" if nic.down else None) for nic in node.nics]
    return _html(
        picture.topology(node.to_dict()),
        _table(("NUMA node", "kind", "memory", "CPUs"), memories),
        _table(("GPU", "vendor", "model", "PCI", "UUID"), gpus),
        _table(("network card", "PCI", "state"), nics),
    )


def mapping(m: Mapping) -> str:
    """Show a node with the tasks on it, and what each task got."""
    core = m._core
    rows = [
        (
            number,
            core.nthreads(number),
            ",".join(gpus),
            ",".join(core.nics(number)),
            core.cpus_text(number),
            _core.id_list(core.numas(number)),
        )
        for number, gpus in enumerate(m.gpus)
    ]
    header = ("task", "threads", "GPUs", "network cards", "CPUs", "NUMA nodes")
    return _html(picture.mapping(m.to_dict()), _table(header, rows))


def binding(bound: Binding) -> str:
    """Show where a process is, and what was set for it."""
    title = f"task {bound.rank} of {bound.size} on {bound.hostname}"
    if bound.mapping is None:
        before = bound.before.tolist()
        svg = picture.binding(title, bound.local_rank, before, bound.cpu_list)
    else:
        svg = picture.mapping(bound.mapping.to_dict())
    rows = [
        ("rank", f"{bound.rank} of {bound.size}"),
        ("local rank", f"{bound.local_rank} of {bound.local_size} on {bound.hostname}"),
        ("CPUs", _core.id_list(bound.cpu_list)),
        ("CPUs before", _core.id_list(bound.before.tolist())),
        ("threads", bound.nthreads),
        ("GPUs", ",".join(bound.gpus)),
        ("network cards", ",".join(bound.nics)),
        ("bound", "yes" if bound.applied else "no"),
        ("memory", bound.membind),
        *bound.env.items(),
        *(("note", note) for note in bound.notes),
    ]
    return _html(svg, _table((), [row for row in rows if row[1] not in (None, "")]))


def _html(svg: str, *tables: str) -> str:
    return f'<div class="mpibind">{svg}{STYLE}{"".join(tables)}</div>'


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Make a table, of what is known; none without rows. The first column names the row."""
    if not rows:
        return ""
    known = [any(cells[place] not in (None, "") for cells in rows) for place in range(len(rows[0]))]
    header = [*compress(header, known)]
    rows = [[*compress(cells, known)] for cells in rows]

    def line(cells: Iterable[object], first: str, others: str) -> str:
        tags = [first, *[others] * 20]
        texts = ("" if cell is None else picture.escaped(str(cell)) for cell in cells)
        made = (f"<{tag}>{text}</{tag}>" for tag, text in zip(tags, texts, strict=False))
        return f"<tr>{''.join(made)}</tr>"

    lines = [line(header, "th", "th")] if header else []
    lines += [line(cells, "th", "td") for cells in rows[:MOST_ROWS]]
    if len(rows) > MOST_ROWS:
        lines.append(line(("…", f"{len(rows) - MOST_ROWS} more"), "th", "td"))
    return f'<table class="mpibind-table">{"".join(lines)}</table>'
