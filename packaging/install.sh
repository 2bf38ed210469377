#!/bin/sh
# `make install` and `make uninstall`: packaging/install.sh install|uninstall, with these variables:
#
#   PREFIX      where it is to be, as the running system sees it
#   DESTDIR     in front of every path written to: a package is made of what is below it
#   SYSCONFDIR  for /relayd/relayd.toml; what is there is kept
#   UNITDIR     for systemd's units
#   PYTHON      the interpreter it is to run with; not one in somebody's home, which the service cannot see
#   PIP         a pip to install with; none is left in what it installs
set -eu

lib=$DESTDIR$PREFIX/lib/relayd
share=$DESTDIR$PREFIX/share
programs="relay relayctl relayd"

# A virtual environment, since no distribution has all of it new enough. It is made beside the one in use and takes its
# place at the end: a running relayd that has yet to load a module still finds its own, or at worst the next one's.
make_environment() {
    new=$lib.new
    trap 'rm -rf "$lib.new"' EXIT
    rm -rf "$new"
    "$PYTHON" -m venv --without-pip "$new"
    $PIP --quiet --disable-pip-version-check --python "$new/bin/python" \
        install --no-compile --no-warn-script-location --constraint constraints.txt .
    # sqlite-utils asks for pip, for a command that installs plugins.
    $PIP --quiet --python "$new/bin/python" uninstall --yes pip
    site=$(echo "$new"/lib/python3.*/site-packages)
    # Only our own programs, and no word of where this was built.
    for file in "$new"/bin/*; do
        case " $programs " in
            *" ${file##*/} "*) sed -i "1s|^#!.*|#!$PREFIX/lib/relayd/bin/python3|" "$file" ;;
            *) case ${file##*/} in python*) ;; *) rm "$file" ;; esac ;;
        esac
    done
    rm -rf "$new/include" "$new/share" "$new/.gitignore" "$site"/relayd-*.dist-info/direct_url.json
    sed -i '/direct_url\.json/d; /^\.\.\/\.\.\/\.\.\//d' "$site"/*.dist-info/RECORD
    sed -i '/^command/d' "$new/pyvenv.cfg"
    # Compiled here, as the service may not write. Checked by contents: a package's times are those of its files.
    "$new/bin/python" -m compileall -q -j 0 --invalidation-mode checked-hash \
        -s "$new" -p "$PREFIX/lib/relayd" "$site"
}

put_in_place() {
    rm -rf "$lib.old"
    [ ! -e "$lib" ] || mv "$lib" "$lib.old"
    mv "$lib.new" "$lib"
    rm -rf "$lib.old"
}

install_around() {
    install -d "$DESTDIR$PREFIX/bin" "$DESTDIR$UNITDIR" "$DESTDIR$PREFIX/lib/sysusers.d" "$DESTDIR$SYSCONFDIR/relayd"
    for program in $programs; do
        ln -sf "../lib/relayd/bin/$program" "$DESTDIR$PREFIX/bin/$program"
    done
    for unit in systemd/*.service systemd/*.socket; do
        sed "s|/usr/bin/|$PREFIX/bin/|g" "$unit" > "$DESTDIR$UNITDIR/${unit##*/}"
    done
    install -m 644 systemd/relayd.sysusers "$DESTDIR$PREFIX/lib/sysusers.d/relayd.conf"
    for page in docs/man/*.[1-8]; do
        section=$share/man/man${page##*.}
        install -d "$section"
        gzip -9 -n -c "$page" > "$section/${page##*/}.gz"
    done
    "$lib/bin/python" -m relayd.cli.completions "$share"
    install -d "$share/doc/relayd/examples"
    cp -R contrib/. "$share/doc/relayd/examples"
    config=$DESTDIR$SYSCONFDIR/relayd/relayd.toml
    [ -e "$config" ] || "$lib/bin/python" -m relayd.cli.relayctl config defaults > "$config"
}

uninstall() {
    rm -rf "$lib" "$lib.new" "$lib.old" "$share/doc/relayd"
    for program in $programs; do
        rm -f "$DESTDIR$PREFIX/bin/$program" "$share/bash-completion/completions/$program" \
            "$share/zsh/site-functions/_$program" "$share/fish/vendor_completions.d/$program.fish"
    done
    for unit in systemd/*.service systemd/*.socket; do
        rm -f "$DESTDIR$UNITDIR/${unit##*/}"
    done
    rm -f "$DESTDIR$PREFIX/lib/sysusers.d/relayd.conf"
    for page in docs/man/*.[1-8]; do
        rm -f "$share/man/man${page##*.}/${page##*/}.gz"
    done
}

case $1 in
    install)
        make_environment
        put_in_place
        install_around
        [ -n "$DESTDIR" ] || echo "relayd is installed below $PREFIX. Next:
    systemd-sysusers && systemctl daemon-reload
    systemctl enable --now relayd.socket relayd-control.socket relayd.service"
        ;;
    uninstall) uninstall ;;
    *) echo "usage: $0 install|uninstall" >&2; exit 2 ;;
esac
