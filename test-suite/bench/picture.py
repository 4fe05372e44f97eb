"""What a picture costs: time and size, for nodes of 4 to 512 hardware threads and beyond."""

from __future__ import annotations

import statistics
import time

import mpibind

CASES = [
    ("core:2 pu:2", 2),
    ("package:2 [numa] core:18 pu:2", 4),
    ("package:2 [numa] l3:12 core:8 pu:2", 24),
    ("package:2 [numa] l3:16 core:8 pu:2", 64),
    ("package:2 [numa] l3:16 core:8 pu:2", 512),
    ("package:8 [numa] l3:16 core:64 pu:2", 256),
]


def main() -> None:
    print("picture of a mapping (median of 20)                        CPUs   tasks    ms      kB")
    for text, ntasks in CASES:
        mapping = mpibind.Topology.from_synthetic(text).map(ntasks)
        svg = mapping.to_svg()
        times = []
        for _ in range(20):
            start = time.perf_counter()
            mapping.to_svg()
            times.append(time.perf_counter() - start)
        milliseconds = 1000 * statistics.median(times)
        cpus = mapping.topology.npus
        print(f"{text:55} {cpus:7} {ntasks:7} {milliseconds:5.1f} {len(svg) / 1000:7.1f}")


if __name__ == "__main__":
    main()
