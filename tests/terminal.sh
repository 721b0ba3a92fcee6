#!/usr/bin/env bash
# A person at a terminal: the UI opens on a scenario, answers its keys, survives a small window, gives the terminal back,
# and an interrupted run leaves a readable directory. Needs tmux, and the program as `cargo test` and `cargo build` leave it.
set -euo pipefail
cd "$(dirname "$0")/.."
export LANG=C.UTF-8 LC_ALL=C.UTF-8
forebay=${CARGO_TARGET_DIR:-target}/debug/forebay
[ -x "$forebay" ] || { echo "terminal: $forebay is not there; cargo build makes it"; exit 1; }
work=$(mktemp -d)
server=forebay-test-$$
tmux() { command tmux -L "$server" -f /dev/null "$@"; }
cleanup() {
  tmux kill-server 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT

fail() {
  echo "terminal: $1"
  tmux capture-pane -t t -p || true
  exit 1
}

# ends PID WHAT: waits until it has ended with its terminal.
ends() {
  for _ in $(seq 600); do
    if ! kill -0 "$1" 2>/dev/null; then return; fi
    sleep 0.1
  done
  kill -9 "$1"
  echo "terminal: $2 outlives its terminal"
  exit 1
}

# shows TEXT: waits until the screen shows it, a minute at most: the machine may have other things to do.
shows() {
  for _ in $(seq 600); do
    if tmux capture-pane -t t -p | grep -qF -- "$1"; then return 0; fi
    sleep 0.1
  done
  fail "the screen does not show '$1'"
}

tmux new-session -d -s t -x 120 -y 40 "bash --noprofile --norc"
tmux send-keys -t t "PS1='prompt> '; clear" Enter
shows 'prompt>'

echo "the UI opens, is paused, asked for help, resized and left"
tmux send-keys -t t "$forebay run scenarios/flash-crowd.toml --seed 1" Enter
shows 'flash-crowd'
tmux send-keys -t t Space
shows 'PAUSED'
tmux send-keys -t t '?'
shows 'quit'
tmux send-keys -t t Escape
for size in "40 12" "80 24" "160 50"; do
  read -r columns rows <<<"$size"
  tmux resize-window -t t -x "$columns" -y "$rows"
  shows 'PAUSED'
done
# An escape that another key follows at once would be read as Alt and that key.
for key in n n ']' '[' x Escape c m a Escape; do
  tmux send-keys -t t "$key"
  sleep 0.3
done
tmux send-keys -t t q
shows 'prompt>'
tmux send-keys -t t "clear; stty -a | grep -o -- ' echo' | head -n 1; echo left with \$?" Enter
shows 'left with 0'
tmux capture-pane -t t -p | grep -q '^ echo' || fail "the terminal does not echo any more"

# Production of which nothing is there: it says so, and does nothing.
sed -e "s#@RUN@#$work#g; s#@PORT@#9#; s#@OWNER@#forebay-nowhere#; s#@OVS@#$work/db.sock#; s#@KERNEL@#/nowhere/vmlinuz#" \
  -e "s#@INITRD@#/nowhere/initrd#; /^\[\[event\]\]/,/^uplift/d; s#period = \"5 s\"#period = \"1 s\"#" \
  tests/live/edge.toml >"$work/edge.toml"
echo 'hmac-sha256:steer:c3RlZXJpbmctaXMtdGVzdGVkLXdpdGgtdGhpcw==' >"$work/dns.key"
chmod 600 "$work/dns.key"

echo "live mode is operated: yes is typed, the kill switch takes a word, and q leaves machines alone"
tmux send-keys -t t "clear; $forebay live $work/edge.toml" Enter
shows ' LIVE '
shows 'kill switch'
tmux resize-window -t t -x 160 -y 50
shows 'how it stands'
tmux send-keys -t t 'yes vm-7' Enter
shows 'nothing is proposed for vm-7'
tmux send-keys -t t K
shows 'type kill to let nothing be written'
tmux send-keys -t t K Enter
shows 'nothing was done'
[ ! -e "$work/state/kill-switch.json" ] || fail "two keys closed the kill switch"
tmux send-keys -t t K
tmux send-keys -t t 'kill' Enter
shows 'KILL SWITCH CLOSED'
[ -e "$work/state/kill-switch.json" ] || fail "it is not noted that the kill switch is closed"
tmux send-keys -t t q
shows 'machines stay as they are'
tmux send-keys -t t "clear; echo left with \$?" Enter
shows 'left with 0'

echo "live mode ends when its terminal goes, and another need not wait"
rm "$work/state/kill-switch.json"
tmux new-session -d -s gone -x 80 -y 24 "exec $forebay live $work/edge.toml"
pid=$(tmux display-message -t gone -p '#{pane_pid}')
for _ in $(seq 600); do
  if tmux capture-pane -t gone -p | grep -qF ' LIVE '; then break; fi
  sleep 0.1
done
tmux kill-session -t gone
ends "$pid" "live mode"
timeout 60 "$forebay" live "$work/edge.toml" --headless --for 1s </dev/null >"$work/live" 2>&1 || fail "no other takes over"
if ! grep -q 'writes, in epoch 3' "$work/live" || grep -q 'waits' "$work/live"; then
  cat "$work/live"
  fail "it was waited for"
fi

echo "the UI ends when its terminal goes"
tmux send-keys -t t "clear; exec $forebay run scenarios/flash-crowd.toml" Enter
shows 'flash-crowd'
pid=$(tmux display-message -t t -p '#{pane_pid}')
tmux kill-session -t t
ends "$pid" "the UI"

echo "piped, the same command prints the summary"
"$forebay" run scenarios/steady.toml --until "30 min" | grep -q 'VM-hours'

echo "an interrupted run leaves a readable directory"
"$forebay" run scenarios/diurnal.toml --headless --out "$work/run" >"$work/summary" 2>"$work/talk" &
pid=$!
for _ in $(seq 1200); do
  if [ -s "$work/run/decisions.jsonl" ]; then break; fi
  sleep 0.05
done
kill -INT "$pid"
status=0
wait "$pid" || status=$?
[ "$status" -ne 0 ] || { echo "terminal: the run was over before it was interrupted"; exit 1; }
grep -q '"complete": *false' "$work/run/manifest.json" || { cat "$work/run/manifest.json"; exit 1; }
for file in "$work"/run/*.json; do python3 -m json.tool "$file" >/dev/null; done
for file in "$work"/run/*.jsonl; do
  python3 -c 'import json, sys; [json.loads(line) for line in open(sys.argv[1])]' "$file"
done
"$forebay" replay "$work/run/journal.jsonl" >/dev/null

echo "the terminal works"
