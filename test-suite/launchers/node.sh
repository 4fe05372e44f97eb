#!/bin/sh
# node.sh NAME COMMAND [WORD ...]: run a command as if on a node of that name.
#
# It gets the node's network, and a host name, shared memory and /etc/hosts of its own, by namespaces
# of Linux. NODES is the folder that cluster.py made. NODES/private is there on every node, but what
# is in it is seen on n0 only.
exec nsenter --net --target "$(cat "$NODES/$1.pid")" \
    unshare --uts --mount --propagation private -- sh -ec '
    name=$1
    shift
    hostname "$name"
    mount -t tmpfs tmpfs /dev/shm
    mount --bind "$NODES/hosts" /etc/hosts
    [ "$name" = n0 ] || mount -t tmpfs tmpfs "$NODES/private"
    exec "$@"
' node.sh "$@"
