/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/domain_placement.h"

#include <stdlib.h>
#include <string.h>

#include <libxml/parser.h>

#include "base/memory.h"
#include "host/domain_parser.h"

/* Each vCPU has its own <vcpupin>, or that of <vcpu> (conf/domain_conf.c). */
static void read_cpus(const xmlNode *domain, struct domain_placement *placement)
{
    const xmlNode *vcpu = xml_child(domain, "vcpu");
    const xmlNode *tune = xml_child(domain, "cputune");
    XML_TEXT_CLEANUP xmlChar *count_text = vcpu ? xmlNodeGetContent(vcpu) : NULL;
    XML_TEXT_CLEANUP xmlChar *general = vcpu ? xml_attribute(vcpu, "cpuset") : NULL;
    unsigned long count = count_text ? strtoul((const char *)count_text, NULL, 10) : 1;
    unsigned long pins = 0;
    placement->is_automatic = vcpu && xml_attribute_is(vcpu, "placement", "auto");
    for (const xmlNode *pin = tune ? tune->children : NULL; pin; pin = pin->next) {
        XML_TEXT_CLEANUP xmlChar *cpus = xml_is_element(pin, "vcpupin") ? xml_attribute(pin, "cpuset") : NULL;
        if (cpus) {
            pins++;
            text_list_add(&placement->cpus, "%s", cpus);
        }
    }
    if (general && pins < count) {
        text_list_add(&placement->cpus, "%s", general);
    }
    placement->every_vcpu = general || (pins > 0 && pins >= count);
}

static void read_memory(const xmlNode *domain, struct domain_placement *placement)
{
    const xmlNode *tune = xml_child(domain, "numatune");
    const xmlNode *memory = tune ? xml_child(tune, "memory") : NULL;
    XML_TEXT_CLEANUP xmlChar *nodes = memory ? xml_attribute(memory, "nodeset") : NULL;
    if (nodes) {
        placement->memory_nodes = memory_copy_text((const char *)nodes);
    }
    placement->is_automatic |= memory && xml_attribute_is(memory, "placement", "auto");
}

void domain_placement_read(const char *text, size_t length, struct domain_placement *placement)
{
    *placement = (struct domain_placement){0};
    xmlDocPtr document =
        xmlReadMemory(text, (int)length, NULL, NULL, XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
    const xmlNode *domain = document ? xmlDocGetRootElement(document) : NULL;
    if (domain && xml_is_element(domain, "domstatus")) {
        domain = xml_child(domain, "domain");
    }
    if (domain) {
        read_cpus(domain, placement);
        read_memory(domain, placement);
    }
    xmlFreeDoc(document);
}

void domain_placement_free(struct domain_placement *placement)
{
    text_list_free(&placement->cpus);
    free(placement->memory_nodes);
    *placement = (struct domain_placement){0};
}
