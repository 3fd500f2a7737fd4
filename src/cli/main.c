/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <signal.h>

#include "base/file.h"
#include "cli/hook_mode.h"
#include "cli/verbs.h"

int main(int argc, char *argv[])
{
    file_occupy_standard_descriptors();
    signal(SIGPIPE, SIG_IGN);
    return hook_mode_is_meant(argc, argv) ? hook_mode_run(argv) : verbs_run(argc, argv);
}
