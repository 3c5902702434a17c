#!/usr/bin/env bash
# Builds a release into dist/: static stripped binaries for linux and darwin, amd64 and arm64, each with its software bill of
# materials (CycloneDX), and SHA256SUMS. The same commit and the same Go give the same bytes, in any directory.
#   release.sh [PLATFORM...]            builds, all platforms unless some are named, such as linux/arm64
#   release.sh --verify [PLATFORM...]   builds twice, the second time from a clone elsewhere with an empty build cache, and compares
set -euo pipefail
cd "$(dirname "$0")/.."

all=(linux/amd64 linux/arm64 darwin/amd64 darwin/arm64)
verify=
if [ "${1:-}" = --verify ]; then verify=yes; shift; fi
platforms=("$@")
[ $# -gt 0 ] || platforms=("${all[@]}")
for platform in "${platforms[@]}"; do
  case " ${all[*]} " in *" $platform "*) ;; *) echo "release.sh: no platform $platform; there are: ${all[*]}" >&2; exit 2 ;; esac
done
if [ -n "$verify" ] && [ -n "$(git status --porcelain)" ]; then
  echo "release.sh: the work tree has changes: a clone cannot be the same" >&2
  exit 1
fi

# What would change the bytes is not taken from the environment.
unset GOEXPERIMENT GOFIPS140 GO386 GOARM GOOS GOARCH
export CGO_ENABLED=0 GOFLAGS="-trimpath -buildvcs=false" GOAMD64=v1 GOARM64=v8.0 GOWORK=off LC_ALL=C
VERSION=${VERSION:-$(git describe --tags --always --dirty)}
go version

# Nothing is loaded beside a linux binary, and it has no symbols. A darwin binary cannot be static: there the system's library is the interface.
check() { # binary
  command -v readelf >/dev/null || { echo "no readelf: whether $1 is static and stripped is not looked at" >&2; return 0; }
  local headers
  headers=$(readelf --wide --program-headers --sections "$1")
  if grep -qE 'INTERP|DYNAMIC|\.symtab|\.debug_' <<<"$headers"; then
    echo "release.sh: $1 is not static or not stripped" >&2
    return 1
  fi
}

build() { # source directory, output directory
  mkdir -p "$2"
  (
    cd "$1"
    for platform in "${platforms[@]}"; do
      binary=$2/ottla-$VERSION-${platform/\//-}
      GOOS=${platform%/*} GOARCH=${platform#*/} go build -ldflags "-s -w -buildid= -X ottla/internal/cli.Version=$VERSION" -o "$binary" ./cmd/ottla
      go run ./scripts/sbom "$binary" "$VERSION" >"$binary.cdx.json"
      case $platform in linux/*) check "$binary" ;; esac
    done
    cd "$2"
    sha256sum "ottla-$VERSION"-* >SHA256SUMS
  )
}

out=$PWD/dist
[ "${platforms[*]}" != "${all[*]}" ] || rm -rf "$out"
build "$PWD" "$out"
cat "$out/SHA256SUMS"
[ -n "$verify" ] || exit 0

elsewhere=$(mktemp -d)
trap 'chmod -R u+w "$elsewhere"; rm -rf "$elsewhere"' EXIT
git clone -q . "$elsewhere/source"
GOCACHE=$elsewhere/cache build "$elsewhere/source" "$elsewhere/dist"
for file in "$elsewhere"/dist/ottla-*; do
  cmp "$out/${file##*/}" "$file"
done
echo "built twice, in two places, with two caches: the same bytes (${platforms[*]})"
