"""Publishes a sealed reading: publish.py [options] TOPIC READING. Options: publish.py --help."""

import argparse
import sys

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from envelope import next_seq, read_sender, read_topic_key, seal

parser = argparse.ArgumentParser(description="Publishes a sealed reading.")
parser.add_argument("topic")
parser.add_argument("reading")
parser.add_argument("--host", default="localhost")
parser.add_argument("--port", type=int, default=1883)
parser.add_argument("--sender-key", required=True, help="the sender's secret key")
parser.add_argument("--topic-key", help="a symmetric key, or the public half of a pair; none: stamped only")
options = parser.parse_args()

try:
    sender = read_sender(options.sender_key, "d")
    topic_key = read_topic_key(options.topic_key, "x") if options.topic_key else None
except (ValueError, OSError) as error:
    sys.exit(str(error))
seq = next_seq(options.sender_key)
envelope = seal(options.reading.encode(), options.topic, sender, topic_key, seq=seq)


def on_connect(client, _user, _flags, code, _properties):
    if code.is_failure:
        sys.exit(f"refused: {code}")
    client.publish(options.topic, envelope, qos=1)


def on_publish(client, _user, _id, code, _properties):
    client.disconnect()
    if code.is_failure:
        sys.exit(f"{options.topic}: refused: {code}")


client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
client.on_connect, client.on_publish = on_connect, on_publish
client.connect(options.host, options.port)
client.loop_forever()
