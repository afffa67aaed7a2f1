# shellcheck shell=bash
# What install.sh and start share: where each peer lies once it is installed. To be sourced from this folder.

all_peers=(nats mosquitto nchan fastapi socketio bun)
dir=$(realpath -m "${PEERS_DIR:-../../../target/peers}")

case $(uname -m) in
  aarch64) bun_package=@oven/bun-linux-aarch64 ;;
  # Without AVX2 it takes another build.
  *) if grep -qw avx2 /proc/cpuinfo; then bun_package=@oven/bun-linux-x64; else bun_package=@oven/bun-linux-x64-baseline; fi ;;
esac

unknown() {
  echo "no peer is called $1; there are: ${all_peers[*]}" >&2
  exit 2
}

# The program of a peer; fails without a word where it is not installed.
program() {
  case $1 in
    nats) first "$dir/python/bin/nats-server" ;;
    mosquitto) first "$dir/debian/usr/sbin/mosquitto" /usr/sbin/mosquitto ;;
    nchan) first "$dir/debian/usr/sbin/nginx" /usr/sbin/nginx && first "$(nchan_module)" >/dev/null ;;
    fastapi) first "$dir/python/bin/uvicorn" ;;
    socketio) [[ -d $dir/node_modules/socket.io ]] && command -v node ;;
    bun | bun-*)
      [[ $1 =~ ^bun(-[1-9][0-9]*)?$ ]] || unknown "$1"
      first "$dir/node_modules/$bun_package/bin/bun"
      ;;
    *) unknown "$1" ;;
  esac
}

nchan_module() {
  first "$dir/debian/usr/lib/nginx/modules/ngx_nchan_module.so" /usr/lib/nginx/modules/ngx_nchan_module.so
}

# The first of these files that is there.
first() {
  local file
  for file in "$@"; do
    if [[ -e $file ]]; then echo "$file"; return; fi
  done
  return 1
}
