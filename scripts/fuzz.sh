#!/usr/bin/env bash
# Fuzzers for a while each: fuzz.sh SECONDS [TARGET...]. Needs cargo-fuzz; a nightly compiler, or our own one told to act as such.
# The first inputs are upstream's golden objects where ../shared/reference is, and texts of our own tests.
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
seed() { mkdir -p "$corpus/$1" && printf '%b' "$3" >"$corpus/$1/$2"; }
mkdir -p "$corpus"
if compgen -G "$golden/golden-*.tar.gz" >/dev/null; then
  unpacked=$(mktemp -d); trap 'rm -rf "$unpacked"' EXIT
  for archive in "$golden"/golden-*.tar.gz; do
    mkdir "$unpacked/$(basename "$archive" .tar.gz)"
    tar -xzf "$archive" -C "$unpacked/$(basename "$archive" .tar.gz)"
  done
  for pair in json:json yaml:yaml protobuf:pb; do
    mkdir -p "$corpus/${pair%%:*}"
    find "$unpacked" -name "*.${pair##*:}" -size -24k | while read -r file; do
      cp "$file" "$corpus/${pair%%:*}/$(echo "${file#"$unpacked"/}" | tr / _)"
    done
  done
  mkdir -p "$corpus/patches" "$corpus/apply"
  find "$unpacked/golden-1.36" -name '*.json' -size -12k | while read -r file; do
    name=$(basename "$file")
    { cat "$file"; printf '\0'; cat "$file"; } | tee "$corpus/patches/$name" >"$corpus/apply/$name"
    { cat "$file"; printf '\0[{"op":"copy","from":"/metadata","path":"/spec/a"},{"op":"remove","path":"/kind"}]'; } >"$corpus/patches/json-$name"
    { cat "$file"; printf '\0{"metadata":{"$retainKeys":["name"],"$deleteFromPrimitiveList/finalizers":["a"],"labels":null}}'; } >"$corpus/patches/strategic-$name"
  done
else
  echo "fuzz: no golden objects in $golden; beginning with nothing"
fi
mkdir -p "$corpus/cel" "$corpus/selectors" "$corpus/scalars" "$corpus/patterns"
grep -ho '("[^"]*"' crates/cel/src/tests/values.rs | cut -c3- | tr -d '"' | head -400 | awk -v dir="$corpus/cel" '{ print > (dir "/" NR); close(dir "/" NR) }'
for n in 'a=b,c!=d' 'e in (f,g),!h' 'x.y/z notin (1,),k>5' 'metadata.name=a\\,b,spec.nodeName!=c'; do seed selectors "$(echo "$n" | cksum | cut -d' ' -f1)" "$n"; done
for n in 1.5Gi 100m 1e3 1h30m0.5s -2ms 2024-02-29T12:00:00.5+01:00 10.0.0.0/8 ::ffff:1.2.3.4 a.b/c; do seed scalars "$(echo "$n" | cksum | cut -d' ' -f1)" "$n"; done
for n in '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$' '(?i)\\\\pL{2,3}?|[^[:alpha:]-z]' '\\\\Qa.b\\\\E+(?P<n>x)'; do seed patterns "$(echo "$n" | cksum | cut -d' ' -f1)" "$n"; done
seed encryption_configuration 1 'kind: EncryptionConfiguration\napiVersion: apiserver.config.k8s.io/v1\nresources: [{resources: [secrets, "*.apps"], providers: [{aesgcm: {keys: [{name: key1, secret: AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=}]}}, {kms: {apiVersion: v2, name: vault, endpoint: "unix:///run/kms.sock", timeout: 5s}}, {identity: {}}]}]\n'
seed audit_policy 1 'apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n- {level: None, users: [a], verbs: [watch]}\n- {level: Request, resources: [{group: "", resources: [pods/*], resourceNames: [x]}]}\n- {level: Metadata, nonResourceURLs: ["/api*"]}\n'
seed kubeconfig 1 'current-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: {server: "http://127.0.0.1:1"}}]\nusers: [{name: u, user: {token: t}}]\n'
seed requests 1 'GET\n/apis/apps/v1/namespaces/x/deployments/d/scale\nwatch=1&limit=5&fieldSelector=metadata.name%3Da&continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiJhIn0\napplication/json;as=Table;v=v1;g=meta.k8s.io'
seed spdy 1 '\x80\x03\x00\x06\x00\x00\x00\x04\x00\x00\x00\x07\x00\x00\x00\x01\x01\x00\x00\x05hello'
seed websocket 1 '\x82\x86\x00\x00\x00\x00\x00stdin\x81\x85\x00\x00\x00\x000c3Rk'

failed=()
for target in "${targets[@]}"; do
  echo "== $target"
  mkdir -p "$corpus/$target"
  # Our code is safe Rust: its checks find more than a sanitizer would, in less time.
  "${cargo[@]}" fuzz run --sanitizer none "$target" -- -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 \
    -max_len=32768 -print_final_stats=1 -verbosity=0 || failed+=("$target")
done
[ ${#failed[@]} -eq 0 ] || { echo "fuzz: ${failed[*]} failed; inputs are in fuzz/artifacts" >&2; exit 1; }
