"""Pictures of a node as SVG.

A picture is put together from pieces, each a size and the SVG that fills it: hardware threads make
cores, cores make caches, and so on outwards. What a node looks like, and where its tasks are, comes
from the dicts of `to_dict`; nothing is decided here but where to draw.

The colours of tasks are Paul Tol's scheme "light", made for labelled cells and for colour-blind
readers (https://personal.sron.nl/~pault/). There are fewer of them than tasks can be, so each task
has its number, too.
"""

from __future__ import annotations

import html
import zlib
from dataclasses import dataclass, field
from itertools import groupby

from mpibind import _core
from mpibind.text import memory
from mpibind.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

COLOURS = ("#77aadd", "#ee8866", "#eedd88", "#ffaabb", "#99ddff", "#44bb99", "#bbcc33", "#aaaa00")
"""Fills of tasks, in turn."""

SHADES = {
    "bg": ("fill", "#ffffff", "#14181d"),
    "ink": ("fill", "#1f2328", "#e6edf3"),
    "dim": ("fill", "#59636e", "#9da7b3"),
    "outer": ("fill", "#f3f5f7", "#1e242b"),
    "inner": ("fill", "#e6eaee", "#29313a"),
    "core": ("fill", "#ffffff", "#14181d"),
    "free": ("fill", "#eceff2", "#262d35"),
    "none": ("fill", "none", "none"),
    "numa": ("fill", "#d5e9e1", "#1d4438"),
    "gpu": ("fill", "#e2def0", "#3b3557"),
    "nic": ("fill", "#ece7d8", "#433e2e"),
    "line": ("stroke", "#bcc5ce", "#4b5661"),
}
"""Property of each class, and its value on a light and on a dark background."""

ON_DARK = "[data-jp-theme-light=false],.vscode-dark,[theme=dark],[data-theme=dark]"
"""What Jupyter, VS Code, Colab and Sphinx say of a dark page, whatever the system prefers."""
ON_LIGHT = "[data-jp-theme-light=true],.vscode-light,[theme=light],[data-theme=light]"

THREADS, CORES, RUNS = range(3)
"""What a cell stands for: a hardware thread, a core, or neighbouring cores with the same tasks."""

MOST_CELLS = 640
"""Of each kind; on a node that has more, a cell stands for more hardware."""

MOST_DRAWN = 1024
"""Cells that are drawn at all; the rest of the node is put in words."""

FOLDING = 128
"""CPUs from which on parts without tasks are folded if they are alike."""

MOST_IN_LEGEND = 16
"""Tasks that the legend lists one by one."""


def topology(node: dict[str, Any]) -> str:
    """Draw a node; `node` is what `Topology.to_dict` gives."""
    return _Drawing(node).svg(_short(node["origin"]))


def mapping(mapped: dict[str, Any]) -> str:
    """Draw a node with the tasks on it; `mapped` is what `Mapping.to_dict` gives."""
    ntasks = len(mapped["tasks"])
    title = f"{ntasks} {_plural('task', ntasks)} on {_short(mapped['node']['origin'])}"
    return _Drawing(mapped["node"], mapped).svg(title)


def binding(title: str, task: int, before: Iterable[int], cpus: Iterable[int]) -> str:
    """Draw the CPUs of a process on a node of which nothing else is known."""
    known = sorted({*before, *cpus})
    levels = [
        {"kind": "Machine", "os_indexes": [None], "parents": [0]},
        {"kind": "PU", "os_indexes": known, "parents": [0] * len(known)},
    ]
    node = {"levels": levels, "numas": [], "gpus": [], "nics": []}
    nothing: dict[str, Any] = {"cpus": [], "gpus": [], "gpu_places": [], "nics": []}
    others, own = [nothing] * task, {**nothing, "cpus": list(cpus)}
    return _Drawing(node, {"tasks": [*others, own], "mapped": None}, legend=False).svg(title)


# --- the node


@dataclass
class Part:
    """An object of the node with all that hangs at it."""

    kind: str
    os_index: int | None
    children: list[Part] = field(default_factory=list)
    cpus: list[int] = field(default_factory=list)
    """OS ids of its CPUs, in logical order."""
    numas: list[dict[str, Any]] = field(default_factory=list)
    gpus: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    """Place in the list of GPUs, and the GPU."""
    nics: list[dict[str, Any]] = field(default_factory=list)
    first_pu: int = 0
    """Number of its first hardware thread among all objects."""
    shape: object = None
    """Equal for parts that look alike."""


def tree(node: dict[str, Any]) -> Part:
    """Put the levels of a node together: the machine, with all that is in it."""
    parts = [
        Part(level["kind"], index) for level in node["levels"] for index in level["os_indexes"]
    ]
    parents = [parent for level in node["levels"] for parent in level["parents"]]
    for numa in node["numas"]:
        parts[numa["object"]].numas.append(numa)
    for place, gpu in enumerate(node["gpus"]):
        parts[gpu["object"]].gpus.append((place, gpu))
    for nic in node["nics"]:
        parts[nic["object"]].nics.append(nic)
    # Children come after their parents, and hardware threads last. Siblings can be in different
    # levels; the hardware threads in them tell their order.
    for number in reversed(range(len(parts))):
        part = parts[number]
        part.children.sort(key=lambda child: child.first_pu)
        part.first_pu = part.children[0].first_pu if part.children else number
        part.cpus = [part.os_index or 0] if part.kind == "PU" else []
        for child in part.children:
            part.cpus += child.cpus
        shapes = groupby(child.shape for child in part.children)
        inside = tuple((shape, len([*alike])) for shape, alike in shapes)
        memories = tuple((numa["subtype"], numa["memory"]) for numa in part.numas)
        part.shape = (part.kind, inside, memories, len(part.gpus), len(part.nics))
        # Of a core whose hardware threads may not be used there is nothing to show.
        if number and (part.cpus or part.kind != "Core"):
            parts[parents[number]].children.append(part)
    return parts[0]


# --- pieces


class Piece(NamedTuple):
    """A part of a picture: its size in pixels, and SVG with its upper left corner at 0, 0."""

    width: int
    height: int
    svg: str


def row(pieces: Sequence[Piece], gap: int) -> Piece:
    """Put pieces side by side."""
    x, svg = 0, []
    for piece in pieces:
        svg.append(_at(x, 0, piece))
        x += piece.width + gap
    return Piece(x - gap, max(piece.height for piece in pieces), "".join(svg))


def column(pieces: Sequence[Piece], gap: int) -> Piece:
    """Put pieces below each other."""
    y, svg = 0, []
    for piece in pieces:
        svg.append(_at(0, y, piece))
        y += piece.height + gap
    return Piece(max(piece.width for piece in pieces), y - gap, "".join(svg))


def flow(pieces: Sequence[Piece], gap: int, ratio: float, most: int = 1100) -> Piece:
    """Put pieces in rows, so that width by height is near `ratio` and few places stay empty."""
    widest = max(piece.width for piece in pieces)
    best: tuple[float, list[list[Piece]]] | None = None
    for count in range(1, len(pieces) + 1):
        width = count * (widest + gap) - gap
        if best is not None and width > most:
            break
        rows = _wrap(pieces, width, gap)
        height = sum(max(piece.height for piece in line) + gap for line in rows) - gap
        filled = sum(piece.width * piece.height for piece in pieces) / (width * height)
        shape = width / height / ratio
        cost = max(shape, 1 / shape) / filled**3
        if best is None or cost < best[0]:
            best = cost, rows
        if len(rows) == 1:
            break
    assert best is not None, "there is at least one piece"
    return column([row(line, gap) for line in best[1]], gap)


def wrapped(pieces: Sequence[Piece], gap: int, width: int) -> list[Piece]:
    """Put pieces in rows like the words of a text; none if there are none."""
    lines = [row(line, gap) for line in _wrap(pieces, width, gap) if line]
    return [column(lines, min(gap, 6))] if lines else []


def _wrap(pieces: Sequence[Piece], width: int, gap: int) -> list[list[Piece]]:
    rows: list[list[Piece]] = [[]]
    x = 0
    for piece in pieces:
        if rows[-1] and x + piece.width > width:
            rows.append([])
            x = 0
        rows[-1].append(piece)
        x += piece.width + gap
    return rows


def framed(piece: Piece, shade: str, pad: int, corner: int, tip: str = "") -> Piece:
    """Put a frame around a piece; `tip` is a word of ours, and needs no escape."""
    width, height = piece.width + 2 * pad, piece.height + 2 * pad
    box = f'<rect class="{shade} line" width="{width}" height="{height}" rx="{corner}"/>'
    title = f"<title>{tip}</title>" if tip else ""
    return Piece(width, height, f"{title}{box}{_at(pad, pad, piece)}")


def label(text: str, size: int, shade: str = "ink", weight: str = "") -> Piece:
    """Write a line of text."""
    bold = ' font-weight="600"' if weight else ""
    svg = f'<text class="{shade}" y="{size}" font-size="{size}"{bold}>{escaped(text)}</text>'
    # Letters of a proportional font are about so wide, in each of which browsers differ.
    return Piece(round(len(text) * size * (0.68 if weight else 0.6)) + 1, size + 3, svg)


def escaped(text: str) -> str:
    """Make text that may stand in XML, where most control characters may in no way."""
    return html.escape(text.translate(_NOT_IN_XML))


_NOT_IN_XML = dict.fromkeys(
    [*range(9), 11, 12, *range(14, 32), 0xFFFE, 0xFFFF], "\N{REPLACEMENT CHARACTER}"
)


def _at(x: int, y: int, piece: Piece) -> str:
    move = f' transform="translate({x},{y})"' if x or y else ""
    return f"<g{move}>{piece.svg}</g>"


# --- the drawing

_INNER = ("L2", "L2i", "L1", "L1i", "Core", "PU")
"""Parts that are small, and have no name in the picture."""


class _Drawing:
    """One picture in the making."""

    def __init__(
        self, node: dict[str, Any], mapped: dict[str, Any] | None = None, legend: bool = True
    ) -> None:
        self.node, self.mapped, self.legend = node, mapped, legend
        self.machine = tree(node)
        self.cpu_users: dict[int, tuple[int, ...]] = {}
        self.gpu_users: dict[int, tuple[int, ...]] = {}
        self.nic_users: dict[str, tuple[int, ...]] = {}
        self.left_out: set[int] = set()
        for number, task in enumerate([] if mapped is None else mapped["tasks"]):
            for cpu in task["cpus"]:
                self.cpu_users[cpu] = (*self.cpu_users.get(cpu, ()), number)
            for place in task["gpu_places"]:
                self.gpu_users[place] = (*self.gpu_users.get(place, ()), number)
            for name in task["nics"]:
                self.nic_users[name] = (*self.nic_users.get(name, ()), number)
        if mapped is not None and mapped["mapped"] is not None:
            self.left_out = set(self.machine.cpus) - set(tree(mapped["mapped"]).cpus)
        ncpus = len(self.machine.cpus)
        counts = {level["kind"]: len(level["parents"]) for level in node["levels"]}
        self.ncores = counts.get("Core", ncpus)
        self.npackages = counts.get("Package", 0)
        self.detail = (
            THREADS if ncpus <= MOST_CELLS else CORES if self.ncores <= MOST_CELLS else RUNS
        )
        self.folding = ncpus > (MOST_CELLS if mapped is None else FOLDING)
        self.cells_left = MOST_DRAWN
        self.ratio = 1.0
        self.patterns: dict[tuple[str, ...], str] = {}

    def svg(self, title: str) -> str:
        """Draw all of it."""
        node = min(map(self.arranged, (1.3, 2.8)), key=_distance_from_page)
        head = [label(title, 15, weight="bold"), label(self.summary(), 11, "dim")]
        rows = [column(head, 2), node]
        if self.legend:
            rows += [*self.samples(node.width), *self.tasks(node.width)]
        page = column(rows, 12)
        width, height = page.width + 28, page.height + 28
        body = f'<rect class="bg" width="{width}" height="{height}" rx="8"/>{_at(14, 14, page)}'
        # Pictures on one page must not use each other's patterns.
        own = f"m{zlib.crc32(body.encode()):08x}"
        body = body.replace("url(#", f"url(#{own}")
        patterns = "".join(_pattern(own + name, colours) for colours, name in self.patterns.items())
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="mpibind-node" role="img" '
            f'aria-label="{escaped(title)}" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" style="max-width:100%;height:auto">'
            f"<style>{_stylesheet()}</style><defs>{patterns}</defs>{body}</svg>"
        )

    def arranged(self, ratio: float) -> Piece:
        """Draw the node, with all that has parts about so many times as wide as high."""
        self.ratio, self.cells_left = ratio, MOST_DRAWN
        return self.box(self.machine)

    def summary(self) -> str:
        """What the node has, in numbers."""
        node = self.node
        counts = (
            (self.npackages, "package"),
            (len(node["numas"]), "NUMA node"),
            (self.ncores, "core"),
            (len(self.machine.cpus), "CPU"),
            (len(node["gpus"]), "GPU"),
            (len(node["nics"]), "network card"),
        )
        return " · ".join(f"{count} {_plural(what, count)}" for count, what in counts if count)

    # --- the parts of the node, from the outside in

    def box(self, part: Part) -> Piece:
        """Draw a part, with all that is in it."""
        if part.kind == "PU" or (part.kind == "Core" and self.detail != THREADS):
            return self.cell([part])
        if part.kind == "Core":
            pus = [self.cell([pu]) for pu in part.children]
            tip = "core" if part.os_index is None else f"core {part.os_index}"
            return framed(flow(pus, 1, 1.8), "core", 2, 4, tip)
        inside = []
        if pieces := [*self.inside(part)]:
            is_fine = all(child.kind in _INNER for child in part.children)
            inside = [flow(pieces, 4, 2.6) if is_fine else flow(pieces, 8, self.ratio)]
        width = max([280, *(piece.width for piece in inside)])
        rows = [*wrapped(self.head(part), 6, width), *inside]
        rows += wrapped(self.devices(part), 5, width)
        # Something without CPUs, memory and devices would be empty.
        content = column(rows, 6) if rows else label("no CPUs", 10, "dim")
        if part.kind == "Machine" and self.npackages:
            return content
        shade, pad = (
            ("outer", 8) if part.kind in ("Machine", "Package", "Die", "Group") else ("inner", 5)
        )
        return framed(content, shade, pad, 6, _name(part))

    def inside(self, part: Part) -> Iterator[Piece]:
        """Draw the children of a part: all, or one for several that are alike."""
        for _, neighbours in groupby(part.children, self.likeness):
            group = [*neighbours]
            if self.cells_left <= 0:
                yield self.note(group, "more")
            elif group[0].kind in ("PU", "Core"):
                if self.detail == RUNS:
                    yield self.cell(group)
                else:
                    yield from map(self.box, group)
            elif self.folding and len(group) > 1 and not self.users(group):
                yield self.box(group[0])
                yield self.note(group[1:], "more like it")
            else:
                for number, child in enumerate(group):
                    if self.cells_left <= 0:
                        yield self.note(group[number:], "more")
                        break
                    yield self.box(child)

    def likeness(self, part: Part) -> object:
        """What neighbours that are treated alike have in common."""
        if part.kind not in ("PU", "Core"):
            return part.shape, not self.users([part])
        return self.users([part]) if self.detail == RUNS else None

    def users(self, parts: Iterable[Part]) -> tuple[int, ...]:
        """The tasks that have CPUs of some parts, rising."""
        users = self.cpu_users
        if not users:
            return ()
        found = {user for part in parts for cpu in part.cpus for user in users.get(cpu, ())}
        return tuple(sorted(found))

    def note(self, parts: Sequence[Part], what: str) -> Piece:
        """Say what is not drawn."""
        kind = parts[0].kind if len({part.kind for part in parts}) == 1 else "part"
        users = self.users(parts)
        cpus = _core.id_list([cpu for part in parts for cpu in part.cpus])
        lines = [f"+ {len(parts)} {what} ({kind})", f"CPUs {_clip_list(cpus, 30)}"]
        if self.mapped is not None:
            tasks = _clip_list(_core.id_list(users), 26)
            lines.append(f"{_plural('task', len(users))} {tasks}" if users else "unused")
        return framed(column([label(line, 10, "dim") for line in lines], 1), "free", 6, 6)

    def head(self, part: Part) -> list[Piece]:
        """Draw the line above what is in a part: its name, and the memory at it."""
        chips = []
        if part.kind not in {"Machine", *_INNER} and not (part.kind == "Group" and part.numas):
            chips.append(label(_name(part), 11 if part.kind == "Package" else 10, "dim", "bold"))
        # Memory without CPUs comes in dozens on some nodes, all alike.
        for _, neighbours in groupby(part.numas, _memory_likeness):
            group = [*neighbours]
            kind = f" {group[0]['subtype']}" if group[0]["subtype"] else ""
            size = f" · {memory(group[0]['memory'])}" if group[0]["memory"] else ""
            each = " each" if len(group) > 1 and size else ""
            ids = _core.id_list([numa["os_index"] for numa in group])
            chips.append(self.chip(f"NUMA {ids}{kind}{size}{each}", "numa", _numa_tip(group)))
        return chips

    def devices(self, part: Part) -> list[Piece]:
        """Draw the GPUs and network cards at a part."""
        return [
            *(self.gpu(place, gpu) for place, gpu in part.gpus),
            *(self.nic(nic) for nic in part.nics),
        ]

    def nic(self, nic: dict[str, Any]) -> Piece:
        """Draw a network card, with the tasks that it is the closest to."""
        users = self.nic_users.get(nic["name"], ())
        tip = f"network card {_known(nic, 'name', 'pci')}{', down' if nic['down'] else ''}"
        if users:
            tip += f"; closest to {_plural('task', len(users))} {_core.id_list(users)}"
        return self.chip(nic["name"], "nic", tip, users)

    def gpu(self, place: int, gpu: dict[str, Any]) -> Piece:
        """Draw a GPU."""
        name, users = f"GPU {gpu['index']}", self.gpu_users.get(place, ())
        tip = f"{name}: {_known(gpu, 'vendor', 'model', 'name', 'pci', 'uuid')}"
        if self.mapped is None:
            return self.chip(name, "gpu", tip)
        if not users:
            return self.chip(f"{name} · unused", "free", tip)
        tasks = f"{_plural('task', len(users))} {_core.id_list(users)}"
        return self.chip(name, "gpu", f"{tip}; {tasks}", users)

    def chip(self, text: str, shade: str, tip: str, users: Sequence[int] = ()) -> Piece:
        """Draw something beside the CPUs, with the tasks that have it."""
        parts = [label(text, 10), *map(self.badge, users[:8])]
        if len(users) > 8:
            parts.append(label(f"… {len(users)} tasks", 10))
        words = row(parts, 3)
        width = words.width + 10
        round_ends = 9 if shade == "nic" else 3
        svg = (
            f"<title>{escaped(tip)}</title>"
            f'<rect class="{shade} line" width="{width}" height="18" rx="{round_ends}"/>'
            f"{_at(5, 2, words)}"
        )
        return Piece(width, 18, svg)

    def badge(self, task: int) -> Piece:
        """Draw the number of a task in its colour."""
        width = 8 + 7 * len(str(task))
        svg = (
            f'<rect fill="{self.fill([task])}" width="{width}" height="14" rx="3"/>'
            f'<text class="n on" x="{width / 2:g}" y="11">{task}</text>'
        )
        return Piece(width, 14, svg)

    # --- cells

    def cell(self, parts: Sequence[Part]) -> Piece:
        """Draw a hardware thread, or neighbouring cores with the same tasks."""
        self.cells_left -= 1
        users = self.users(parts)
        cpus = [cpu for part in parts for cpu in part.cpus]
        ids = _core.id_list(cpus) if len(cpus) > 1 else str(cpus[0])
        left_out = bool(self.left_out) and self.left_out.issuperset(cpus)
        what = f"{_plural('CPU', len(cpus))} {ids}"
        if len(parts) > 1:
            what = f"{len(parts)} cores, {what}"
        wide = 96 if self.detail == RUNS else 27
        # Cells of several CPUs have no room for all, but people know cores by the first.
        shown = ids if len(cpus) == 1 or self.detail == RUNS else str(cpus[0])
        return self.labelled_cell(users, _clip_list(shown, wide // 6), what, wide, left_out)

    def labelled_cell(
        self, users: Sequence[int], ids: str, what: str, width: int, left_out: bool = False
    ) -> Piece:
        """Draw a cell: the tasks above, the CPUs below."""
        middle, height = f"{width / 2:g}", 26 if self.mapped else 18
        look, state, shade, plate, number = 'class="free"', "", "ink", "", ""
        if users:
            tasks = _core.id_list(users) if len(users) > 1 else str(users[0])
            look, shade = f'fill="{self.fill(users)}"', "on"
            state = f": {_plural('task', len(users))} {tasks}"
            shown = tasks if len(tasks) <= max(5, width // 7) else f"{len(users)}×"
            size = "n" if len(shown) < 4 else "m"
            number = f'<text class="{size} on" x="{middle}" y="12">{shown}</text>'
            if len(users) > 1:  # hatched, so that text needs something to stand on
                plate = f'<rect class="plate" x="3" y="3" width="{width - 6}" height="20" rx="3"/>'
        elif self.mapped:
            look = 'class="out line"' if left_out else look
            state, shade = ": left out" if left_out else ": unused", "dim"
        title = f"<title>{what}{state}</title>" if what else ""
        svg = (
            f'{title}<rect {look} width="{width}" height="{height}" rx="3"/>{plate}{number}'
            f'<text class="i {shade}" x="{middle}" y="{height - (4 if self.mapped else 5.5)}">'
            f"{ids}</text>"
        )
        return Piece(width, height, svg)

    def fill(self, users: Sequence[int]) -> str:
        """Return the colour of a task, or stripes for several."""
        colours = tuple(COLOURS[user % len(COLOURS)] for user in users[:4])
        if len(users) == 1:
            return colours[0]
        name = self.patterns.setdefault(colours, f"p{len(self.patterns)}")
        return f"url(#{name})"

    # --- the legend

    def samples(self, width: int) -> list[Piece]:
        """Say what the cells mean."""
        cells = (
            "OS id of a CPU (hardware thread)",
            "OS id of a core's first CPU",
            "OS ids of neighbouring cores' CPUs",
        )
        meaning = cells[self.detail]
        if self.mapped is None:
            pairs = [(self.labelled_cell((), "12", "", 27), meaning)]
        else:
            # Two numbers that differ tell more than task 0 on CPU 0.
            task = min(3, len(self.mapped["tasks"]) - 1)
            pairs = [(self.labelled_cell((task,), "12", "", 27), f"task, over the {meaning}")]
            if len(self.cpu_users) + len(self.left_out) < len(self.machine.cpus):
                pairs.append((self.labelled_cell((), "12", "", 27), "unused"))
            if any(len(users) > 1 for users in self.cpu_users.values()):
                sample = self.labelled_cell((0, 1), "12", "", 27)
                pairs.append((sample, "shared by tasks"))
            if self.left_out:
                sample = self.labelled_cell((), "12", "", 27, left_out=True)
                pairs.append((sample, "left out of the mapping"))
        entries = [self.entry(sample, text) for sample, text in pairs]
        return wrapped(entries, 18, max(width, 380))

    def tasks(self, width: int) -> list[Piece]:
        """List the tasks, if they are few."""
        tasks = [] if self.mapped is None else self.mapped["tasks"]
        if not tasks:
            return []
        if len(tasks) > MOST_IN_LEGEND:
            text = f"Colours repeat after {len(COLOURS)} tasks; numbers do not."
            return [label(text, 11, "dim")]
        entries = []
        for number, task in enumerate(tasks):
            count, cpus = task["nthreads"], _core.id_list(task["cpus"])
            words = [
                f"{count} {_plural('thread', count)}",
                f"{_plural('CPU', len(task['cpus']))} {_clip_list(cpus, 26)}",
            ]
            if task["gpus"]:
                names = _clip_list(", ".join(task["gpus"]), 20)
                words.append(f"{_plural('GPU', len(task['gpus']))} {names}")
            entries.append(self.entry(self.badge(number), " · ".join(words)))
        widest = max(entry.width for entry in entries)
        even = [Piece(widest, entry.height, entry.svg) for entry in entries]
        return wrapped(even, 14, max(width, widest))

    def entry(self, sample: Piece, text: str) -> Piece:
        """Draw a sample with what it means beside it."""
        words = label(text, 11, "dim")
        return row([sample, Piece(words.width, 14, _at(0, sample.height // 2 - 7, words))], 6)


def _distance_from_page(piece: Piece) -> float:
    """How far a piece is from being as wide and high as a page on a screen."""
    shape = piece.width / (piece.height + 120) / 1.6  # title and legend need their place, too
    return max(shape, 1 / shape)


def _pattern(name: str, colours: Sequence[str]) -> str:
    """Stripes of several colours with lines between, which show where the colours do not."""
    step = 5
    stripes = "".join(
        f'<rect x="{place * step}" width="{step}" height="10" fill="{colour}"/>'
        f'<path d="M{place * step} 0v10" stroke="#1f2328" stroke-width="1"/>'
        for place, colour in enumerate(colours)
    )
    return (
        f'<pattern id="{name}" width="{len(colours) * step}" height="10" '
        f'patternUnits="userSpaceOnUse" patternTransform="rotate(45)">{stripes}</pattern>'
    )


def _stylesheet() -> str:
    """Colours for light and dark pages, under this picture's class, as a page shares its styles."""

    def rules(place: int, around: str = "") -> str:
        return "".join(
            f"{around}.mpibind-node .{name}{{{shade[0]}:{shade[place]}}}"
            for name, shade in SHADES.items()
        )

    return (
        ".mpibind-node text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}"
        ".mpibind-node .n,.mpibind-node .m,.mpibind-node .i{text-anchor:middle}"
        ".mpibind-node .n{font-size:11px;font-weight:700}"
        ".mpibind-node .m{font-size:8px;font-weight:700}.mpibind-node .i{font-size:8.5px}"
        ".mpibind-node .on{fill:#1f2328}.mpibind-node .plate{fill:#fff;fill-opacity:.72}"
        ".mpibind-node .out{fill:none;stroke-dasharray:2 2}"
        f"{rules(1)}@media (prefers-color-scheme:dark){{{rules(2)}}}"
        f"{rules(1, f':is({ON_LIGHT}) ')}{rules(2, f':is({ON_DARK}) ')}"
    )


def _name(part: Part) -> str:
    return (
        part.kind
        if part.os_index is None or part.kind[0] == "L"
        else f"{part.kind} {part.os_index}"
    )


def _memory_likeness(numa: dict[str, Any]) -> object:
    return numa["os_index"] if numa["cpus"] else (numa["subtype"], numa["memory"])


def _numa_tip(numas: Sequence[dict[str, Any]]) -> str:
    cpus = numas[0]["cpus"]
    return f"local to CPUs {cpus}" if cpus else "memory without CPUs"


def _known(device: dict[str, Any], *names: str) -> str:
    """What is known of a device, each thing once."""
    return ", ".join(dict.fromkeys(device[name] for name in names if device[name]))


def _plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"


def _clip(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _clip_list(text: str, length: int) -> str:
    """Cut a list between its entries: half a number would be another."""
    if len(text) <= length:
        return text
    end = text.rfind(",", 0, length - 1) + 1
    return f"{text[:end]}…" if end else _clip(text, length)


def _short(origin: str) -> str:
    """Return where a node came from, without the folders of a file."""
    name, quote, rest = origin.lstrip('"').partition('"')
    return _clip(name.rsplit("/", 1)[-1] + rest if quote else origin, 60)
