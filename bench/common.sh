# Shared by bench/run and bench/compare: builds the program, finds the harness and a broker. Source it from bash.

. "$(dirname "${BASH_SOURCE[0]}")/../scripts/common.sh"

harness=${JVM_BENCH:-$root/../shared/bench/jvm/bench}
kafka=${KAFKA:-$root/../shared/kafka/kafka}
program=$CARGO_TARGET_DIR/debug/kstreams-bench

[ -x "$harness" ] || die "no benchmark harness at $harness; name it in JVM_BENCH (see bench/README.md)"

# Optimised code of our own crates over the workspace's one profile: dependencies are optimised there already, and a
# release build would compile RocksDB and librdkafka a second time for nothing.
build_program() {
  announce_build
  CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_OPT_LEVEL=3 CARGO_PROFILE_DEV_DEBUG_ASSERTIONS=false \
    CARGO_PROFILE_DEV_OVERFLOW_CHECKS=false cargo build --locked --quiet -p kstreams-bench
  announce_build_done
}

# A broker of our own, unless KAFKA_PORT names one that runs already. The harness reads both variables.
start_broker() {
  export KAFKA_KIT=${KAFKA_KIT:-$HOME/.cache/kstreams-bench-kafka} KAFKA_PORT=${KAFKA_PORT:-29492}
  export BENCH_DIR=${BENCH_DIR:-$KAFKA_KIT/bench}
  if (exec 3<>"/dev/tcp/127.0.0.1/$KAFKA_PORT") 2>/dev/null; then return 0; fi
  [ -x "$kafka" ] || die "no broker on port $KAFKA_PORT and no $kafka to start one; name it in KAFKA"
  "$kafka" start 1 >/dev/null
  broker_is_ours=1
  trap stop_broker EXIT
}

stop_broker() { [ -z "${broker_is_ours:-}" ] || "$kafka" stop; }

# The JVM's application keeps its place in the group until its session ends (45 s), as does any that is killed.
await_session_end() { sleep 50; }
