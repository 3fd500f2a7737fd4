/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>

/* What stands before an XML document's root element. */
enum prolog {
    PROLOG_FINE,    /* nothing that matters */
    PROLOG_DOCTYPE, /* a document type declaration */
    PROLOG_BROKEN,  /* no root element is reached */
};

/* PARSER_OPTIONS are libxml2's (xmlParserOption).  Errors go to libxml2's
 * structured error function. */
enum prolog domain_prolog_read(const char *text, size_t length, int parser_options);
