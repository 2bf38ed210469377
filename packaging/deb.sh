#!/bin/sh
# `make deb`: a package for the Debian and the architecture it is built on, in dist/. It is built in a copy of the tree,
# as dpkg-buildpackage wants debian/ on top, which is no place for it here.
#
#   PYTHON  the interpreter of the system the package is for
#   VENV    an environment with pip
#   BUILD   the directory it is built in, which is emptied
#   DIST    the directory it comes to
set -eu

# What is between two versions is numbered by its commit, so that each is an upgrade of the one before.
version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' relayd/__init__.py)
if ! git describe --tags --exact-match >/dev/null 2>&1; then
    version=$version$(git log -1 --format=+%cd.%h --date=format:%Y%m%d%H%M%S 2>/dev/null || true)
fi
BUILD=${BUILD:-build/deb} DIST=${DIST:-dist}
tree=$BUILD/relayd-$version
rm -rf "$BUILD"
mkdir -p "$tree" "$DIST"
cp -R CHANGELOG.md LICENSE Makefile README.md constraints.txt pyproject.toml contrib docs packaging relayd systemd "$tree"
mv "$tree/packaging/debian" "$tree/debian"
find "$tree" -name __pycache__ -prune -exec rm -r {} +

# What changed is in the project's own changelog; this one only has to carry the version.
maintainer=$(sed -n 's/^Maintainer: //p' "$tree/debian/control")
cat > "$tree/debian/changelog" <<END
relayd ($version) unstable; urgency=medium

  * For what is new see changelog.gz beside this file.

 -- $maintainer  $(date -R ${SOURCE_DATE_EPOCH:+-d "@$SOURCE_DATE_EPOCH"})
END

# debhelper gives the build a home of its own: pip would fetch everything anew.
PIP_CACHE_DIR=$("$VENV/bin/python" -m pip cache dir)
export PIP_CACHE_DIR PYTHON VENV DEB_BUILD_OPTIONS=noautodbgsym
(cd "$tree" && dpkg-buildpackage --build=binary --unsigned-changes --no-pre-clean) > "$BUILD/log" 2>&1 || {
    tail -n 40 "$BUILD/log" >&2
    exit 1
}
rm -f "$DIST"/relayd_*.deb
mv "$BUILD/relayd_$version"_*.deb "$DIST/"
ls "$DIST/relayd_$version"_*.deb
