#!/usr/bin/env bash
# All tests in groups that run at once, because most of them wait more than they work: `test_groups.sh PYTEST`.
# With COMPILED=1 the sidecar's tests run on the compiled sidecar, its unit tests on the pure one too, in a network of
# their own: they use the same loopback addresses. The group `sidecar` is shown as it goes, the others when they have
# ended, one that failed last. The meshes of e2e run the sidecar as it is installed. Ends with exit code 1 if one failed.
set -uo pipefail
pytest=$1
directory=.tools/tests
functions=(tests/integration/functions)
processes=(tests/e2e tests/browser tests/integration/packaging tests/integration/lambda_runtime)
# What runs the sidecar's own code and can therefore differ when it is compiled. Others' software speaks to the pure one
# only: what it would see differ, the raw frames of test_rfc*.py and the clients of integration/sidecar see too.
processes_of_sidecar=(tests/integration/sidecar tests/conformance/test_rfc*.py)
compiled=(tests/unit/sidecar/core tests/unit/sidecar/proxy "${processes_of_sidecar[@]}")

run_compiled() {
    TRAMO_EXPECTED_BUILD=compiled "$@" "$pytest" --override-ini='pythonpath=functions .tools/sidecar/wheel .' "${compiled[@]}"
}
if [ "${2:-}" = compiled ]; then run_compiled; exit; fi

mkdir -p "$directory"
rm -f "$directory"/*.log
declare -A running=()
start() { # NAME COMMAND
    "${@:2}" >"$directory/$1.log" 2>&1 &
    running[$1]=$!
}
trap 'kill "${running[@]}" 2>/dev/null; wait; exit 130' INT TERM

start functions "$pytest" "${functions[@]}"
start processes env TRAMO_SIDECAR="$PWD/.tools/sidecar/bin/tramo-sidecar" "$pytest" "${processes[@]}"
names=(functions processes)
others=("${functions[@]}" "${processes[@]}")
if [ "${COMPILED:-0}" = 1 ]; then
    others+=("${processes_of_sidecar[@]}")
    # shellcheck disable=SC2016 # the inner shell expands it
    start compiled run_compiled unshare --net sh -c 'ip link set lo up && exec "$@"' sh
    names=(compiled "${names[@]}")
fi
printf -- '--- tests: sidecar and all others, while %s run into %s\n' "${names[*]}" "$directory"
passed=() failed=()
if "$pytest" tests "${others[@]/#/--ignore=}" 2>&1 | tee "$directory/sidecar.log"; then
    : # shown already
else
    failed=(sidecar)
fi
for name in "${names[@]}"; do
    if wait "${running[$name]}"; then passed+=("$name"); else failed+=("$name"); fi
done
for name in "${passed[@]}" "${failed[@]}"; do
    printf -- '--- tests: %s\n' "$name"
    cat "$directory/$name.log"
done
[ ${#failed[@]} -eq 0 ]
