#!/bin/sh
# open.sh TOPIC SENDER_PUBLIC_KEY TOPIC_KEY [MOSQUITTO_SUB_OPTION...]: waits for one envelope, and opens it.
set -eu
topic=$1 sender_key=$2 topic_key=$3
shift 3

mosquitto_sub -t "$topic" -q 1 -C 1 -N "$@" |
    sealmq open --topic "$topic" --sender-key "$sender_key" --topic-key "$topic_key"
