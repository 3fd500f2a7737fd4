# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# bash completion for icn-hook(8).  What can be completed is asked of the program:
# `icn-hook complete KIND` prints lines of word, value and description.

# Splits the line up to the cursor as the shell does, into WORDS without quotes.
# QUOTE is the quotation mark that is open.  KEPT is how many characters of the last
# word readline leaves alone: it replaces only what follows a mark or a colon.
_icn_hook_split()
{
    local line=${COMP_LINE:0:COMP_POINT} word='' begun='' char i
    words=() quote='' kept=0
    for ((i = 0; i < ${#line}; i++)); do
        char=${line:i:1}
        if [[ $char == \\ && $quote != "'" ]]; then
            ((i += 1))
            word+=${line:i:1} begun=1
        elif [[ -n $quote && $char == "$quote" ]]; then
            quote='' kept=${#word}
        elif [[ -n $quote ]]; then
            word+=$char
        elif [[ $char == [\"\'] ]]; then
            quote=$char begun=1 kept=${#word}
        elif [[ $char == [[:blank:]] ]]; then
            [[ -z $begun ]] || words+=("$word")
            word='' begun='' kept=0
        else
            word+=$char begun=1
            [[ $COMP_WORDBREAKS != *"$char"* ]] || kept=${#word}
        fi
    done
    words+=("$word")
}

_icn_hook_ask()
{
    "$program" ${config:+--config "$config"} complete "$1" 2>/dev/null
}

# The first words of the lines that the program prints for KIND $1, behind $2.
_icn_hook_offer()
{
    local word
    while IFS=$'\t' read -r word _; do
        candidates+=("$2$word")
    done < <(_icn_hook_ask "$1")
}

_icn_hook_offer_options()
{
    local word
    while IFS=$'\t' read -r word _; do
        [[ $word != --* ]] || candidates+=("$word")
    done < <(_icn_hook_ask "options:$1")
}

_icn_hook_offer_files()
{
    local file
    compopt -o filenames 2>/dev/null
    has_files=1 # readline quotes them by itself
    while IFS= read -r file; do
        candidates+=("$1$file")
    done < <(compgen -f -- "$2")
}

# Groups of cards; a card that stands in the list already is not offered.
_icn_hook_offer_list()
{
    local prefix=$1 list=$2 word
    local before=${list%"${list##*[,|]}"}
    compopt -o nospace 2>/dev/null
    while IFS=$'\t' read -r word _; do
        [[ ",${before//|/,}" == *",$word,"* ]] || candidates+=("$prefix$before$word")
    done < <(_icn_hook_ask cards)
}

_icn_hook_offer_domains()
{
    local name
    while IFS= read -r name; do
        [[ -z $name ]] || candidates+=("$1$name")
    done < <(virsh -r -q ${uri:+-c "$uri"} list --all --name 2>/dev/null)
}

# What may stand for VALUE, a word of the help, after the verb or option $1; $3 is
# what stands before it in the same word, $4 what is typed of it.
_icn_hook_offer_value()
{
    local of=$1 value=$2 prefix=$3 typed=$4
    case $of:$value in
    *:*FILE*) _icn_hook_offer_files "$prefix" "$typed" ;;
    *:DIR) _icn_hook_offer_files "$prefix" "$typed" ;;
    *:*LIST*)
        _icn_hook_offer_list "$prefix" "$typed"
        [[ $value != *NAME* ]] || _icn_hook_offer names "$prefix"
        ;;
    *:*WHEN*) candidates+=("${prefix}auto" "${prefix}always" "${prefix}never") ;;
    *:T) candidates+=("${prefix}today" "${prefix}yesterday") ;;
    *:NODE) _icn_hook_offer nodes "$prefix" ;;
    *:URI) candidates+=("${prefix}qemu:///system") ;;
    *:*VERB*) _icn_hook_offer verbs "$prefix" ;;
    --domain:* | *:VM*) _icn_hook_offer_domains "$prefix" ;;
    release:*) _icn_hook_offer groups "$prefix" ;;
    *:*CARD*)
        _icn_hook_offer cards "$prefix"
        [[ $value != *NAME* ]] || _icn_hook_offer names "$prefix"
        [[ $value != *A-B* || $typed != *-* ]] || _icn_hook_offer cards "$prefix${typed%-*}-"
        ;;
    esac
}

# COMPREPLY: the candidates that continue the last word, without what readline keeps.
_icn_hook_reply()
{
    local typed=${words[-1]} candidate
    COMPREPLY=()
    for candidate in "${candidates[@]}"; do
        if [[ $candidate == "$typed"* ]]; then
            candidate=${candidate:kept}
            if [[ -z $quote && -z $has_files && $candidate == *[!A-Za-z0-9_.,:/=@%+-]* ]]; then
                printf -v candidate %q "$candidate"
            fi
            COMPREPLY+=("$candidate")
        fi
    done
}

_icn_hook()
{
    local program=$1 quote kept verb='' argument='' wanted='' config='' uri='' dry='' has_files='' word value
    local -a words=() candidates=()
    local -A takes=() argument_of=()
    _icn_hook_split
    while IFS=$'\t' read -r word value _; do
        takes[$word]=$value
    done < <(_icn_hook_ask options:)
    while IFS=$'\t' read -r word value _; do
        argument_of[$word]=$value
    done < <(_icn_hook_ask verbs)

    # What the words before the last one say.
    for word in "${words[@]:1:${#words[@]}-2}"; do
        if [[ -n $wanted ]]; then
            value=$word word=$wanted wanted=''
        elif [[ $word == --*=* ]]; then
            value=${word#*=} word=${word%%=*}
        elif [[ -n $word && ${takes[$word]:--} != - ]]; then
            wanted=$word
            continue
        fi
        case $word in
        --config) config=$value ;;
        -c | --connect) uri=$value ;;
        -n | --dry-run) dry=1 ;;
        -r | --reset | -g | --gen_topo | --vm_devices | --check_devices) verb=$word argument=1 ;;
        -?*) ;;
        *)
            if [[ -z $verb ]]; then
                verb=$word
            else
                argument=1
            fi
            ;;
        esac
    done

    word=${words[-1]}
    compopt -o nosort 2>/dev/null
    if [[ -n $wanted ]]; then
        _icn_hook_offer_value "$wanted" "${takes[$wanted]}" '' "$word"
    elif [[ $word == --*=* ]]; then
        _icn_hook_offer_value "${word%%=*}" "${takes[${word%%=*}]:-}" "${word%%=*}=" "${word#*=}"
    elif [[ $word == -* ]]; then
        _icn_hook_offer_options "$verb"
    elif [[ -z $verb ]]; then
        _icn_hook_offer verbs ''
        [[ -z $dry ]] || _icn_hook_offer_files '' "$word"
    elif [[ $verb == run && " ${words[*]} " == *' -- '* ]]; then
        compopt -o default 2>/dev/null
        return
    elif [[ -n $argument && ${argument_of[$verb]:-} == *...* ]]; then
        value=${argument_of[$verb]##* }
        [[ $value == COMMAND* ]] || _icn_hook_offer_value "$verb" "${value/LIST/CARD}" '' "$word"
    elif [[ -z $argument ]]; then
        _icn_hook_offer_value "$verb" "${argument_of[$verb]:-}" '' "$word"
    fi
    _icn_hook_reply
}

complete -F _icn_hook icn-hook
