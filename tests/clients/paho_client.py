"""What paho-mqtt does with the broker: paho_client.py HOST PORT CHECK [CA_FILE].

CHECK is the name of one of the functions below that take a Place. It says what it found, and raises
where that is not as it should be. Every wait is for an event, and bounded by PATIENCE.
"""

import queue
import sys
import time
from dataclasses import dataclass

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

V311 = MQTTProtocolVersion.MQTTv311
V5 = MQTTProtocolVersion.MQTTv5
PATIENCE = 10


@dataclass
class Place:
    host: str
    port: int
    ca_file: str | None


def properties(packet, **values):
    made = Properties(packet)
    for name, value in values.items():
        setattr(made, name, value)
    return made


def of_publish(**values):
    return properties(PacketTypes.PUBLISH, **values)


class Client:
    """A connected client whose events are put into queues, to be waited for."""

    def __init__(
        self, place, client_id, version=V5, clean=True, will=None, manual_ack=False, inflight=20, **connect
    ):
        self.messages = queue.Queue()
        self.answers = {name: queue.Queue() for name in ("connect", "subscribe", "unsubscribe", "publish")}
        self.ends = queue.Queue()
        session = {"clean_session": clean} if version == V311 else {}
        self.mqtt = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id, protocol=version, manual_ack=manual_ack,
            reconnect_on_failure=False, **session,
        )
        self.mqtt.max_inflight_messages_set(inflight)
        self.mqtt.on_message = lambda _c, _u, message: self.messages.put(message)
        self.mqtt.on_connect = lambda _c, _u, flags, code, got: self.answers["connect"].put((flags, code, got))
        self.mqtt.on_disconnect = lambda _c, _u, _flags, code, got: self.ends.put((code, got))
        self.mqtt.on_subscribe = lambda _c, _u, mid, codes, got: self.answers["subscribe"].put(codes)
        self.mqtt.on_unsubscribe = lambda _c, _u, mid, codes, got: self.answers["unsubscribe"].put(codes)
        self.mqtt.on_publish = lambda _c, _u, mid, code, got: self.answers["publish"].put((code, got))
        if will:
            self.mqtt.will_set(**will)
        if place.ca_file:
            self.mqtt.tls_set(ca_certs=place.ca_file)
        start = {}
        if version == V5:
            start = {"clean_start": clean, "properties": properties(PacketTypes.CONNECT, **connect)}
        self.mqtt.connect(place.host, place.port, **start)
        self.mqtt.loop_start()
        self.flags, code, self.properties = self.answer("connect")
        assert code == 0, code

    def answer(self, kind):
        return self.answers[kind].get(timeout=PATIENCE)

    def subscribe(self, *args, **kwargs):
        self.mqtt.subscribe(*args, **kwargs)
        return [code.value for code in self.answer("subscribe")]

    def unsubscribe(self, topic):
        self.mqtt.unsubscribe(topic)
        return [code.value for code in self.answer("unsubscribe")]

    def publish(self, topic, payload=b"1", qos=1, **kwargs):
        """Publishes, and returns the reason code of the acknowledgement."""
        self.mqtt.publish(topic, payload, qos, **kwargs)
        return self.answer("publish")[0].value

    def message(self):
        return self.messages.get(timeout=PATIENCE)

    def expect(self, *payloads):
        got = [self.message().payload.decode() for _ in payloads]
        assert got == list(payloads), got

    def nothing_more(self):
        """Nothing was on its way: a message of its own comes next."""
        fence = f"fence/{self.mqtt._client_id.decode()}"
        assert self.subscribe(fence, qos=1) == [1]
        self.publish(fence, "fence")
        self.expect("fence")

    def end(self, reason=0, **values):
        code = ReasonCode(PacketTypes.DISCONNECT, identifier=reason)
        self.mqtt.disconnect(code, properties(PacketTypes.DISCONNECT, **values))
        self.ends.get(timeout=PATIENCE)
        self.mqtt.loop_stop()


def every_qos(place):
    for granted in range(3):
        subscriber = Client(place, f"subscriber-{granted}")
        assert subscriber.subscribe("a/+", qos=granted) == [granted]
        publisher = Client(place, f"publisher-{granted}")
        for qos in range(3):
            assert publisher.publish("a/b", f"{qos}", qos) == 0
            message = subscriber.message()
            found = (message.topic, message.payload, message.qos)
            assert found == ("a/b", f"{qos}".encode(), min(qos, granted)), found
    print("every QoS of publish and subscription")


SENT = {
    "PayloadFormatIndicator": 1,
    "MessageExpiryInterval": 3600,
    "ContentType": "text/plain",
    "ResponseTopic": "re/ply",
    "CorrelationData": b"\x00\xff\x01",
    "UserProperty": [("b", "1"), ("a", "2"), ("b", "3"), ("", "")],
}


def properties_as_sent(place):
    subscriber, publisher = Client(place, "subscriber"), Client(place, "publisher")
    subscriber.subscribe("a", qos=2)
    for qos in range(3):
        publisher.publish("a", "1", qos, properties=of_publish(**SENT))
        got = subscriber.message().properties
        for name, value in SENT.items():
            found = getattr(got, name)
            assert found == value, (name, found)
    print("properties as sent, user properties in their order")


def versions_meet(place):
    old, new = Client(place, "old", V311), Client(place, "new")
    old.mqtt.subscribe("a", 1)
    old.answer("subscribe")
    new.subscribe("a", qos=1)
    new.publish("a", "new", properties=of_publish(**SENT))
    message = old.message()
    assert message.payload == b"new" and not message.properties, message.properties
    assert new.message().properties.ContentType == "text/plain"
    old.mqtt.publish("a", "old", 1)
    message = new.message()
    assert message.payload == b"old" and message.properties.isEmpty(), message.properties
    old.expect("old")
    print("both versions on one topic, 3.1.1 without properties")


def reason_codes(place):
    """Needs a broker that denies `no/#`."""
    client = Client(place, "client")
    assert client.publish("nobody") == 0x10
    assert client.publish("no/a") == 0x87
    assert client.subscribe([("a", SubscribeOptions(1)), ("no/#", SubscribeOptions(1))]) == [1, 0x87]
    assert client.publish("a") == 0
    assert client.unsubscribe(["a", "b"]) == [0, 0x11]
    print("reason codes 0x00, 0x10, 0x11, 0x87")


def take_over_is_told(place):
    old = Client(place, "same")
    new = Client(place, "same")
    code, _ = old.ends.get(timeout=PATIENCE)
    assert code.value == 0x8E, code
    new.nothing_more()
    print("reason code 0x8E for the one that is taken over")


def subscription_identifiers(place):
    client = Client(place, "client")
    for topic, identifier in (("a/#", 7), ("a/+", 268_435_455), ("other", 9)):
        chosen = properties(PacketTypes.SUBSCRIBE, SubscriptionIdentifier=identifier)
        client.subscribe(topic, options=SubscribeOptions(qos=1), properties=chosen)
    client.publish("a/b")
    got = client.message().properties.SubscriptionIdentifier
    assert sorted(got) == [7, 268_435_455], got
    client.nothing_more()
    print("one message with the identifiers of both subscriptions")


def subscription_options(place):
    client, other = Client(place, "client"), Client(place, "other")
    client.subscribe("a", options=SubscribeOptions(qos=1, noLocal=True, retainAsPublished=True))
    client.publish("a", "own", retain=True)
    other.publish("a", "foreign", retain=True)
    message = client.message()
    assert (message.payload, message.retain) == (b"foreign", True), message.payload
    # Handling 1: not again for a subscription that is there; 2: never.
    client.subscribe("a", options=SubscribeOptions(qos=1, retainHandling=1))
    other.subscribe("a", options=SubscribeOptions(qos=1, retainHandling=2))
    client.nothing_more()
    other.nothing_more()
    client.subscribe("a", options=SubscribeOptions(qos=1, retainHandling=0))
    client.expect("foreign")
    print("no local, retain as published, retain handling")


def shared_subscription(place):
    members = [Client(place, f"member-{n}") for n in range(3)]
    for member in members:
        assert member.subscribe([("$share/group/a/+", SubscribeOptions(1)), ("end", SubscribeOptions(1))]) == [1, 1]
    publisher = Client(place, "publisher")
    for n in range(90):
        assert publisher.publish("a/b", str(n)) == 0
    # Each member gets the end behind its share.
    publisher.publish("end", "end")
    shares = []
    for member in members:
        share = []
        while (message := member.message()).topic != "end":
            share.append(int(message.payload))
        assert share == sorted(share), share
        shares.append(share)
    assert sorted(sum(shares, [])) == list(range(90)), shares
    assert min(map(len, shares)) > 9, shares
    print("each message to one of three:", [len(share) for share in shares])


def shared_work_is_handed_on(place):
    """A member that goes with what it has not acknowledged leaves it to the other."""
    lazy = Client(place, "lazy", manual_ack=True)
    lazy.subscribe("$share/group/a", qos=1)
    publisher = Client(place, "publisher")
    for n in range(5):
        publisher.publish("a", str(n))
    lazy.expect("0", "1", "2", "3", "4")
    eager = Client(place, "eager")
    eager.subscribe("$share/group/a", qos=1)
    lazy.end()
    eager.expect("0", "1", "2", "3", "4")
    print("another member gets what one has left")


def will_of(delay):
    wanted = properties(PacketTypes.WILLMESSAGE, WillDelayInterval=delay, UserProperty=("why", "gone"))
    return {"topic": "will", "payload": "gone", "qos": 1, "properties": wanted}


def will_delay(place):
    heir = Client(place, "heir")
    heir.subscribe("#", qos=1)
    mortal = Client(place, "mortal", will=will_of(1), SessionExpiryInterval=60)
    gone = time.monotonic()
    mortal.end(reason=0x04)
    message = heir.message()
    assert (message.topic, message.payload) == ("will", b"gone"), message.topic
    assert message.properties.UserProperty == [("why", "gone")]
    assert time.monotonic() - gone >= 1
    # Ended by the end of the session, before the delay is over.
    mortal = Client(place, "mortal", will=will_of(3600))
    mortal.end(reason=0x04, SessionExpiryInterval=0)
    heir.expect("gone")
    # Back in time, and gone in peace.
    mortal = Client(place, "mortal", clean=False, will=will_of(1), SessionExpiryInterval=60)
    mortal.end(reason=0x04)
    Client(place, "mortal", clean=False, SessionExpiryInterval=60).end()
    clock = Client(place, "clock", will={**will_of(2), "payload": "clock"}, SessionExpiryInterval=60)
    clock.end(reason=0x04)
    heir.expect("clock")
    print("will delay: kept, cut short, and not needed")


def topic_alias(place):
    subscriber, publisher = Client(place, "subscriber"), Client(place, "publisher")
    subscriber.subscribe("#", qos=1)
    assert publisher.properties.TopicAliasMaximum >= 2
    publisher.publish("a/long/topic", "0", properties=of_publish(TopicAlias=1))
    publisher.publish("another", "1", properties=of_publish(TopicAlias=2))
    for alias, text in ((1, "2"), (2, "3"), (1, "4")):
        publisher.publish("", text, properties=of_publish(TopicAlias=alias))
    publisher.publish("another", "5", properties=of_publish(TopicAlias=1))
    publisher.publish("", "6", properties=of_publish(TopicAlias=1))
    topics = [subscriber.message().topic for _ in range(7)]
    wanted = ["a/long/topic", "another", "a/long/topic", "another", "a/long/topic", "another", "another"]
    assert topics == wanted, topics
    publisher.mqtt.publish("a", "bad", 1, properties=of_publish(TopicAlias=65_535))
    code, _ = publisher.ends.get(timeout=PATIENCE)
    assert code.value == 0x94, code
    print("topic aliases, used again and given anew; 0x94 for one too high")


def receive_maximum(place):
    """Needs a broker with a receive maximum of 5."""
    slow = Client(place, "slow", manual_ack=True, ReceiveMaximum=3)
    slow.subscribe([("a", SubscribeOptions(1)), ("other", SubscribeOptions(0))])
    publisher = Client(place, "publisher", inflight=5)
    assert publisher.properties.ReceiveMaximum == 5
    for n in range(10):
        assert publisher.publish("a", str(n)) == 0
    first = [slow.message() for _ in range(3)]
    # An answer to something else comes, and no fourth message before it.
    slow.subscribe("fence")
    assert slow.messages.empty()
    for n in range(3, 10):
        slow.mqtt.ack(first[0].mid, 1)
        first = first[1:] + [slow.message()]
        assert first[-1].payload == str(n).encode()
        slow.subscribe("fence")
        assert slow.messages.empty()
    # The broker's: what is beyond it waits in paho.
    taker = Client(place, "taker")
    taker.subscribe("b", qos=2)
    sent = [publisher.mqtt.publish("b", str(n), 1 + n % 2) for n in range(50)]
    for one in sent:
        one.wait_for_publish(PATIENCE)
        assert one.is_published()
    assert sorted(int(taker.message().payload) for _ in sent) == list(range(50))
    print("receive maximum of the client and of the broker")


def session_expiry(place):
    kept = {"clean": False, "SessionExpiryInterval": 60}
    client, publisher = Client(place, "client", **kept), Client(place, "publisher")
    assert not client.flags.session_present
    client.subscribe("a", qos=2)
    client.end()
    for n in range(6):
        assert publisher.publish("a", str(n), 1 + n % 2, properties=of_publish(ContentType="c")) == 0
    client = Client(place, "client", **kept)
    assert client.flags.session_present
    got = [client.message() for _ in range(6)]
    assert sorted(message.payload for message in got) == [b"0", b"1", b"2", b"3", b"4", b"5"]
    assert all(message.properties.ContentType == "c" for message in got)
    # Changed with the goodbye: the session ends at once.
    client.end(SessionExpiryInterval=0)
    client = Client(place, "client", **kept)
    assert not client.flags.session_present
    client.subscribe("a", qos=1)
    client.end()
    # A clean start ends it too.
    client = Client(place, "client", SessionExpiryInterval=60)
    assert not client.flags.session_present
    client.end(SessionExpiryInterval=1)
    # It expires before a will that is delayed by two seconds.
    heir = Client(place, "heir")
    heir.subscribe("will", qos=1)
    Client(place, "clock", will=will_of(2), SessionExpiryInterval=60).end(reason=0x04)
    heir.expect("gone")
    assert not Client(place, "client", **kept).flags.session_present
    print("sessions resumed, ended by DISCONNECT, by clean start, and by time")


def maximum_packet_size(place):
    small, publisher = Client(place, "small", MaximumPacketSize=100), Client(place, "publisher")
    small.subscribe("a", qos=1)
    publisher.publish("a", "x" * 200)
    publisher.publish("a", "fits")
    small.expect("fits")
    print("a message that is too large for a client is not sent to it")


def main():
    host, port, check = sys.argv[1:4]
    place = Place(host, int(port), sys.argv[4] if len(sys.argv) > 4 else None)
    globals()[check](place)


if __name__ == "__main__":
    main()
