/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/view.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "../engine/scene.h"
#include "capture.h"

#define METRIC(name, help, samples) "# HELP icn_hook_" name " " help "\n# TYPE icn_hook_" name " gauge\n" samples

/* Of a host with two cards, of which a VM has the second. */
static const char *const metrics[] = {
    METRIC("up", "The host could be looked at: 0 if nothing is known about its links.", "icn_hook_up 1\n"),
    METRIC("build_info", "The version of icn-hook.", "icn_hook_build_info{version=\"" PACKAGE_VERSION "\"} 1\n"),
    METRIC("hook_installed", "libvirt finds the hook, and can execute it. No line: only root can tell.",
           "icn_hook_hook_installed 0\n"),
    METRIC(
        "hook_known",
        "The daemon of libvirt knows the hook: 0 if the hook has changed since it started. No line: nothing shows it.",
        ""),
    METRIC("confirmed", "icn-hook confirm tried the registers, map and topology that are in force, and they are right.",
           "icn_hook_confirmed 0\n"),
    METRIC("leaks", "Pairs of cards between which a link is open that must not be.", "icn_hook_leaks 1\n"),
    METRIC("external_leaks", "External links that are open and must not be.", "icn_hook_external_leaks 0\n"),
    METRIC(
        "leaks_by_kind",
        "The leaks by what they join: pairs of cards of two VMs, a VM's with an idle one, and external links of a VM.",
        "icn_hook_leaks_by_kind{kind=\"vm-vm\"} 0\n"
        "icn_hook_leaks_by_kind{kind=\"vm-idle\"} 1\n"
        "icn_hook_leaks_by_kind{kind=\"vm-external\"} 0\n"),
    METRIC("drift_cards", "Cards that lack cuts which they should have.", "icn_hook_drift_cards 2\n"),
    METRIC("owners_known", "The owner of every card is known: 0 if part of the state cannot be read.",
           "icn_hook_owners_known 1\n"),
    METRIC("unknown_holders", "Cards held open by a process that is not a known VM.", "icn_hook_unknown_holders 0\n"),
    METRIC("links_required", "Links that must be cut.", "icn_hook_links_required 3\n"),
    METRIC("links", "Links that must be cut, by what is known of them: proven, gated or unverified.",
           "icn_hook_links{evidence=\"proven\"} 1\n"
           "icn_hook_links{evidence=\"gated\"} 0\n"
           "icn_hook_links{evidence=\"unverified\"} 2\n"),
    METRIC("cards_owed", "Cards that are owed the mask they had before.", "icn_hook_cards_owed 0\n"),
    METRIC("vms_without_gate", "Running VMs with a card that was not read back for them before QEMU opened it.",
           "icn_hook_vms_without_gate 0\n"),
    "# HELP icn_hook_refusals_total VMs that were not started since the host was booted, by the reason. No line: no "
    "journal.\n# TYPE icn_hook_refusals_total counter\n",
    METRIC("last_operation_timestamp_seconds",
           "When a hook or a verb that changes something ended last. No line: none has.", ""),
    METRIC("last_operation_duration_seconds", "How long that took, from its start until what it did was logged.", ""),
    METRIC("card_present", "The card is on the PCI bus.",
           "icn_hook_card_present{ppu=\"0\",bdf=\"0000:08:00.0\"} 1\n"
           "icn_hook_card_present{ppu=\"1\",bdf=\"0000:7e:00.0\"} 1\n"
           "icn_hook_card_present{ppu=\"2\",bdf=\"\"} 0\n"),
    METRIC("card_readable", "The link register of the card can be read; not so while a VM runs with it.",
           "icn_hook_card_readable{ppu=\"0\",bdf=\"0000:08:00.0\"} 1\n"
           "icn_hook_card_readable{ppu=\"1\",bdf=\"0000:7e:00.0\"} 1\n"
           "icn_hook_card_readable{ppu=\"2\",bdf=\"\"} 0\n"),
    METRIC("card_owner_info", "The VM or group that has the card. No line: nobody, or nobody that is known.",
           "icn_hook_card_owner_info{ppu=\"1\",bdf=\"0000:7e:00.0\",vm=\"a\\\"b\\\\c\\nd\",uuid=\"" VM_A "\"} 1\n"),
    METRIC("link_open", "Open links between two cards, as read now. No line: the cards cannot be read.",
           "icn_hook_link_open{a=\"0\",b=\"1\"} 1\n"),
    METRIC("external_link_open", "Open external links of a card, as read now. No line: it has none, or cannot be read.",
           ""),
};

static void print(void)
{
    const struct options options = {0};
    struct session session;
    struct error err;
    capture_begin();
    if (view_open(&session, &options, &err) == 0) {
        prometheus_print(&session, stdout);
    }
    session_close(&session);
    capture_end();
}

static int start(void **state)
{
    scene_start(state);
    simulated_text(TOPOLOGY, "==========device0==========\nppuid: 0\nlink[2]: nbrPpuid:1\nlink[3]: nbrPpuid:1\n"
                             "==========device1==========\nppuid: 1\nlink[2]: nbrPpuid:0\nlink[4]: nbrPpuid:0\n"
                             "link[5]: nbrPpuid:2\n"
                             "==========device2==========\nppuid: 2\nlink[0]: nbrPpuid:1\n");
    simulated_text(CARDS_CONF, "[map]\n0 = 0000:08:00.0\n1 = 0000:7e:00.0\n");
    return 0;
}

static void test_whole(void **state)
{
    (void)state;
    scene_running("a\"b\\c&#10;d", VM_A, "1", 101);
    set_masks((const uint32_t[CARDS]){0x8, 0});
    print();
    const char *rest = captured_stdout();
    for (size_t i = 0; i < sizeof metrics / sizeof metrics[0]; i++) {
        if (strncmp(rest, metrics[i], strlen(metrics[i])) != 0) {
            assert_string_equal(rest, metrics[i]);
        }
        rest += strlen(metrics[i]);
    }
    assert_string_equal(rest, "");
}

static void test_external_links(void **state)
{
    (void)state;
    simulated_text(TOPOLOGY, "==device0==\nppuid: 0\nlink[2]: nbrPpuid:9\nlink[3]: nbrPpuid:9\n==device1==\nppuid: 1\n"
                             "link[0]: nbrPpuid:9\n==device2==\nppuid: 2\nlink[0]: nbrPpuid:9\n");
    scene_running("a", VM_A, "0", 101);
    set_masks((const uint32_t[CARDS]){0x8, 0x1});
    print();
    assert_non_null(strstr(captured_stdout(), "\nicn_hook_leaks 0\n"));
    assert_non_null(strstr(captured_stdout(), "\nicn_hook_external_leaks 1\n"));
    assert_non_null(strstr(captured_stdout(), "\nicn_hook_leaks_by_kind{kind=\"vm-external\"} 1\n"));
    assert_non_null(strstr(captured_stdout(), "\nicn_hook_links_required 2\n"));
    assert_non_null(strstr(captured_stdout(), "\nicn_hook_links{evidence=\"proven\"} 1\n"));
    assert_string_equal(strstr(captured_stdout(), "icn_hook_external_link_open{"),
                        "icn_hook_external_link_open{ppu=\"0\",bdf=\"0000:08:00.0\"} 1\n"
                        "icn_hook_external_link_open{ppu=\"1\",bdf=\"0000:7e:00.0\"} 0\n");
}

static void test_odd_owners(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .phase = CLAIM_RUNNING, .ppus = "0"});
    simulated_text(CLAIM_OF(VM_A), "broken");
    scene_hold(1);
    print();
    assert_non_null(strstr(captured_stdout(), "\nicn_hook_owners_known 0\n"));
    assert_non_null(strstr(captured_stdout(), "\nicn_hook_unknown_holders 1\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_whole, start),
        cmocka_unit_test_setup(test_external_links, start),
        cmocka_unit_test_setup(test_odd_owners, start),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
