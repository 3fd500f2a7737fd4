/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

/*
 * usage: vfio-holder GROUP BDF
 * A user-space driver that libvirt does not know: opens a card through vfio and
 * keeps it until it is killed.
 */
int main(int argc, char **argv)
{
    char path[64];
    if (argc != 3) {
        fprintf(stderr, "usage: vfio-holder GROUP BDF\n");
        return 2;
    }
    snprintf(path, sizeof path, "/dev/vfio/%s", argv[1]);
    int container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
    int group = open(path, O_RDWR | O_CLOEXEC);
    if (container < 0 || group < 0 || ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) < 0 ||
        ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) < 0 ||
        ioctl(group, VFIO_GROUP_GET_DEVICE_FD, argv[2]) < 0) {
        perror(path);
        return 1;
    }
    printf("holding\n");
    fflush(stdout);
    pause();
    return 0;
}
