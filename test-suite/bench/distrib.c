/* How long hwloc's own distribution takes: hwloc_distrib() of as many items as there are tasks.
 *
 * In C, because hwloc_distrib() is a function of hwloc's header, which other languages write anew.
 * Prints the median in seconds and nothing else, for map_cost.py, which has the same loop in Python;
 * in Rust it is in rust/core/benches/mapping.rs.
 *
 *     distrib MACHINE ITEMS RUNS      where MACHINE is a file (.xml) or synthetic text
 */
#define _POSIX_C_SOURCE 199309L
#include <hwloc.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + 1e-9 * time.tv_nsec;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double seconds(hwloc_topology_t node, hwloc_cpuset_t *sets, unsigned items, int repeats)
{
    hwloc_obj_t root = hwloc_get_root_obj(node);
    double start = now();
    for (int repeat = 0; repeat < repeats; repeat++) {
        hwloc_distrib(node, &root, 1, sets, items, INT_MAX, 0);
        for (unsigned item = 0; item < items; item++)
            hwloc_bitmap_free(sets[item]);
    }
    return (now() - start) / repeats;
}

int main(int argc, char **argv)
{
    hwloc_topology_t node;
    if (argc != 4) {
        fprintf(stderr, "usage: distrib MACHINE ITEMS RUNS\n");
        return EXIT_FAILURE;
    }
    hwloc_topology_init(&node);
    if ((strstr(argv[1], ".xml") ? hwloc_topology_set_xml(node, argv[1])
                                 : hwloc_topology_set_synthetic(node, argv[1])) ||
        hwloc_topology_set_all_types_filter(node, HWLOC_TYPE_FILTER_KEEP_STRUCTURE) ||
        hwloc_topology_load(node)) {
        fprintf(stderr, "hwloc cannot load %s\n", argv[1]);
        return EXIT_FAILURE;
    }
    unsigned items = strtoul(argv[2], NULL, 10), runs = strtoul(argv[3], NULL, 10);
    hwloc_cpuset_t *sets = calloc(items, sizeof *sets);
    double *times = calloc(runs, sizeof *times);
    if (!sets || !times)
        return EXIT_FAILURE;
    /* Short ones are repeated, so that reading the clock does not count. */
    int repeats = seconds(node, sets, items, 1) < 1e-4 ? 100 : 1;
    for (unsigned run = 0; run < runs; run++)
        times[run] = seconds(node, sets, items, repeats);
    qsort(times, runs, sizeof *times, compare);
    printf("%e\n", times[runs / 2]);
    return EXIT_SUCCESS;
}
