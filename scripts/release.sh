#!/usr/bin/env bash
# Builds a release into dist/: static stripped binaries for linux and darwin, amd64 and arm64, each with its software bill of
# materials (CycloneDX), and SHA256SUMS. The same commit and the same Go give the same bytes.
#   release.sh            builds
#   release.sh --verify   builds twice, the second time from a clone elsewhere with an empty build cache, and compares
set -euo pipefail
cd "$(dirname "$0")/.."
export CGO_ENABLED=0 GOFLAGS="-trimpath -buildvcs=false" LC_ALL=C
VERSION=${VERSION:-$(git describe --tags --always --dirty)}
export VERSION

build() { # source directory, output directory
  mkdir -p "$2"
  (
    cd "$1"
    for target in linux/amd64 linux/arm64 darwin/amd64 darwin/arm64; do
      name=ottla-$VERSION-${target/\//-}
      GOOS=${target%/*} GOARCH=${target#*/} go build -ldflags "-s -w -buildid= -X ottla/internal/cli.Version=$VERSION" -o "$2/$name" ./cmd/ottla
      go run ./scripts/sbom "$2/$name" "$VERSION" >"$2/$name.cdx.json"
    done
    cd "$2" && sha256sum "ottla-$VERSION"-* >SHA256SUMS
  )
}

out=$PWD/dist
rm -rf "$out"
build "$PWD" "$out"
cat "$out/SHA256SUMS"
[ "${1:-}" = --verify ] || exit 0

elsewhere=$(mktemp -d)
trap 'chmod -R u+w "$elsewhere"; rm -rf "$elsewhere"' EXIT
git clone -q . "$elsewhere/source"
[ -z "$(git status --porcelain)" ] || { echo "the work tree has changes: a clone cannot be the same" >&2; exit 1; }
GOCACHE=$elsewhere/cache build "$elsewhere/source" "$elsewhere/dist"
cmp "$out/SHA256SUMS" "$elsewhere/dist/SHA256SUMS"
echo "built twice, in two places, with two caches: the same bytes"
