#!/usr/bin/env bash
# Fuzzers for a while each: fuzz.sh SECONDS [TARGET...]. Needs cargo-fuzz; a nightly compiler, or our own one told to act as such.
# The first inputs are fuzz/seeds, upstream's golden objects where ../shared/reference is, and expressions of our own tests;
# the words that mean something are fuzz/words, and those that stand in quotes in the first inputs.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=$1; shift
cargo=(cargo +nightly)
"${cargo[@]}" version >/dev/null 2>&1 || { cargo=(cargo); export RUSTC_BOOTSTRAP=1; }
command -v cargo-fuzz >/dev/null || { echo "Fuzzing needs cargo-fuzz: cargo install cargo-fuzz." >&2; exit 1; }
targets=("$@")
[ $# -gt 0 ] || mapfile -t targets < <(sed -n 's/^name = "\(.*\)"$/\1/p' fuzz/Cargo.toml | tail -n +2)

corpus=fuzz/corpus
golden=${GOLDEN:-../shared/reference/golden}
mkdir -p "$corpus"
cp -r fuzz/seeds/. "$corpus"
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT

# copy TARGET KIBIBYTES PATTERN RELEASE: golden objects as inputs.
copy() {
  mkdir -p "$corpus/$1"
  find "$work"/golden/$4 -name "$3" -size "-$2k" | while read -r file; do
    cp "$file" "$corpus/$1/$(echo "${file#"$work"/golden/}" | tr / _)"
  done
}
if compgen -G "$golden/golden-*.tar.gz" >/dev/null; then
  for archive in "$golden"/golden-*.tar.gz; do
    release=$(basename "$archive" .tar.gz)
    mkdir -p "$work/golden/${release#golden-}"
    tar -xzf "$archive" -C "$work/golden/${release#golden-}"
  done
  copy json 24 '*.json' '*'; copy yaml 24 '*.yaml' '*'; copy protobuf 24 '*.pb' '*'; copy objects 12 '*.json' 1.36
  mkdir -p "$corpus/patches" "$corpus/apply"
  find "$work/golden/1.36" -name '*.json' -size -12k | while read -r file; do
    name=$(basename "$file")
    { cat "$file"; printf '\0'; cat "$file"; } | tee "$corpus/patches/$name" >"$corpus/apply/$name"
    { cat "$file"; printf '\0[{"op":"copy","from":"/metadata","path":"/spec/a"},{"op":"remove","path":"/kind"}]'; } >"$corpus/patches/json-$name"
    { cat "$file"; printf '\0{"metadata":{"$retainKeys":["name"],"$deleteFromPrimitiveList/finalizers":["a"],"labels":null}}'; } >"$corpus/patches/strategic-$name"
  done
else
  echo "fuzz: no golden objects in $golden; beginning with less"
fi
mkdir -p "$corpus/cel"
grep -ho '("[^"]*"' crates/cel/src/tests/values.rs | cut -c3- | tr -d '"' | head -400 | awk -v dir="$corpus/cel" '{ print > (dir "/" NR); close(dir "/" NR) }'

# words TARGET: a dictionary.
words() {
  cat "fuzz/words/$1" 2>/dev/null || true
  grep -raoh '"[][A-Za-z0-9./$-]\{1,40\}"' "$corpus/$1" 2>/dev/null | sort | uniq -c | sort -rn | head -1500 | sed 's/.*"\(.*\)"/"\\"\1\\""/' || true
}

failed=()
for target in "${targets[@]}"; do
  echo "== $target"
  mkdir -p "$corpus/$target"
  # An empty dictionary is an error.
  words "$target" >"$work/words"; echo '"\x00"' >>"$work/words"
  # Our code is safe Rust: its checks find more than a sanitizer would, in less time.
  "${cargo[@]}" fuzz run --sanitizer none "$target" -- -max_total_time="$seconds" ${FUZZ_FLAGS:-} -timeout=10 -report_slow_units=2 \
    -rss_limit_mb=1024 -malloc_limit_mb=256 -max_len=32768 -dict="$work/words" -print_final_stats=1 -verbosity=0 || failed+=("$target")
done
[ ${#failed[@]} -eq 0 ] || { echo "fuzz: ${failed[*]} failed; inputs are in fuzz/artifacts" >&2; exit 1; }
