#!/usr/bin/env bash
# Makes sure that Qt and OpenGL can start: installs Debian/Ubuntu libraries where it may, else says which are missing.
set -eu
[ "$(uname -s)" = Linux ] || exit 0

libraries="libgl1 libegl1 libgl1-mesa-dri libxkbcommon-x11-0 libxcb-cursor0 libxcb-icccm4 libxcb-image0 libxcb-keysyms1
libxcb-randr0 libxcb-render-util0 libxcb-shape0 libxcb-xinerama0 libxcb-xkb1 libdbus-1-3 libfontconfig1 libglib2.0-0"
# a virtual display only where there is no real one
[ -n "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ] && [ "${1:-}" != test ] || libraries="$libraries xvfb xauth"

if ! command -v dpkg-query >/dev/null; then
  for file in libEGL.so.1 libGL.so.1 libxcb-cursor.so.0 libxkbcommon-x11.so.0; do
    ldconfig -p 2>/dev/null | grep -q "$file" || echo "If napari does not start: install the package that holds $file."
  done
  exit 0
fi

missing=""
for name in $libraries; do
  # 64-bit time transition: libglib2.0-0 may be installed as libglib2.0-0t64
  dpkg-query -W -f '${db:Status-Status}\n' "$name" "${name}t64" 2>/dev/null | grep -qx installed || missing="$missing $name"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ]; then run=""; elif sudo -n true 2>/dev/null; then run="sudo"; else
  echo "Missing system libraries. Please run:  sudo apt-get install$missing" >&2
  exit 1
fi
echo "Installing system libraries:$missing"
$run apt-get -qq update
DEBIAN_FRONTEND=noninteractive $run apt-get -qq install -y --no-install-recommends $missing >/dev/null
