# Fuzzing of formats: each parser for NEARDATA_FUZZ_MINUTES (10), NEARDATA_FUZZ_JOBS (2) at a time, with 4 GiB of address space.
#   fuzz NAME FILE…        queues the parser NAME with these files as seeds; `fuzz_all` runs what is queued
minutes=${NEARDATA_FUZZ_MINUTES:-10}
seed=${NEARDATA_FUZZ_SEED:-$(date +%s)}
findings=$CACHE/soak/fuzz
(cd "$ROOT" && cargo build --release --quiet --workspace --exclude neardata-python --example fuzz)
fuzzer=$CARGO_TARGET_DIR/release/examples/fuzz
queue=()

fuzz() {
    local name=$1; shift
    [ $# -gt 0 ] || fail "there are no seeds for the parser $name"
    mkdir -p "$findings/$name"
    printf '%s\n' "$@" > "$findings/$name/seeds"
    queue+=("$name")
}

one() {
    local name=$1 list
    mapfile -t list < "$findings/$name/seeds"
    if (ulimit -v 4194304; "$fuzzer" run $((minutes * 60)) "$seed" "$findings/$name/found" "${list[@]}") > "$findings/$name/log" 2>&1; then
        echo "$name: $(tail -n 1 "$findings/$name/log")"
    else
        echo "$name: FOUND SOMETHING, or ended early; see $findings/$name"
        tail -n 3 "$findings/$name/log"
        return 1
    fi
}

fuzz_all() {
    export -f one
    export fuzzer findings minutes seed
    say "fuzzing ${#queue[@]} parsers, $minutes minutes each, seed $seed"
    printf '%s\n' "${queue[@]}" | xargs -P "${NEARDATA_FUZZ_JOBS:-2}" -I '{}' bash -c 'one {}'
}
