#!/usr/bin/env bash
# What a program's package has to say of the crates that are linked into it, on standard output: a line for each, then each
# text of their licences once, under the names of those that came with it.
#
#   boards/deploy/notices.sh PACKAGE TRIPLE [FEATURES]
set -euo pipefail
cd "$(dirname "$0")/../.."

package=$1 triple=$2 features=${3-}

# NAME VERSION LICENCE SOURCE MANIFEST of each crate that is linked into the program, but our own; by tabs, and none empty.
linked() {
    local linked
    # What runs at build time only, such as macros, is not in the program.
    linked=$(cargo tree --locked --package "$package" --target "$triple" --features "$features" --edges normal,no-proc-macro \
        --prefix none --format '{p}' | awk '{print $1, substr($2, 2)}' | sort -u)
    cargo metadata --locked --format-version 1 --filter-platform "$triple" |
        jq -r '.packages[] | select(.source) | [.name, .version, .license // "see below", .repository // "-", .manifest_path] | @tsv' |
        awk -F '\t' 'NR == FNR { linked[$0]; next } ($1 " " $2) in linked' <(printf '%s\n' "$linked") - |
        sort
}

# CRATE FILE of every licence, copyright and notice that they came with.
texts() {
    local name version manifest text
    while IFS=$'\t' read -r name version _ _ manifest; do
        for text in "$(dirname "$manifest")"/{LICEN[CS]E,COPYING,COPYRIGHT,NOTICE,UNLICENSE}*; do
            if [[ -f $text ]]; then printf '%s %s\t%s\n' "$name" "$version" "$text"; fi
        done
    done
}

crates=$(linked)
if [[ -z $crates ]]; then
    echo "no crates found in $package for $triple" >&2
    exit 4
fi
printf 'Crates in this program, their versions, licences and sources. Their texts follow.\n\n'
printf 'The Rust standard library: MIT OR Apache-2.0, https://github.com/rust-lang/rust\n'
awk -F '\t' '{ printf "%s %s: %s, %s\n", $1, $2, $3, $4 }' <<<"$crates"

declare -A names files
order=()
while IFS=$'\t' read -r name text; do
    sum=$(sha256sum <"$text")
    if [[ -z ${files[$sum]-} ]]; then
        files[$sum]=$text
        order+=("$sum")
    fi
    names[$sum]+="${names[$sum]:+, }$name"
done < <(texts <<<"$crates")
for sum in "${order[@]}"; do
    printf '\n%s\n%s:\n\n' "----------------------------------------" "${names[$sum]}"
    cat "${files[$sum]}"
done
