/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation: libxml2's reader tells of a document type declaration
 * when it has read all of it, and by then a few hundred bytes of parameter
 * entities can have kept it busy for hours.  So the text up to the root element
 * is read once before, by a parser that is stopped as soon as a declaration
 * begins: whatever the encoding, none of it is ever looked at.
 */
#include "host/domain_prolog.h"

#include <stdbool.h>

#include <libxml/parser.h>

enum { CHUNK_SIZE = 4096, ENCODING_SIZE = 4 };

struct prolog_reading {
    xmlParserCtxtPtr context;
    bool root_seen;
    bool doctype_seen;
};

static void see_doctype(void *data, const xmlChar *name, const xmlChar *public_id, const xmlChar *system_id)
{
    struct prolog_reading *reading = data;

    (void)name;
    (void)public_id;
    (void)system_id;
    reading->doctype_seen = true;
    xmlStopParser(reading->context);
}

static void see_root(void *data, const xmlChar *name, const xmlChar *prefix, const xmlChar *name_space,
                     int namespace_count, const xmlChar **namespaces, int attribute_count, int default_count,
                     const xmlChar **attributes)
{
    struct prolog_reading *reading = data;

    (void)name;
    (void)prefix;
    (void)name_space;
    (void)namespace_count;
    (void)namespaces;
    (void)attribute_count;
    (void)default_count;
    (void)attributes;
    reading->root_seen = true;
    xmlStopParser(reading->context);
}

static void feed(struct prolog_reading *reading, const char *text, size_t length)
{
    bool more;

    do {
        size_t part = length < CHUNK_SIZE ? length : CHUNK_SIZE;
        length -= part;
        more = xmlParseChunk(reading->context, text, (int)part, length == 0) == 0 && length > 0;
        text += part;
    } while (more && !reading->root_seen && !reading->doctype_seen);
}

enum prolog domain_prolog_read(const char *text, size_t length, int parser_options)
{
    struct prolog_reading reading = {0};
    xmlSAXHandler handler = {
        .initialized = XML_SAX2_MAGIC,
        .internalSubset = see_doctype,
        .startElementNs = see_root,
    };
    size_t first = length < ENCODING_SIZE ? length : ENCODING_SIZE;

    reading.context = xmlCreatePushParserCtxt(&handler, &reading, text, (int)first, NULL);
    if (reading.context == NULL) {
        return PROLOG_BROKEN;
    }
    xmlCtxtUseOptions(reading.context, parser_options);
    feed(&reading, text + first, length - first);
    xmlFreeParserCtxt(reading.context);
    if (reading.doctype_seen) {
        return PROLOG_DOCTYPE;
    }
    return reading.root_seen ? PROLOG_FINE : PROLOG_BROKEN;
}
