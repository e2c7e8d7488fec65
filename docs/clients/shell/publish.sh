#!/bin/sh
# publish.sh TOPIC SENDER_KEY TOPIC_KEY [MOSQUITTO_PUB_OPTION...]: publishes what comes on stdin, sealed.
set -eu
topic=$1 sender_key=$2 topic_key=$3
shift 3

# By a file: at the end of a pipe an empty message would go out if sealing fails.
envelope=$(mktemp)
trap 'rm -f "$envelope"' EXIT
sealmq seal --topic "$topic" --sender-key "$sender_key" --topic-key "$topic_key" --out "$envelope"
mosquitto_pub -t "$topic" -q 1 -f "$envelope" "$@"
