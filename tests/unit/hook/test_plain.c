/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "hook/plain.h"

static void assert_passes(const char *text)
{
    if (!plain_cannot_hold(text, strlen(text))) {
        fail_msg("must pass: %s", text);
    }
}

static void assert_not_judged(const char *text)
{
    if (plain_cannot_hold(text, strlen(text))) {
        fail_msg("must not be judged here: %s", text);
    }
}

static void test_domains_without_the_words_pass(void **state)
{
    (void)state;
    assert_passes("<domain type='kvm'><name>a</name></domain>");
    assert_passes("<domain type='kvm'>\n  <devices>\n    <disk type='file'/>\n  </devices>\n</domain>\n");
    assert_passes("\xef\xbb\xbf \t\r\n<domain><name>a &amp; b</name><!-- c --><![CDATA[d]]></domain> \n\t\r");
    assert_passes("<domain><path>C:\\temp</path></domain>");
}

static void test_each_word_is_found_wherever_it_stands(void **state)
{
    (void)state;
    assert_not_judged("<domain><devices><hostdev type='pci'/></devices></domain>");
    assert_not_judged("<domain><devices><interface type='hostdev'/></devices></domain>");
    assert_not_judged("<domain><devices><disk type='nvme'/></devices></domain>");
    assert_not_judged("<domain><qemu:arg value='vfio-pci,host=08:00.0'/></domain>");
    assert_not_judged("<domain><title>my vfio vm</title></domain>");
}

static void test_letters_that_are_not_bytes(void **state)
{
    (void)state;
    assert_not_judged("<domain><interface type='&#104;ostdev'/></domain>");
    assert_not_judged("<domain><qemu:arg value='{\"driver\":\"\\u0076fio-pci\"}'/></domain>");
    assert_not_judged("<!DOCTYPE domain [<!ENTITY a 'host'>]><domain><a>&a;</a></domain>");
    assert_not_judged("<domain><!-- fine --><!ELEMENT a ANY></domain>");
    assert_not_judged("<domain><![CDATA[<!ENTITY]]></domain>");
    assert_not_judged("<domain><!-</domain>");
    assert_not_judged("<domain><![CDATA</domain>");
    assert_not_judged("\xff\xfe<\x01/domain>");
    assert_false(plain_cannot_hold("<domain>\0</domain>", 18));
}

static void test_encodings(void **state)
{
    (void)state;
    assert_passes("<?xml version='1.0'?><domain></domain>");
    assert_passes("<?xml version='1.0' encoding='UTF-8'?><domain></domain>");
    assert_passes("<?xml version=\"1.0\" encoding = \"utf-8\" standalone='yes'?>\n<domain></domain>");
    assert_passes("<?xml version='1.0' encoding='us-ascii'?><domain></domain>");
    assert_passes("<?xml version='1.0' encoding='ASCII'?><domain></domain>");
    assert_not_judged("<?xml version='1.0' encoding='UTF-7'?><domain></domain>");
    assert_not_judged("<?xml version='1.0' encoding='UTF-16'?><domain></domain>");
    assert_not_judged("<?xml version='1.0' encoding='UTF'?><domain></domain>");
    assert_not_judged("<?xml version='1.0' encoding='UTF-8x'?><domain></domain>");
    assert_not_judged("<?xml version='1.0' encoding='UTF-8?><domain></domain>");
    assert_not_judged("<?xml version='1.0' encoding=UTF-8?><domain></domain>");
    assert_not_judged("<?xml version='1.0' encoding?><domain></domain>");
    assert_not_judged("<?xml version='1.0' encoding=?><domain></domain>");
    assert_not_judged("<?xml version='1.0' encoding:'UTF-8'?><domain></domain>");
    assert_not_judged("<?xml version='1.0' <domain></domain>");
}

static void test_incomplete_texts_are_not_judged(void **state)
{
    (void)state;
    assert_not_judged("");
    assert_not_judged(" \n");
    assert_not_judged("\xef\xbb\xbf");
    assert_not_judged("<");
    assert_not_judged("domain></domain>");
    assert_not_judged("<domain><devices>");
    assert_not_judged("<domain></domain><!-- behind -->");
    assert_not_judged("/domain>");
}

/* Every proper beginning of a domain is incomplete. */
static void test_every_truncation(void **state)
{
    static const char text[] =
        "<?xml version='1.0' encoding='UTF-8'?><domain type='kvm'><!-- c --><name>a</name></domain>";

    (void)state;
    for (size_t length = 0; length < sizeof(text) - 1; length++) {
        assert_false(plain_cannot_hold(text, length));
    }
    assert_true(plain_cannot_hold(text, sizeof(text) - 1));
}

static void test_blanks(void **state)
{
    (void)state;
    for (int byte = 0; byte < 256; byte++) {
        assert_int_equal(plain_is_blank((char)byte), byte == 0x20 || byte == 0x09 || byte == 0x0a || byte == 0x0d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_domains_without_the_words_pass),
        cmocka_unit_test(test_each_word_is_found_wherever_it_stands),
        cmocka_unit_test(test_letters_that_are_not_bytes),
        cmocka_unit_test(test_encodings),
        cmocka_unit_test(test_incomplete_texts_are_not_judged),
        cmocka_unit_test(test_every_truncation),
        cmocka_unit_test(test_blanks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
