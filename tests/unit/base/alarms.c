/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "alarms.h"

#include <signal.h>
#include <stddef.h>
#include <sys/time.h>

static void ignore_alarm(int number)
{
    (void)number;
}

void alarms_begin(void)
{
    const struct sigaction action = {.sa_handler = ignore_alarm};
    const struct itimerval often = {.it_interval.tv_usec = 3000, .it_value.tv_usec = 3000};

    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
}

/* The last alarm may still be on its way: valgrind delivers signals late, and
 * the default action would end the test. */
void alarms_end(void)
{
    const struct itimerval never = {0};

    setitimer(ITIMER_REAL, &never, NULL);
    signal(SIGALRM, SIG_IGN);
}
