"""Runs vectors.py FILE: vectors of sealed and stamped payloads, opened by docs/clients/python/envelope.py.

Prints a line for each that holds, and fails with those that do not. What that module does not look at, by its
own words, is passed over: numbers out of order, and until when a topic key is valid.
"""

import json
import sys
import time

from envelope import Opener, Refused

PASSED_OVER = {"counters may arrive out of order inside the window", "a content key past its time"}


def topic_key(key):
    kid = bytes.fromhex(key["kid_hex"])
    if "secret_hex" in key:
        return {"kid": kid, "kty": "oct", "alg": key["alg"], "k": bytes.fromhex(key["secret_hex"])}
    return {"kid": kid, "kty": "OKP", "crv": "X25519", "d": bytes.fromhex(key["x25519_secret_hex"])}


def outcome(vector):
    opener = Opener(sender, *([] if vector["mode"] == "stamped" else topic_keys))
    time.time = lambda: vector["now"]
    for earlier in vector.get("after_hex", []):
        opener.open(bytes.fromhex(earlier), vector["topic"])
    try:
        return opener.open(bytes.fromhex(vector["payload_hex"]), vector["topic"]).hex()
    except Refused:
        return None


with open(sys.argv[1]) as file:
    given = json.load(file)
first = given["keyring"]["senders"][0]
sender = {"kid": bytes.fromhex(first["kid_hex"]), "x": bytes.fromhex(first["ed25519_public_hex"])}
topic_keys = [topic_key(key) for key in given["keyring"]["topic_keys"]]
broken = []
for vector in given["vectors"]:
    if vector["mode"] != "end-to-end" and vector["name"] not in PASSED_OVER:
        if outcome(vector) == vector.get("plaintext_hex"):
            print("holds:", vector["name"])
        else:
            broken.append(vector["name"])
sys.exit(f"broken: {broken}" if broken else 0)
