"""Opens what comes in envelopes, and prints it: subscribe.py [options] FILTER. Options: subscribe.py --help."""

import argparse
import sys

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from envelope import Opener, Refused, read_sender, read_topic_key

parser = argparse.ArgumentParser(description="Opens what comes in envelopes, and prints it.")
parser.add_argument("filter")
parser.add_argument("--host", default="localhost")
parser.add_argument("--port", type=int, default=1883)
parser.add_argument("--sender-key", required=True, help="the key of the sender to believe, public half")
parser.add_argument("--topic-key", action="append", default=[], help="a key to open with; may be repeated")
parser.add_argument("--count", type=int, help="end after so many messages")
options = parser.parse_args()

try:
    sender = read_sender(options.sender_key, "x")
    opener = Opener(sender, *(read_topic_key(file, "d") for file in options.topic_key))
except (ValueError, OSError) as error:
    sys.exit(str(error))
left = options.count


def on_connect(client, _user, _flags, code, _properties):
    if code.is_failure:
        sys.exit(f"refused: {code}")
    client.subscribe(options.filter, qos=1)


def on_subscribe(_client, _user, _id, codes, _properties):
    if codes[0].is_failure:
        sys.exit(f"{options.filter}: refused: {codes[0]}")
    print("subscribed", file=sys.stderr, flush=True)


def on_message(client, _user, message):
    global left
    try:
        plaintext = opener.open(message.payload, message.topic)
    except Refused as why:
        print(f"{message.topic}: {why}", file=sys.stderr, flush=True)
        return
    print(message.topic, plaintext.decode(errors="replace"), flush=True)
    left = left and left - 1
    if left == 0:
        client.disconnect()


client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
client.on_connect, client.on_subscribe, client.on_message = on_connect, on_subscribe, on_message
client.connect(options.host, options.port)
client.loop_forever()
