# Shared by the scripts here and by .ci/run: where builds go, messages, what kind of machine this is.
# Source it from bash; it changes no file and installs nothing.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# Builds lie outside the checkout, so that several checkouts and clean clones share the compiled RocksDB and librdkafka.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$HOME/.cache/kstreams-target}

# rustup puts cargo here; a shell that is not a login shell often lacks it.
if ! command -v cargo >/dev/null 2>&1 && [ -x "$HOME/.cargo/bin/cargo" ]; then
  export PATH="$HOME/.cargo/bin:$PATH"
fi

say() { printf '==> %s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }
is_root() { [ "$(id -u)" = 0 ]; }

# The package manager this machine uses: apt, dnf, pacman, apk, zypper, brew or none.
package_manager() {
  if [ "$(uname -s)" = Darwin ]; then echo brew; return; fi
  local m
  for m in apt-get dnf pacman apk zypper; do
    if have "$m"; then echo "${m%-get}"; return; fi
  done
  echo none
}

# The workspace's minimum supported Rust version, from the one place that states it.
msrv() { sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml" | head -n 1; }

# at_least 1.89 1.91.0: is the second version the first or a later one?
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

# Built here, or given to the build as a library (ROCKSDB_LIB_DIR, see librocksdb-sys).
rocksdb_is_built() { [ -n "${ROCKSDB_LIB_DIR:-}" ] || compgen -G "$CARGO_TARGET_DIR/debug/build/librocksdb-sys-*/out/librocksdb.a" >/dev/null; }

# Says what a first build costs, and then, once a minute, how far RocksDB is: cargo itself is silent about it.
# The caller ends it with `announce_build_done`.
announce_build() {
  announcer=
  rocksdb_is_built && return 0
  say "first build: RocksDB, librdkafka and OpenSSL are compiled from source, 10 to 20 minutes on two cores; later builds take seconds to a minute"
  say "build directory: $CARGO_TARGET_DIR (set CARGO_TARGET_DIR for another)"
  (
    start=$SECONDS
    while sleep 60; do
      rocksdb_is_built && exit 0
      objects=$(find "$CARGO_TARGET_DIR"/debug/build/librocksdb-sys-*/out -name '*.o' 2>/dev/null | wc -l)
      say "still building after $(((SECONDS - start) / 60)) min: $((objects)) of about 345 RocksDB files"
    done
  ) &
  announcer=$!
}

announce_build_done() {
  # It has ended by itself where RocksDB was built a while ago.
  if [ -n "${announcer:-}" ]; then kill "$announcer" 2>/dev/null || true; fi
  announcer=
}
