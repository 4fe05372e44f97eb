/* Prints, for each OpenMP thread, the CPUs that it may run on: "rank thread cpu,cpu,...".
 *
 * mpicc -DWITH_MPI -fopenmp threads.c      under mpiexec
 * cc -fopenmp threads.c                    alone, as rank 0
 */
#define _GNU_SOURCE
#include <omp.h>
#include <sched.h>
#include <stdio.h>
#ifdef WITH_MPI
#include <mpi.h>
#endif

int main(int argc, char **argv)
{
    int rank = 0;
#ifdef WITH_MPI
    int provided;
    MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
#endif
#pragma omp parallel for ordered schedule(static, 1)
    for (int thread = 0; thread < omp_get_num_threads(); thread++) {
        cpu_set_t cpus;
        char line[1 << 14];
        int length = 0;
        sched_getaffinity(0, sizeof cpus, &cpus);
        for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
            if (CPU_ISSET(cpu, &cpus))
                length += sprintf(line + length, "%s%d", length ? "," : "", cpu);
#pragma omp ordered
        printf("%d %d %s\n", rank, omp_get_thread_num(), line);
    }
    fflush(stdout);
#ifdef WITH_MPI
    MPI_Finalize();
#endif
    return 0;
}
