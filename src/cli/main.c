/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "cli/hook_mode.h"
#include "cli/verbs.h"

/* Files that we open must not become standard streams. */
static void occupy_standard_descriptors(void)
{
    int fd;
    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd > STDERR_FILENO) {
        close(fd);
    }
}

int main(int argc, char *argv[])
{
    occupy_standard_descriptors();
    signal(SIGPIPE, SIG_IGN);
    return hook_mode_is_meant(argc, argv) ? hook_mode_run(argv) : verbs_run(argc, argv);
}
