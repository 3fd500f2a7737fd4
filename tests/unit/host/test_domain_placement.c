/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/domain_placement.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct domain_placement placement;

static int stop(void **state)
{
    (void)state;
    domain_placement_free(&placement);
    return 0;
}

static void place(const char *xml)
{
    domain_placement_free(&placement);
    domain_placement_read(xml, strlen(xml), &placement);
}

static void test_nothing(void **state)
{
    (void)state;
    place("<domain/>");
    assert_int_equal(placement.cpus.count, 0);
    assert_false(placement.every_vcpu);
    assert_false(placement.is_automatic);
    assert_int_equal(placement.memory_nodes.count, 0);
    place("<domain");
    assert_int_equal(placement.cpus.count, 0);
    place("<domstatus/>");
    assert_int_equal(placement.cpus.count, 0);
}

static void test_vcpus(void **state)
{
    (void)state;
    place("<domain><vcpu cpuset='1-3'>2</vcpu></domain>");
    assert_true(placement.every_vcpu);
    assert_int_equal(placement.cpus.count, 1);
    assert_string_equal(placement.cpus.items[0], "1-3");
    place("<domstatus><domain><vcpu>2</vcpu><cputune><shares>1</shares><vcpupin vcpu='1' cpuset='7'/></cputune>"
          "</domain></domstatus>");
    assert_false(placement.every_vcpu);
    assert_string_equal(placement.cpus.items[0], "7");
    place("<domain><vcpu cpuset='1'>2</vcpu><cputune><vcpupin vcpu='0' cpuset='7'/></cputune></domain>");
    assert_true(placement.every_vcpu);
    assert_int_equal(placement.cpus.count, 2);
    place("<domain><vcpu cpuset='1'>1</vcpu><cputune><vcpupin vcpu='0' cpuset='7'/></cputune></domain>");
    assert_int_equal(placement.cpus.count, 1);
    assert_string_equal(placement.cpus.items[0], "7");
    place("<domain><vcpu placement='auto'>1</vcpu></domain>");
    assert_true(placement.is_automatic);
}

static void test_memory(void **state)
{
    (void)state;
    place("<domain><numatune><memory mode='strict' nodeset='0-1'/></numatune></domain>");
    assert_int_equal(placement.memory_nodes.count, 1);
    assert_string_equal(placement.memory_nodes.items[0], "0-1");
    place("<domain><numatune><memory placement='auto'/></numatune></domain>");
    assert_int_equal(placement.memory_nodes.count, 0);
    assert_true(placement.is_automatic);
    place("<domain><numatune/></domain>");
    assert_false(placement.is_automatic);
}

#define EACH(test) cmocka_unit_test_teardown(test, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {EACH(test_nothing), EACH(test_vcpus), EACH(test_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
