/* Holds its OpenMP threads where they are until a file appears, so that they can be looked at.
 *
 * cc -fopenmp hold.c; ./a.out FOLDER      makes FOLDER/PID, waits for FOLDER/end
 */
#include <omp.h>
#include <stdio.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    char path[4096], end[4096];
    if (argc != 2)
        return 2;
    snprintf(path, sizeof path, "%s/%d", argv[1], (int)getpid());
    snprintf(end, sizeof end, "%s/end", argv[1]);
#pragma omp parallel
    {
#pragma omp barrier
#pragma omp single nowait
        fclose(fopen(path, "w"));
        while (access(end, F_OK) != 0)
            usleep(50000);
    }
    return 0;
}
