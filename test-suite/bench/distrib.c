/* How long hwloc's own distribution takes: hwloc_distrib() of as many items as there are tasks in
 * rust/core/benches/mapping.rs, on the same machines.
 *
 * In C, because hwloc_distrib() is a function of hwloc's header, which other languages write anew.
 *
 *     cc -O2 distrib.c -o distrib $(pkg-config --cflags --libs hwloc) && ./distrib
 */
#define _POSIX_C_SOURCE 199309L
#include <hwloc.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static const struct {
    const char *name, *file, *synthetic;
    unsigned ntasks;
} cases[] = {
    {"4 tasks, worked example", "two-package-18core-smt2-2gpu", NULL, 4},
    {"8 tasks, EPYC with 8 GPUs", "epyc-7763-nps4-8gpu", NULL, 8},
    {"64 tasks, 64 cores", NULL, "package:2 [numa] core:32 pu:2", 64},
    {"4096 tasks, 16384 CPUs", NULL, "package:8 [numa] l3:16 core:64 pu:2", 4096},
};

enum { RUNS = 101, MAX_TASKS = 4096 };

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

int main(void)
{
    static hwloc_cpuset_t sets[MAX_TASKS];
    static double times[RUNS];

    printf("%-35s median of %d runs\n", "hwloc_distrib in C", RUNS);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[256];
        hwloc_topology_t node;
        snprintf(path, sizeof path, "test-suite/topologies/%s.xml", cases[i].file ? cases[i].file : "");
        hwloc_topology_init(&node);
        if ((cases[i].file ? hwloc_topology_set_xml(node, path)
                           : hwloc_topology_set_synthetic(node, cases[i].synthetic)) ||
            hwloc_topology_set_all_types_filter(node, HWLOC_TYPE_FILTER_KEEP_STRUCTURE) ||
            hwloc_topology_load(node)) {
            fprintf(stderr, "cannot load %s; run this from the top of the checkout\n", cases[i].name);
            return EXIT_FAILURE;
        }
        hwloc_obj_t root = hwloc_get_root_obj(node);
        unsigned n = cases[i].ntasks;
        /* Short ones are repeated, so that reading the clock does not count. */
        int repeats = n < 1000 ? 100 : 1;
        for (int run = 0; run < RUNS; run++) {
            double total = 0;
            for (int repeat = 0; repeat < repeats; repeat++) {
                double start = now();
                hwloc_distrib(node, &root, 1, sets, n, INT_MAX, 0);
                total += now() - start;
                for (unsigned task = 0; task < n; task++)
                    hwloc_bitmap_free(sets[task]);
            }
            times[run] = total / repeats;
        }
        qsort(times, RUNS, sizeof *times, compare);
        printf("  %-33s %10.2f us\n", cases[i].name, 1e6 * times[RUNS / 2]);
        hwloc_topology_destroy(node);
    }
    return EXIT_SUCCESS;
}
