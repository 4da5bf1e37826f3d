// What stands in front of a loopback camera: shows the frame in FILE so many times a second, and the next one as soon as
// FILE is another file (renamed over it). Ends when the device does not take a frame any more.
//
//   camera DEVICE WIDTH HEIGHT YUYV|MJPG FPS FILE
#include <fcntl.h>
#include <linux/videodev2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

static char frame[1 << 22];

static int fail(const char *what)
{
    perror(what);
    return 1;
}

static int set_format(int device, unsigned width, unsigned height, const char *code)
{
    struct v4l2_format format = {.type = V4L2_BUF_TYPE_VIDEO_OUTPUT};
    struct v4l2_pix_format *pix = &format.fmt.pix;
    int compressed = !strcmp(code, "MJPG");
    pix->width = width;
    pix->height = height;
    pix->pixelformat = v4l2_fourcc(code[0], code[1], code[2], code[3]);
    pix->field = V4L2_FIELD_NONE;
    pix->bytesperline = compressed ? 0 : width * 2;
    pix->sizeimage = width * height * 2;
    return ioctl(device, VIDIOC_S_FMT, &format);
}

// The bytes of FILE in `frame`; the last ones, while FILE is the same or is not there.
static ssize_t look(const char *file, ssize_t bytes)
{
    static struct stat shown;
    struct stat now;
    if (stat(file, &now) || (now.st_ino == shown.st_ino && now.st_mtim.tv_nsec == shown.st_mtim.tv_nsec))
        return bytes;
    int from = open(file, O_RDONLY);
    if (from < 0)
        return bytes;
    ssize_t all = 0, some;
    while ((some = read(from, frame + all, sizeof frame - all)) > 0)
        all += some;
    close(from);
    shown = now;
    return all;
}

int main(int count, char **args)
{
    if (count != 7) {
        fprintf(stderr, "usage: camera DEVICE WIDTH HEIGHT YUYV|MJPG FPS FILE\n");
        return 2;
    }
    int device = open(args[1], O_RDWR);
    if (device < 0)
        return fail(args[1]);
    if (set_format(device, atoi(args[2]), atoi(args[3]), args[4]))
        return fail("format");
    ssize_t bytes = 0;
    for (;;) {
        bytes = look(args[6], bytes);
        if (bytes > 0 && write(device, frame, bytes) != bytes)
            return fail("write");
        usleep(1000000 / atoi(args[5]));
    }
}
