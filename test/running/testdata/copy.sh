# Makes /mnt/root a copy of this machine, in memory, with the packages that are
# the arguments. To be read by a shell in a mount namespace of its own; nothing is
# left of it when that ends.
mount --make-rprivate /
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work /mnt/root
cp "$1" /mnt/root/root/package.deb
cp "$2" /mnt/root/root/next.deb
rm -f /mnt/root/usr/sbin/policy-rc.d # which lets no service start or stop
