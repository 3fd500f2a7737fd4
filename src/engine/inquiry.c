/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/inquiry.h"

/* The settings are broken: VMs without PPUs pass all the same, if anybody can
 * tell which cards are PPUs. */
static int ask_without_settings(struct inquiry *inquiry, const char *config, const struct domain *domain)
{
    struct error ignored;
    bool passes = machine_open_salvaged(config, &inquiry->machine) &&
                  demand_resolve(inquiry->machine, domain, &inquiry->demand, &inquiry->warnings, &ignored) == 0 &&
                  !inquiry->demand.has_ppu;
    return passes ? 0 : -1;
}

int inquiry_make(struct inquiry *inquiry, const char *config, const struct domain *domain, struct error *err)
{
    *inquiry = (struct inquiry){0};
    if (domain->device_count == 0) {
        return 0;
    }
    if (machine_open(config, &inquiry->machine, err) < 0) {
        return ask_without_settings(inquiry, config, domain);
    }
    if (demand_resolve(inquiry->machine, domain, &inquiry->demand, &inquiry->warnings, err) < 0) {
        return -1;
    }
    /* A pinned card that is off the bus shows only by its address. */
    if (!inquiry->demand.has_ppu && inquiry->machine->settings.map_count == 0) {
        return 0;
    }
    if (machine_survey(inquiry->machine, err) < 0) {
        return inquiry->demand.has_ppu ? -1 : 0;
    }
    if (demand_number(inquiry->machine, &inquiry->demand, err) < 0) {
        return -1;
    }
    return inquiry->demand.has_ppu ? 1 : 0;
}

void inquiry_free(struct inquiry *inquiry)
{
    demand_free(&inquiry->demand);
    machine_close(inquiry->machine);
    text_list_free(&inquiry->warnings);
}
