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

/* Each cell of the guest has its own <memnode>, or that of <memory> (conf/numa_conf.c). */
static void read_memory(const xmlNode *domain, struct domain_placement *placement)
{
    const xmlNode *tune = xml_child(domain, "numatune");
    const xmlNode *memory = tune ? xml_child(tune, "memory") : NULL;
    const xmlNode *cpu = xml_child(domain, "cpu");
    const xmlNode *numa = cpu ? xml_child(cpu, "numa") : NULL;
    XML_TEXT_CLEANUP xmlChar *general = memory ? xml_attribute(memory, "nodeset") : NULL;
    size_t cells = 0;
    for (const xmlNode *cell = numa ? numa->children : NULL; cell; cell = cell->next) {
        cells += xml_is_element(cell, "cell");
    }
    for (const xmlNode *node = tune ? tune->children : NULL; node; node = node->next) {
        XML_TEXT_CLEANUP xmlChar *nodes = xml_is_element(node, "memnode") ? xml_attribute(node, "nodeset") : NULL;
        if (nodes) {
            text_list_add(&placement->memory_nodes, "%s", nodes);
        }
    }
    if (general) {
        text_list_add(&placement->memory_nodes, "%s", general);
    } else if (placement->memory_nodes.count < cells) {
        text_list_free(&placement->memory_nodes);
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
    text_list_free(&placement->memory_nodes);
    *placement = (struct domain_placement){0};
}
