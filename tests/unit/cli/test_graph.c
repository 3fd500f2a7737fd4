/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/view.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "../engine/scene.h"
#include "capture.h"

static void print(void)
{
    const struct options options = {0};
    struct session session;
    struct error err;
    capture_begin();
    if (view_open(&session, &options, &err) == 0) {
        graph_print(&session, stdout);
    }
    session_close(&session);
    capture_end();
}

static void put_node(int ppu, const char *node)
{
    char path[128];
    snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/numa_node", addresses[ppu]);
    simulated_text(path, node);
}

/* One node for all that is outside, whatever is cut. */
static void test_external_links(void **state)
{
    (void)state;
    simulated_text(TOPOLOGY,
                   "==device0==\nppuid: 0\nlink[0]: nbrPpuid:9\nlink[1]: nbrPpuid:9\nlink[5]: nbrPpuid:1\n"
                   "==device1==\nppuid: 1\nlink[0]: nbrPpuid:0\n==device2==\nppuid: 2\nlink[7]: nbrPpuid:4\n");
    simulated_text(CARDS_CONF, "[map]\n0 = 0000:08:00.0\n1 = 0000:7e:00.0\n2 = 0000:a2:00.0\n");
    scene_running("a", VM_A, "0", 101);
    set_masks((const uint32_t[CARDS]){0x23, 0x01, 0});
    print();
    assert_string_equal(strstr(captured_stdout(), "  ppu0 -- ppu1"),
                        "  ppu0 -- ppu1 [color=gray40, style=dashed];\n"
                        "  external [label=\"external\", shape=ellipse, fillcolor=white];\n"
                        "  ppu0 -- external [color=gray40, style=dashed, label=\"2\"];\n"
                        "  ppu2 -- external [color=black, penwidth=2];\n"
                        "}\n");
    set_masks((const uint32_t[CARDS]){0x22, 0x01, 0});
    print();
    assert_non_null(strstr(captured_stdout(), "  ppu0 -- external [color=red, penwidth=4, label=\"2\"];\n"));
}

static void test_whole(void **state)
{
    (void)state;
    simulated_text(TOPOLOGY, "==========device0==========\nppuid: 0\nlink[2]: nbrPpuid:1\nlink[3]: nbrPpuid:1\n"
                             "==========device1==========\nppuid: 1\nlink[2]: nbrPpuid:0\nlink[4]: nbrPpuid:0\n"
                             "link[5]: nbrPpuid:2\n"
                             "==========device2==========\nppuid: 2\nlink[0]: nbrPpuid:1\nlink[1]: nbrPpuid:3\n"
                             "==========device3==========\nppuid: 3\nlink[1]: nbrPpuid:2\n");
    simulated_text(CARDS_CONF, "[map]\n0 = 0000:08:00.0\n1 = 0000:7e:00.0\n2 = 0009:00:00.0\n");
    scene_running("a&amp;&quot;b\\", VM_A, "1", 101);
    put_node(0, "1\n");
    put_node(1, "0\n");
    set_masks((const uint32_t[CARDS]){0x8, 0});
    scene_unplug("234567");
    print();
    assert_string_equal(
        captured_stdout(),
        "graph icn {\n"
        "  layout=fdp; K=1.2; sep=\"+25,25\"; overlap=false; splines=true; fontname=\"sans-serif\"; "
        "labelloc=b;\n"
        "  label=\"line: open   dashes: cut   dots: cannot be read   blue dashes: cut when read back at the start   "
        "orange dots: must be cut, not verified   red: leak\";\n"
        "  node [shape=box, style=\"rounded,filled\", fontname=\"sans-serif\"];\n"
        "  edge [fontname=\"sans-serif\"];\n"
        "  subgraph cluster_numa1 {\n"
        "    label=\"NUMA node 1\"; color=gray50; style=rounded;\n"
        "    ppu0 [label=\"PPU 0\\n0000:08:00.0\\nidle\", fillcolor=\"white\"];\n"
        "  }\n"
        "  subgraph cluster_numa0 {\n"
        "    label=\"NUMA node 0\"; color=gray50; style=rounded;\n"
        "    ppu1 [label=\"PPU 1\\n0000:7e:00.0\\na&amp;\\\"b\\\\x5c\", fillcolor=\"#56B4E9\"];\n"
        "  }\n"
        "    ppu2 [label=\"PPU 2\\n0009:00:00.0 (absent)\\nidle\", fillcolor=\"white\"];\n"
        "    ppu3 [label=\"PPU 3\\nno card\\nidle\", fillcolor=\"white\"];\n"
        "  ppu0 -- ppu1 [color=red, penwidth=4, label=\"2\"];\n"
        "  ppu1 -- ppu2 [color=\"#D55E00\", style=dotted, penwidth=3];\n"
        "  ppu2 -- ppu3 [color=gray50, style=dotted];\n"
        "}\n");
}

static void test_edges(void **state)
{
    (void)state;
    simulated_text(TOPOLOGY, "==========device0==========\nppuid: 0\nlink[2]: nbrPpuid:1\nlink[3]: nbrPpuid:1\n"
                             "==========device1==========\nppuid: 1\nlink[2]: nbrPpuid:0\nlink[4]: nbrPpuid:0\n");
    simulated_text(CARDS_CONF, "[map]\n0 = 0000:08:00.0\n1 = 0000:7e:00.0\n");
    print();
    assert_non_null(strstr(captured_stdout(), "ppu0 -- ppu1 [color=black, penwidth=2, label=\"2\"];"));
    set_masks((const uint32_t[CARDS]){0x8, 0});
    print();
    assert_non_null(strstr(captured_stdout(), "ppu0 -- ppu1 [color=gray40, style=dashed, label=\"1 of 2\"];"));
    set_masks((const uint32_t[CARDS]){0xc, 0});
    print();
    assert_non_null(strstr(captured_stdout(), "ppu0 -- ppu1 [color=gray40, style=dashed, label=\"2\"];"));
    scene_hold(0);
    print();
    assert_non_null(strstr(captured_stdout(), "unknown\", fillcolor=\"gray80\"];"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_whole, scene_start),
        cmocka_unit_test_setup(test_external_links, scene_start),
        cmocka_unit_test_setup(test_edges, scene_start),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
