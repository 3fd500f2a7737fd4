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
 * refused before: there are no entities, and nothing but the text is read.
 */
#include "host/domain.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include <libxml/parser.h>
#include <libxml/xmlreader.h>

#include "base/memory.h"
#include "host/domain_parser.h"
#include "host/domain_prolog.h"

enum { READER_OPTIONS = XML_PARSE_NONET | XML_PARSE_BIG_LINES };

/* The first fatal error that libxml2 tells of, or else the first one. */
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
    snprintf(problem->message, sizeof(problem->message), "%s",
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

static int read_pid(struct walk *walk)
{
    XML_TEXT_CLEANUP xmlChar *text = xmlTextReaderGetAttribute(walk->reader, BAD_CAST "pid");
    uint64_t pid = 0;

    if (text == NULL) {
        return 0;
    }
    if (!text_parse_number((const char *)text, INT_MAX, &pid)) {
        return domain_invalid(walk->parser, reader_line(walk), "<domstatus>: pid='%s' is not a process id", text);
    }
    walk->parser->domain.pid = (pid_t)pid;
    return 0;
}

static int read_name(struct domain_parser *parser, const xmlNode *node)
{
    struct domain *domain = &parser->domain;

    if (domain->name == NULL) {
        XML_TEXT_CLEANUP xmlChar *text = xmlNodeGetContent(node);
        domain->name = memory_copy_text(text != NULL ? (const char *)text : "");
    }
    return 0;
}

static int read_uuid(struct domain_parser *parser, const xmlNode *node)
{
    XML_TEXT_CLEANUP xmlChar *text = xmlNodeGetContent(node);
    struct domain *domain = &parser->domain;

    if (text == NULL || text[0] == '\0' || domain->uuid[0] != '\0') {
        return 0;
    }
    if (!text_parse_uuid((const char *)text, domain->uuid)) {
        return domain_invalid(parser, xmlGetLineNo(node), "<uuid>%s</uuid> is not a UUID", text);
    }
    return 0;
}

/* Hands the current element with all that is in it to READ; libxml2 frees it at
 * the next step. */
static int read_expanded(struct walk *walk, domain_element_reader read)
{
    const xmlNode *node = xmlTextReaderExpand(walk->reader);
    return node == NULL ? refuse_broken(walk) : read(walk->parser, node);
}

static int refuse_root(const struct walk *walk, const xmlChar *name)
{
    const char *name_space = (const char *)xmlTextReaderConstNamespaceUri(walk->reader);

    if (name_space != NULL) {
        return domain_invalid(walk->parser, reader_line(walk),
                              "the root element <%s> is in the namespace '%s'; "
                              "expected libvirt's <domain>, which is in none",
                              name, name_space);
    }
    return domain_invalid(walk->parser, reader_line(walk), "the root element is <%s>; expected libvirt's <domain>",
                          name);
}

static int visit_root(struct walk *walk, const xmlChar *name, enum step *step)
{
    bool is_status = xmlStrEqual(name, BAD_CAST "domstatus");

    *step = STEP_ENTER;
    if (xmlTextReaderConstNamespaceUri(walk->reader) != NULL || (!is_status && !xmlStrEqual(name, BAD_CAST "domain"))) {
        return refuse_root(walk, name);
    }
    walk->parser->status_form = is_status;
    walk->domain_seen = !is_status;
    return is_status ? read_pid(walk) : 0;
}

static int visit_domain_child(struct walk *walk, const xmlChar *name, enum step *step)
{
    const xmlChar *name_space = xmlTextReaderConstNamespaceUri(walk->reader);

    if (name_space != NULL) {
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
        return read_expanded(walk, read_name);
    }
    return xmlStrEqual(name, BAD_CAST "uuid") ? read_expanded(walk, read_uuid) : 0;
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
    if (xmlTextReaderConstNamespaceUri(walk->reader) != NULL) {
        return 0;
    }
    if (depth == 0 && xmlStrEqual(name, BAD_CAST "domain")) {
        walk->domain_seen = true;
        *step = STEP_ENTER;
        return 0;
    }
    domain_element_reader read = depth == 2 ? domain_device_reader(name) : NULL;
    return read != NULL ? read_expanded(walk, read) : 0;
}

static int walk_text(struct walk *walk)
{
    int more = xmlTextReaderRead(walk->reader);

    while (more == 1) {
        enum step step = STEP_ENTER;
        int type = xmlTextReaderNodeType(walk->reader);

        if (type == XML_READER_TYPE_ELEMENT && visit_element(walk, &step) != 0) {
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

static int read_text(struct walk *walk, const char *text, size_t length)
{
    switch (domain_prolog_read(text, length, READER_OPTIONS)) {
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
    if (walk->reader == NULL) {
        return refuse_broken(walk);
    }
    int result = walk_text(walk);
    xmlFreeTextReader(walk->reader);
    return result;
}

static int parse(struct domain_parser *parser, const char *text, size_t length)
{
    struct walk walk = {.parser = parser};

    /* Without a handler libxml2 prints to stderr. */
    xmlSetStructuredErrorFunc(&walk.problem, note_problem);
    int result = read_text(&walk, text, length);
    xmlSetStructuredErrorFunc(NULL, NULL);
    return result;
}

int domain_parse(const char *text, size_t length, const char *name, struct domain *domain, struct error *err)
{
    struct domain_parser parser = {.name = name, .err = err};

    if (length == 0) {
        return error_set(err, STATUS_INVALID, "%s: it is empty; expected a domain's XML", name);
    }
    if (length > DOMAIN_XML_LIMIT) {
        return error_set(err, STATUS_INVALID, "%s: it has %zu bytes; more than %d are not accepted", name, length,
                         DOMAIN_XML_LIMIT);
    }
    int result = parse(&parser, text, length);
    qemu_arguments_free(&parser);
    if (result != 0) {
        domain_free(&parser.domain);
        return -1;
    }
    if (parser.domain.name == NULL) {
        parser.domain.name = memory_copy_text("");
    }
    domain_unite_devices(&parser.domain);
    *domain = parser.domain;
    return 0;
}
