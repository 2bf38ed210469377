#!/bin/sh
# `make install` and `make uninstall`: packaging/install.sh install|uninstall, with these variables:
#
#   PREFIX      where it is to be, as the running system sees it
#   DESTDIR     in front of every path written to: a package is made of what is below it
#   SYSCONFDIR  for /relayd/relayd.toml; what is there is kept
#   UNITDIR     for systemd's units; by default where systemd looks for them: below PREFIX, else below SYSCONFDIR
#   PYTHON      the interpreter it is to run with; not one in somebody's home, which the service cannot see
#   PIP         a pip to install with; none is left in what it installs
set -eu

lib=$DESTDIR$PREFIX/lib/relayd
share=$DESTDIR$PREFIX/share
programs="relay relayctl relayd"
case $PREFIX in
/usr | /usr/local) systemd=$PREFIX/lib/systemd/system sysusers=$PREFIX/lib/sysusers.d ;;
*) systemd=$SYSCONFDIR/systemd/system sysusers=$SYSCONFDIR/sysusers.d ;;
esac
UNITDIR=${UNITDIR:-$systemd}

# The unit hides these directories from relayd (ProtectHome=, PrivateTmp=).
check_visible() {
    case $1 in
    /home/* | /root/* | /run/user/* | /tmp/* | /var/tmp/*)
        echo "The service cannot use $2 $1: it does not see that directory. $3" >&2
        [ -n "$DESTDIR" ] || exit 1
        ;;
    esac
}

check_paths() {
    check_visible "$PREFIX/" PREFIX "Use /usr/local, or a directory below /opt."
    check_visible "$(readlink -f "$(command -v "$PYTHON")")" PYTHON "Use another, for example PYTHON=/usr/bin/python3."
}

pip_of() {
    environment=$1
    shift
    $PIP --quiet --disable-pip-version-check --python "$environment/bin/python" "$@"
}

# Exactly the files whose SHA-256 is in the lock: what an index, a mirror or a cache has changed is refused.
locked_environment() {
    "$PYTHON" -m venv --without-pip "$1"
    pip_of "$1" install --no-compile --no-warn-script-location --no-deps --require-hashes --requirement "$2"
}

# A virtual environment, since no distribution has all of it new enough. It is made beside the one in use and takes its
# place at the end: a running relayd that has yet to load a module still finds its own, or at worst the next one's.
make_environment() {
    new=$lib.new build=$(mktemp -d)
    trap 'rm -rf "$lib.new" "$build"' EXIT
    rm -rf "$new"
    locked_environment "$build" packaging/build.lock
    pip_of "$build" wheel --no-deps --no-build-isolation --wheel-dir "$build" .
    locked_environment "$new" packaging/requirements.lock
    pip_of "$new" install --no-compile --no-warn-script-location --no-deps --no-index "$build"/relayd-*.whl
    # sqlite-utils asks for pip, for a command that installs plugins.
    pip_of "$new" uninstall --yes pip
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

# Of nginx and other proxies: www-data on Debian; where there is none, nginx's own.
proxy_group() {
    if [ -z "$DESTDIR" ] && ! getent group www-data >/dev/null && getent group nginx >/dev/null; then
        echo nginx
    else
        echo www-data
    fi
}

install_around() {
    install -d "$DESTDIR$PREFIX/bin" "$DESTDIR$UNITDIR" "$DESTDIR$sysusers" "$share/relayd" \
        "$DESTDIR$SYSCONFDIR/relayd/relayd.toml.d"
    for program in $programs; do
        ln -sf "../lib/relayd/bin/$program" "$DESTDIR$PREFIX/bin/$program"
    done
    for unit in systemd/*.service systemd/*.socket; do
        sed "s|/usr/bin/|$PREFIX/bin/|g; s|^SocketGroup=www-data|SocketGroup=$(proxy_group)|" "$unit" \
            > "$DESTDIR$UNITDIR/${unit##*/}"
    done
    install -m 644 systemd/relayd.sysusers "$DESTDIR$sysusers/relayd.conf"
    for page in docs/man/*.[1-8]; do
        section=$share/man/man${page##*.}
        install -d "$section"
        gzip -9 -n -c "$page" > "$section/${page##*/}.gz"
    done
    "$lib/bin/python" -m relayd.cli.completions "$share"
    install -d "$share/doc/relayd/examples"
    cp -R contrib/. "$share/doc/relayd/examples"
    install -m 644 packaging/relayd.toml "$share/relayd/relayd.toml"
    config=$DESTDIR$SYSCONFDIR/relayd/relayd.toml
    [ -e "$config" ] || install -m 644 packaging/relayd.toml "$config"
}

# Only the service that is to be removed: another installation may have the units of the same name that systemd uses.
stop_service() {
    [ -z "$DESTDIR" ] && [ -d /run/systemd/system ] || return 0
    [ "$(systemctl show --property FragmentPath --value relayd.service)" = "$UNITDIR/relayd.service" ] || return 0
    systemctl disable --now --quiet relayd.service relayd.socket relayd-tcp.socket relayd-control.socket \
        relayd-metrics.socket
}

uninstall() {
    stop_service
    rm -rf "$lib" "$lib.new" "$lib.old" "$share/doc/relayd" "$share/relayd"
    for program in $programs; do
        rm -f "$DESTDIR$PREFIX/bin/$program" "$share/bash-completion/completions/$program" \
            "$share/zsh/site-functions/_$program" "$share/fish/vendor_completions.d/$program.fish"
    done
    for unit in systemd/*.service systemd/*.socket; do
        rm -f "$DESTDIR$UNITDIR/${unit##*/}"
    done
    rm -f "$DESTDIR$sysusers/relayd.conf"
    for page in docs/man/*.[1-8]; do
        rm -f "$share/man/man${page##*.}/${page##*/}.gz"
    done
    remove_empty_directories
    [ -n "$DESTDIR" ] || [ ! -d /run/systemd/system ] || systemctl daemon-reload
}

# Those that installing may have made. /usr and /usr/local have theirs from the system.
remove_empty_directories() {
    rmdir "$DESTDIR$SYSCONFDIR/relayd/relayd.toml.d" 2>/dev/null || true
    case $PREFIX in /usr | /usr/local) return ;; esac
    for directory in bin lib share/doc share/man/man1 share/man/man5 share/man/man8 share/bash-completion/completions \
        share/zsh/site-functions share/fish/vendor_completions.d; do
        (cd "$DESTDIR$PREFIX" 2>/dev/null && rmdir -p "$directory" 2>/dev/null) || true
    done
    rmdir "$DESTDIR$PREFIX" 2>/dev/null || true
}

case $1 in
    install)
        check_paths
        make_environment
        put_in_place
        install_around
        [ -n "$DESTDIR" ] || echo "relayd is installed: its programs in $PREFIX/bin, its units in $UNITDIR. Next:
    systemd-sysusers && systemctl daemon-reload
    systemctl enable --now relayd.service"
        ;;
    uninstall) uninstall ;;
    *) echo "usage: $0 install|uninstall" >&2; exit 2 ;;
esac
