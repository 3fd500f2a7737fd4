/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation: the text is streamed.  Only the elements on the way to
 * /domain/devices are entered; one child of a known name at a time is expanded
 * to a tree, everything else (metadata above all) is skipped without building
 * one.  Which element a node is follows from its depth alone, because no other
 * element is ever entered:
 *
 *     0 domain        0 domstatus
 *     1   devices     1   domain
 *     2     hostdev   2     devices
 *                     3       hostdev
 *
 * A text with a document type declaration, which libvirt never writes, is
 * refused.  libxml2's reader reports one only after it has read all of it, and
 * by then a few hundred bytes of parameter entities can have kept it busy for
 * hours.  So the prolog, all before the root element, is read once by a parser
 * that is stopped as soon as a declaration begins: in any encoding, none
 * of it is ever looked at, there are no entities, and only the text is read.
 */
#include "host/domain.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libxml/parser.h>
#include <libxml/xmlmemory.h>
#include <libxml/xmlreader.h>

#include "base/memory.h"
#include "host/domain_parser.h"

enum { READER_OPTIONS = XML_PARSE_NONET | XML_PARSE_BIG_LINES, CHUNK_SIZE = 4096, ENCODING_SIZE = 4 };

void xml_text_free(xmlChar **text)
{
    xmlFree(*text);
}

bool xml_is_element(const xmlNode *node, const char *name)
{
    return node->type == XML_ELEMENT_NODE && !node->ns && strcmp((const char *)node->name, name) == 0;
}

bool xml_is_qemu_element(const xmlNode *node, const char *name)
{
    return node->type == XML_ELEMENT_NODE && node->ns && xmlStrEqual(node->ns->href, BAD_CAST QEMU_NAMESPACE) &&
           strcmp((const char *)node->name, name) == 0;
}

const xmlNode *xml_child(const xmlNode *node, const char *name)
{
    for (const xmlNode *child = node->children; child; child = child->next) {
        if (xml_is_element(child, name)) {
            return child;
        }
    }
    return NULL;
}

xmlChar *xml_attribute(const xmlNode *node, const char *name)
{
    return xmlGetNoNsProp(node, BAD_CAST name);
}

bool xml_attribute_is(const xmlNode *node, const char *name, const char *value)
{
    XML_TEXT_CLEANUP xmlChar *text = xml_attribute(node, name);
    return text && strcmp((const char *)text, value) == 0;
}

int domain_invalid(const struct domain_parser *parser, long line, const char *format, ...)
{
    va_list arguments;
    char message[sizeof parser->err->text];
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    return error_set(parser->err, STATUS_INVALID, "%s: line %ld: %s", parser->name, line, message);
}

/* The first fatal error that libxml2 reports, otherwise its first one. */
struct xml_problem {
    xmlErrorLevel level;
    int line;
    char message[512];
};

struct walk {
    xmlTextReaderPtr reader;
    struct domain_parser *parser;
    struct xml_problem problem;
    bool domain_seen;
};

enum step { STEP_ENTER, STEP_SKIP };

#if LIBXML_VERSION >= 21200
typedef const xmlError *xml_error_pointer;
#else
typedef xmlErrorPtr xml_error_pointer;
#endif

static void note_problem(void *data, xml_error_pointer error)
{
    struct xml_problem *problem = data;
    if (error->level <= problem->level) {
        return;
    }
    problem->level = error->level;
    problem->line = error->line;
    /* libxml2 2.9 says "Extra content" of both. */
    snprintf(problem->message, sizeof problem->message, "%s",
             error->code == XML_ERR_DOCUMENT_END ? "it is cut off, or something follows its end" : error->message);
    problem->message[strcspn(problem->message, "\n")] = '\0';
}

static int refuse_broken(const struct walk *walk)
{
    if (walk->problem.level == XML_ERR_NONE) {
        return error_set(walk->parser->err, STATUS_INVALID, "%s: libxml2 cannot read it", walk->parser->name);
    }
    return domain_invalid(walk->parser, walk->problem.line, "not well-formed XML: %s", walk->problem.message);
}

static long reader_line(const struct walk *walk)
{
    return xmlGetLineNo(xmlTextReaderCurrentNode(walk->reader));
}

static int domain_read_pid(struct walk *walk)
{
    XML_TEXT_CLEANUP xmlChar *text = xmlTextReaderGetAttribute(walk->reader, BAD_CAST "pid");
    uint64_t pid = 0;
    if (!text) {
        return 0;
    }
    if (!text_parse_number((const char *)text, INT_MAX, &pid)) {
        return domain_invalid(walk->parser, reader_line(walk), "<domstatus>: pid='%s' is not a process id", text);
    }
    walk->parser->domain.pid = (pid_t)pid;
    return 0;
}

static int domain_read_name(struct domain_parser *parser, const xmlNode *node)
{
    struct domain *domain = &parser->domain;
    if (!domain->name) {
        XML_TEXT_CLEANUP xmlChar *text = xmlNodeGetContent(node);
        domain->name = memory_copy_text(text ? (const char *)text : "");
    }
    return 0;
}

static int domain_read_uuid(struct domain_parser *parser, const xmlNode *node)
{
    XML_TEXT_CLEANUP xmlChar *text = xmlNodeGetContent(node);
    struct domain *domain = &parser->domain;
    if (!text || text[0] == '\0' || domain->uuid[0] != '\0') {
        return 0;
    }
    if (!text_parse_uuid((const char *)text, domain->uuid)) {
        return domain_invalid(parser, xmlGetLineNo(node), "<uuid>%s</uuid> is not a UUID", text);
    }
    return 0;
}

/* Hands the current element, with all that is in it, to READ; libxml2 frees it at
 * the next step. */
static int read_expanded(struct walk *walk, domain_element_reader read)
{
    const xmlNode *node = xmlTextReaderExpand(walk->reader);
    return node ? read(walk->parser, node) : refuse_broken(walk);
}

static int visit_root(struct walk *walk, const xmlChar *name, enum step *step)
{
    const char *name_space = (const char *)xmlTextReaderConstNamespaceUri(walk->reader);
    bool is_status = xmlStrEqual(name, BAD_CAST "domstatus");
    *step = STEP_ENTER;
    if (name_space) {
        return domain_invalid(walk->parser, reader_line(walk),
                              "the root element <%s> is in the namespace '%s'; "
                              "expected libvirt's <domain>, which is in none",
                              name, name_space);
    }
    if (!is_status && !xmlStrEqual(name, BAD_CAST "domain")) {
        return domain_invalid(walk->parser, reader_line(walk), "the root element is <%s>; expected libvirt's <domain>",
                              name);
    }
    walk->parser->status_form = is_status;
    walk->domain_seen = !is_status;
    return is_status ? domain_read_pid(walk) : 0;
}

static int visit_domain_child(struct walk *walk, const xmlChar *name, enum step *step)
{
    const xmlChar *name_space = xmlTextReaderConstNamespaceUri(walk->reader);
    if (name_space) {
        if (!xmlStrEqual(name_space, BAD_CAST QEMU_NAMESPACE)) {
            return 0;
        }
        if (xmlStrEqual(name, BAD_CAST "commandline")) {
            return read_expanded(walk, qemu_commandline_collect);
        }
        return xmlStrEqual(name, BAD_CAST "override") ? read_expanded(walk, qemu_override_read) : 0;
    }
    if (xmlStrEqual(name, BAD_CAST "devices")) {
        *step = STEP_ENTER;
        return 0;
    }
    if (xmlStrEqual(name, BAD_CAST "name")) {
        return read_expanded(walk, domain_read_name);
    }
    return xmlStrEqual(name, BAD_CAST "uuid") ? read_expanded(walk, domain_read_uuid) : 0;
}

static int visit_element(struct walk *walk, enum step *step)
{
    const xmlChar *name = xmlTextReaderConstLocalName(walk->reader);
    int depth = xmlTextReaderDepth(walk->reader) - (walk->parser->status_form ? 1 : 0);
    *step = STEP_SKIP;
    if (xmlTextReaderDepth(walk->reader) == 0) {
        return visit_root(walk, name, step);
    }
    if (depth == 1) {
        return visit_domain_child(walk, name, step);
    }
    if (xmlTextReaderConstNamespaceUri(walk->reader)) {
        return 0;
    }
    if (depth == 0 && xmlStrEqual(name, BAD_CAST "domain")) {
        walk->domain_seen = true;
        *step = STEP_ENTER;
        return 0;
    }
    domain_element_reader read = depth == 2 ? domain_device_reader(name) : NULL;
    return read ? read_expanded(walk, read) : 0;
}

static int walk_text(struct walk *walk)
{
    int more = xmlTextReaderRead(walk->reader);
    while (more == 1) {
        enum step step = STEP_ENTER;
        int type = xmlTextReaderNodeType(walk->reader);
        if (type == XML_READER_TYPE_ELEMENT && visit_element(walk, &step) < 0) {
            return -1;
        }
        more = step == STEP_ENTER ? xmlTextReaderRead(walk->reader) : xmlTextReaderNext(walk->reader);
    }
    if (more < 0 || walk->problem.level == XML_ERR_FATAL) {
        return refuse_broken(walk);
    }
    if (!walk->domain_seen) {
        return error_set(walk->parser->err, STATUS_INVALID, "%s: <domstatus> holds no <domain>", walk->parser->name);
    }
    return qemu_arguments_read(walk->parser);
}

/* What is before a document's root element. */
enum prolog {
    PROLOG_FINE,    /* nothing that matters */
    PROLOG_DOCTYPE, /* a document type declaration */
    PROLOG_BROKEN,  /* no root element is reached */
};

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

static enum prolog read_prolog(const char *text, size_t length)
{
    struct prolog_reading reading = {0};
    xmlSAXHandler handler = {
        .initialized = XML_SAX2_MAGIC,
        .internalSubset = see_doctype,
        .startElementNs = see_root,
    };
    size_t part = length < ENCODING_SIZE ? length : ENCODING_SIZE;
    bool more;
    reading.context = xmlCreatePushParserCtxt(&handler, &reading, text, (int)part, NULL);
    if (!reading.context) {
        return PROLOG_BROKEN;
    }
    xmlCtxtUseOptions(reading.context, READER_OPTIONS);
    do {
        text += part;
        length -= part;
        part = length < CHUNK_SIZE ? length : CHUNK_SIZE;
        more = xmlParseChunk(reading.context, text, (int)part, part == length) == 0 && part < length;
    } while (more && !reading.root_seen && !reading.doctype_seen);
    xmlFreeParserCtxt(reading.context);
    if (reading.doctype_seen) {
        return PROLOG_DOCTYPE;
    }
    return reading.root_seen ? PROLOG_FINE : PROLOG_BROKEN;
}

static int domain_read_text(struct walk *walk, const char *text, size_t length)
{
    switch (read_prolog(text, length)) {
    case PROLOG_DOCTYPE:
        return error_set(walk->parser->err, STATUS_INVALID,
                         "%s: it has a document type declaration (<!DOCTYPE>), which libvirt never writes; remove it",
                         walk->parser->name);
    case PROLOG_BROKEN:
        return refuse_broken(walk);
    case PROLOG_FINE:
        break;
    }
    walk->reader = xmlReaderForMemory(text, (int)length, NULL, NULL, READER_OPTIONS);
    if (!walk->reader) {
        return refuse_broken(walk);
    }
    int result = walk_text(walk);
    xmlFreeTextReader(walk->reader);
    return result;
}

int domain_parse(const char *text, size_t length, const char *name, struct domain *domain, struct error *err)
{
    struct domain_parser parser = {.name = name, .err = err};
    struct walk walk = {.parser = &parser};
    if (length == 0) {
        return error_set(err, STATUS_INVALID, "%s: it is empty; expected a domain's XML", name);
    }
    if (length > DOMAIN_XML_LIMIT) {
        return error_set(err, STATUS_INVALID, "%s: it has %zu bytes; more than %d are not accepted", name, length,
                         DOMAIN_XML_LIMIT);
    }
    /* Without a handler libxml2 prints to stderr. */
    xmlSetStructuredErrorFunc(&walk.problem, note_problem);
    int result = domain_read_text(&walk, text, length);
    xmlSetStructuredErrorFunc(NULL, NULL);
    qemu_arguments_free(&parser);
    if (result < 0) {
        domain_free(&parser.domain);
        return -1;
    }
    if (!parser.domain.name) {
        parser.domain.name = memory_copy_text("");
    }
    domain_unite_devices(&parser.domain);
    *domain = parser.domain;
    return 0;
}

void domain_free(struct domain *domain)
{
    for (size_t i = 0; i < domain->device_count; i++) {
        free(domain->devices[i].sysfs_path);
    }
    free(domain->devices);
    free(domain->name);
    text_list_free(&domain->warnings);
    *domain = (struct domain){0};
}
