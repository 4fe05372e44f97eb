#!/bin/sh
# ssh.sh [OPTION ...] NODE WORD ...: stands in for ssh where launchers start their daemons.
while :; do
    case $1 in
        # Options with a value of their own, as ssh(1) lists them.
        -[BbcDEeFIiJLlmOopQRSWw]) shift 2 ;;
        -*) shift ;;
        *) break ;;
    esac
done
node=$1
shift
exec "$(dirname "$0")/node.sh" "$node" sh -c "$*"
