// Watches the level of a line, a thousand times a second, through the file that the kernel shows it in: one line of output
// at the start and for each change, "MILLISECONDS LEVEL", by the monotonic clock. Never ends by itself.
//
//   witness FILE
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

int main(int count, char **args)
{
    int file = count == 2 ? open(args[1], O_RDONLY) : -1;
    if (file < 0) {
        fprintf(stderr, "usage: witness FILE\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (char level, last = 0;; usleep(1000)) {
        struct timespec now;
        if (pread(file, &level, 1, 0) != 1)
            return 1;
        if (level == last)
            continue;
        last = level;
        clock_gettime(CLOCK_MONOTONIC, &now);
        printf("%lld %c\n", (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000, level);
    }
}
