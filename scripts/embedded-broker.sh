# Shared by the checks with clients nobody here wrote and by bench/brokers: an embedded broker of their own, Apache Kafka's tools
# against it, and what is expected of them. Source it from bash after setting broker_options.

. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
cd "$root"

kafka=${KAFKA:-$root/../shared/kafka/kafka}
[ -x "$kafka" ] || die "no $kafka; name the program that starts Apache Kafka in KAFKA"
export KAFKA_KIT=${KAFKA_KIT:-$HOME/.cache/kafka-kit}

work=$(mktemp -d) broker=
announce_build
cargo build --locked --quiet -p kstreams-embedded-broker --bin embedded-broker
announce_build_done

# On $work/data; sets `broker` and `address`.
start_embedded() {
  : >"$work/address"
  "$CARGO_TARGET_DIR/debug/embedded-broker" --data-dir "$work/data" --listen 127.0.0.1:0 ${broker_options[@]+"${broker_options[@]}"} \
    >"$work/address" 2>"$work/broker.log" &
  broker=$!
  until [ -s "$work/address" ]; do
    kill -0 "$broker" 2>/dev/null || { cat "$work/broker.log" >&2; die "the broker ended"; }
    sleep 0.1
  done
  address=$(sed -n 's/^listening on //p' "$work/address")
}

stop_embedded() {
  kill "$broker" 2>/dev/null || true
  wait "$broker" 2>/dev/null || true
}
trap 'stop_embedded; rm -rf "$work"' EXIT

tool() { "$kafka" "$1" --bootstrap-server "$address" "${@:2}"; }
expect() { # WHAT WANTED GOT
  [ "$2" = "$3" ] || die "$1: $3 instead of $2"
  say "$1: $3"
}
