/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "base/paths.h"

static void check_resolve(const char *path, const char *expected)
{
    char *resolved = paths_resolve("%s", path);

    assert_string_equal(resolved, expected);
    free(resolved);
}

static void test_real_host(void **state)
{
    (void)state;

    unsetenv("ICN_SYSROOT");
    assert_false(paths_simulated());
    assert_string_equal(paths_sysroot(), "");
    check_resolve(PATH_SETTINGS, "/etc/icn-hook/icn-hook.conf");

    setenv("ICN_SYSROOT", "", 1);
    assert_false(paths_simulated());
    assert_string_equal(paths_sysroot(), "");
    check_resolve(PATH_STATE, "/run/icn-hook");
}

static void test_simulated_host(void **state)
{
    (void)state;

    setenv("ICN_SYSROOT", "/srv/host", 1);
    assert_true(paths_simulated());
    assert_string_equal(paths_sysroot(), "/srv/host");
    check_resolve(PATH_STATE, "/srv/host/run/icn-hook");
    check_resolve("/srv/hostile", "/srv/host/srv/hostile");
}

static void test_sysroot_loses_trailing_slashes(void **state)
{
    (void)state;

    setenv("ICN_SYSROOT", "/srv/host//", 1);
    assert_string_equal(paths_sysroot(), "/srv/host");
    check_resolve("/sys", "/srv/host/sys");

    setenv("ICN_SYSROOT", "/", 1);
    assert_true(paths_simulated());
    assert_string_equal(paths_sysroot(), "");
    check_resolve("/sys", "/sys");
}

static void test_path_under_the_sysroot_stays(void **state)
{
    (void)state;

    setenv("ICN_SYSROOT", "/srv/host/", 1);
    check_resolve("/srv/host/sys/bus", "/srv/host/sys/bus");
    check_resolve("/srv/host", "/srv/host");
}

static void test_change_of_sysroot_is_seen(void **state)
{
    (void)state;

    setenv("ICN_SYSROOT", "/one", 1);
    assert_string_equal(paths_sysroot(), "/one");
    setenv("ICN_SYSROOT", "/one/more", 1);
    assert_string_equal(paths_sysroot(), "/one/more");
    setenv("ICN_SYSROOT", "/two", 1);
    assert_string_equal(paths_sysroot(), "/two");
}

static void test_resolve_formats(void **state)
{
    (void)state;

    setenv("ICN_SYSROOT", "/h", 1);
    char *path = paths_resolve("%s/%d/stat", PATH_PROC, 42);
    assert_string_equal(path, "/h/proc/42/stat");
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_real_host),
        cmocka_unit_test(test_simulated_host),
        cmocka_unit_test(test_sysroot_loses_trailing_slashes),
        cmocka_unit_test(test_path_under_the_sysroot_stays),
        cmocka_unit_test(test_change_of_sysroot_is_seen),
        cmocka_unit_test(test_resolve_formats),
    };
    return cmocka_run_group_tests_name("base/paths", tests, NULL, NULL);
}
