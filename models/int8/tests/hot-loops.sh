#!/usr/bin/env bash
# Disassembles a program with the int8 engine and looks at the innermost loops that multiply, in each kernel:
# one line for each, and failure if one stores to the stack (spills a register) or if there is none at all.
#
#   models/int8/tests/hot-loops.sh PROGRAM            OBJDUMP=aarch64-linux-gnu-objdump for a foreign one
set -euo pipefail

"${OBJDUMP:-objdump}" -d --no-show-raw-insn -M no-aliases "$1" 2>/dev/null | awk '
    function loops(    i, j, from, multiplies, stack, inner) {
        for (i = 1; i <= n; i++) {
            if (!(i in to) || !(to[i] in at) || at[to[i]] >= i) continue
            from = at[to[i]]; multiplies = stack = 0; inner = 1
            for (j = from; j <= i; j++) {
                if (text[j] ~ /^(sdot|smull2?|smlal2?|vpdpbusds?|vpmaddwd)[ \t]/) multiplies++
                if (text[j] ~ /^st.*\[sp|,-?(0x[0-9a-f]+)?\(%rsp[^)]*\)$/) stack++
                if (j < i && (j in to) && (to[j] in at) && at[to[j]] < j && at[to[j]] >= from) inner = 0
            }
            if (!inner || multiplies < 4) continue
            found++
            if (stack) bad++
            printf "%s%s: %d instructions, %d multiply, %d store to the stack\n", stack ? "SPILLS " : "", name, i - from + 1, multiplies, stack
        }
    }
    /^[0-9a-f]+ <.*>:$/ {
        if (kernel) loops()
        kernel = /facelatch_int8.*kernels/ && !/scalar/; name = $2; gsub(/[<>:]/, "", name); n = 0
        delete text; delete at; delete to
        next
    }
    kernel && /^ *[0-9a-f]+:/ {
        n++
        address = $1; sub(":", "", address); at[address] = n
        text[n] = $0; sub(/^ *[0-9a-f]+:[ \t]*/, "", text[n])
        if ($2 ~ /^(b|b\..*|cbn?z|tbn?z|j[a-z]+)$/) {
            target = $0; sub(/ *<.*/, "", target); sub(/.*[ \t,]/, "", target); sub(/^0x/, "", target)
            to[n] = target
        }
    }
    END {
        if (kernel) loops()
        if (!found) print "no loop that multiplies: is this a program with the engine, and with its symbols?"
        exit !found || bad > 0
    }
'
