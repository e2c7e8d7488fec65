#!/bin/sh
# publish.sh TOPIC SENDER_KEY TOPIC_KEY [MOSQUITTO_PUB_OPTION...]: publishes what comes on stdin, sealed.
set -eu
topic=$1 sender_key=$2 topic_key=$3
shift 3

sealmq seal --topic "$topic" --sender-key "$sender_key" --topic-key "$topic_key" |
    mosquitto_pub -t "$topic" -q 1 -s "$@"
