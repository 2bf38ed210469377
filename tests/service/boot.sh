#!/bin/sh
# Becomes the first process of a system of its own: systemd, on this machine's files, of which it can change none.
#
# Called by conftest.py in fresh namespaces (mount, pid, network, control groups, ...):
#   boot.sh SCRATCH [PYTHON SITE_PACKAGES PROJECT]
#
# SCRATCH       an empty directory; what the system writes lies over it, in memory, and is gone with it
# PYTHON        the prefix of the Python that runs the tests
# SITE_PACKAGES what relayd needs
# PROJECT       the checkout: relayd itself, and its units; without these three no relayd is installed
set -eu
[ $$ = 1 ] || { echo "not in namespaces of its own" >&2 && exit 2; }
scratch=$1 python=${2-} site_packages=${3-} project=${4-}

bind() {
	mount --bind "$1" "$2"
	mount -o remount,bind,ro "$2"
}

# A root of its own. systemd empties /tmp when it starts, and whatever else a system does to its files: so it sees the
# machine's only as the lower side of an overlay, which nothing can write to, and everything else is mounted read-only.
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$scratch"
mkdir "$scratch/upper" "$scratch/work" "$scratch/root"
root=$scratch/root
mount -t overlay -o "lowerdir=/,upperdir=$scratch/upper,workdir=$scratch/work" overlay "$root"
for directory in tmp var/tmp run dev; do
	mount -t tmpfs -o mode=1777 tmpfs "$root/$directory"
done
chmod 755 "$root/run" "$root/dev"
mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mkdir -p "$root/sys/fs/cgroup"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup" # its root is the group in which all this was started
for device in null zero full random urandom tty; do
	touch "$root/dev/$device"
	bind "/dev/$device" "$root/dev/$device"
done
ln -s /proc/self/fd "$root/dev/fd"
mkdir -m 1777 "$root/dev/shm"
mkdir "$root/dev/pts"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"

# None of the services that this machine has: the journal is all that is needed.
rm -rf "$root/etc/systemd/system"
mkdir "$root/etc/systemd/system"
for unit in "$root"/usr/lib/systemd/system/*.wants/*; do
	case $unit in
	*/systemd-journald*) ;;
	*) ln -sf /dev/null "$root/etc/systemd/system/${unit##*/}" ;;
	esac
done

# relayd as it would be installed: at a place which a service sees that must not look into home directories.
install_checkout() {
	at=/usr/lib/relayd
	version=$("$python/bin/python3" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
	mkdir -p "$root$at/python" "$root$at/bin" "$root$at/checkout/relayd" "$root$at/packages" "$root$at/lib/$version/site-packages"
	bind "$python" "$root$at/python"
	bind "$site_packages" "$root$at/packages"
	bind "$project/relayd" "$root$at/checkout/relayd"
	# Python imports from these two directories only. What the editable installation in `packages` points to is the
	# checkout's own path, which the units hide if it is below /root, /home or /tmp.
	printf '%s\n' "$at/checkout" "$at/packages" >"$root$at/lib/$version/site-packages/relayd.pth"
	ln -s ../python/bin/python3 "$root$at/bin/python3"
	printf 'home = %s/python/bin\n' "$at" >"$root$at/pyvenv.cfg"
	# A Python that was built with a shared library looks for it where it was built, which a service may not see.
	echo "$at/python/lib" >"$root/etc/ld.so.conf.d/000-relayd.conf"
	chroot "$root" ldconfig
	for program in relayd relayctl relay; do
		printf '#!%s/bin/python3 -I\nfrom relayd.cli.%s import main\nmain()\n' "$at" "$program" >"$root$at/bin/$program"
		chmod 755 "$root$at/bin/$program"
		ln -sf "$at/bin/$program" "$root/usr/bin/$program"
	done
	cp "$project"/systemd/relayd*.service "$project"/systemd/relayd*.socket "$root/usr/lib/systemd/system/"
	cp "$project/systemd/relayd.sysusers" "$root/usr/lib/sysusers.d/relayd.conf"
	chroot "$root" systemd-sysusers /usr/lib/sysusers.d/relayd.conf
	mkdir -p "$root/etc/relayd"
	: >"$root/etc/relayd/relayd.toml"
}

if [ -n "$project" ]; then
	install_checkout
fi

mkdir "$root/run/before"
pivot_root "$root" "$root/run/before"
cd /
umount -l /run/before
rmdir /run/before
[ "$(stat -f -c %T /)" = overlayfs ] || exit 1
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 container=relayd-test \
	/lib/systemd/systemd --system --unit=multi-user.target --log-target=journal --show-status=no </dev/null
