// Watches the level of a line in the BCM2837's own registers, without pause: a line of output at the start and for each
// change, "MILLISECONDS LEVEL", by the monotonic clock. Never ends by itself. Takes a kernel with iomem=relaxed.
//
//   witness LINE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

// The GPIO controller, and GPLEV0 in it.
#define GPIO 0x3f200000
#define GPLEV0 (0x34 / 4)

int main(int count, char **args)
{
    int memory = count == 2 ? open("/dev/mem", O_RDONLY | O_SYNC) : -1;
    volatile uint32_t *gpio = mmap(NULL, 4096, PROT_READ, MAP_SHARED, memory, GPIO);
    if (gpio == MAP_FAILED) {
        perror("/dev/mem");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (uint32_t last = 2;;) {
        uint32_t level = gpio[GPLEV0] >> atoi(args[1]) & 1;
        if (level == last)
            continue;
        last = level;
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        printf("%lld %u\n", (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000, level);
    }
}
