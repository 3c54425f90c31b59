#!/usr/bin/env bash
# Installs the system libraries that open3d needs and that a bare machine may lack.
set -euo pipefail
packages=()
command -v ldconfig >/dev/null || exit 0
has() { ldconfig -p | grep -q "$1"; }
has libusb-1.0.so.0 || packages+=(libusb-1.0-0)
has libGL.so.1 || packages+=(libgl1)
has libX11.so.6 || packages+=(libx11-6)
has libgomp.so.1 || packages+=(libgomp1)
[ ${#packages[@]} -eq 0 ] && exit 0
run=()
[ "$(id -u)" -eq 0 ] || run=(sudo)
if ! command -v apt-get >/dev/null || { [ ${#run[@]} -gt 0 ] && ! command -v sudo >/dev/null; }; then
  echo "Please install these system packages and try again: ${packages[*]}" >&2
  exit 1
fi
"${run[@]}" apt-get update -qq
DEBIAN_FRONTEND=noninteractive "${run[@]}" apt-get install -y -qq --no-install-recommends "${packages[@]}"
