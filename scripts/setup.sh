# shellcheck shell=bash
# Sourced by ./try, ./test and tests/vm/suite: the project's own virtual environment, and the Debian packages of the tests.
# Sets `root` (the checkout) and `venv`.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=${PYRT_VENV:-$root/.venv}

fail() {
  echo "${0##*/}: $*" >&2
  exit 1
}

# install_pyrt EXTRAS: pyrt and the extras of pyproject.toml ("" or "test"), built from this checkout; again only after a change.
install_pyrt() {
  local extras=$1 stamp=$venv/installed-${1:-plain} sources
  sources=("$root/rust" "$root/python" "$root/Cargo.toml" "$root/Cargo.lock" "$root/pyproject.toml")
  if [ -e "$stamp" ] && [ -z "$(find "${sources[@]}" -newer "$stamp" -not -name __pycache__ -not -name '*.pyc' -print -quit)" ]; then
    return
  fi
  command -v cargo >/dev/null || fail "cargo is not found; install a stable Rust toolchain (1.85 or newer)"
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || fail "python3 is older than 3.10"
  [ -x "$venv/bin/python" ] || python3 -m venv "$venv" || fail "cannot make $venv; on Debian: apt-get install python3-venv"
  echo "${0##*/}: building and installing pyrt into $venv (about two minutes the first time)" >&2
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$root${extras:+[$extras]}" || fail "pip install failed"
  # An install with fewer extras is as new as this one; one with more may lack a package that pyproject.toml has gained.
  rm -f "$venv"/installed-*
  touch "$stamp" "$venv/installed-plain"
}

# install_packages NAME...: Debian packages that are missing.
install_packages() {
  local name missing=()
  for name in "$@"; do
    dpkg-query -W -f '${db:Status-Status}\n' "$name" 2>/dev/null | grep -qx installed || missing+=("$name")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  [ "$(id -u)" = 0 ] || fail "these packages are missing: ${missing[*]}"
  echo "${0##*/}: installing ${missing[*]}" >&2
  # Another apt may be at work, and a mirror may be slow to answer.
  local patient=(-o DPkg::Lock::Timeout=300 -o Acquire::Retries=5 -o Acquire::http::Timeout=60)
  apt-get "${patient[@]}" update -qq &&
    DEBIAN_FRONTEND=noninteractive apt-get "${patient[@]}" install -yqq --no-install-recommends "${missing[@]}" >/dev/null ||
    fail "apt-get install ${missing[*]} failed"
}
