# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later

# The mirror that this machine's apt uses for Debian itself.
debian_mirror()
{
    local site
    # Read to the end: a reader that leaves would be an error of the writer.
    # shellcheck disable=SC2016
    site=$(apt-get indextargets --format '$(SITE) $(ORIGIN) $(COMPONENT) $(CREATED_BY)' |
        awk '!found && $2 == "Debian" && $3 == "main" && $4 == "Packages" { print $1; found = 1 }')
    if [[ -z $site ]]; then
        echo "apt knows no Debian mirror; see /etc/apt/sources.list and run apt-get update" >&2
        return 1
    fi
    echo "$site"
}
