"""What gmqtt does with the broker: gmqtt_client.py HOST PORT CHECK [CA_FILE].

CHECK is the name of one of the functions below that take a Place. It says what it found, and raises
where that is not as it should be. Every wait is for an event, and bounded by PATIENCE.
"""

import asyncio
import ssl
import sys
from dataclasses import dataclass

import gmqtt
from gmqtt.mqtt.constants import MQTTv50, MQTTv311

PATIENCE = 10


@dataclass
class Place:
    host: str
    port: int
    ca_file: str | None


@dataclass
class Message:
    topic: str
    payload: str
    qos: int
    properties: dict


class Client:
    """A connected client whose messages are put into a queue, to be waited for."""

    @classmethod
    async def connect(cls, place, client_id, version=MQTTv50, clean=True, will=None, **connect):
        self = cls()
        self.messages, self.granted = asyncio.Queue(), asyncio.Queue()
        self.session_present = None
        self.gmqtt = gmqtt.Client(client_id, clean_session=clean, will_message=will, **connect)
        self.gmqtt.on_message = self.on_message
        self.gmqtt.on_connect = self.on_connect
        self.gmqtt.on_subscribe = lambda _client, _mid, granted, _properties: self.granted.put_nowait(granted)
        secure = ssl.create_default_context(cafile=place.ca_file) if place.ca_file else False
        await within(self.gmqtt.connect(place.host, place.port, ssl=secure, version=version))
        return self

    def on_connect(self, _client, session_present, _code, _properties):
        self.session_present = bool(session_present)

    async def on_message(self, _client, topic, payload, qos, properties):
        self.messages.put_nowait(Message(topic, payload.decode(), qos, properties))
        return 0

    async def subscribe(self, topic, qos=0, **options):
        self.gmqtt.subscribe(topic, qos=qos, **options)
        return list(await within(self.granted.get()))

    def publish(self, topic, payload="1", qos=1, **properties):
        self.gmqtt.publish(topic, payload, qos=qos, **properties)

    async def message(self):
        return await within(self.messages.get())

    async def expect(self, *payloads):
        got = [(await self.message()).payload for _ in payloads]
        assert got == list(payloads), got

    async def end(self, **kwargs):
        await within(self.gmqtt.disconnect(**kwargs))


async def within(event):
    return await asyncio.wait_for(event, PATIENCE)


async def every_qos(place):
    publisher = await Client.connect(place, "publisher")
    for granted in range(3):
        subscriber = await Client.connect(place, f"subscriber-{granted}")
        assert await subscriber.subscribe("a/+", granted) == [granted]
        for qos in range(3):
            publisher.publish("a/b", f"{qos}", qos)
            message = await subscriber.message()
            found = (message.topic, message.payload, message.qos)
            assert found == ("a/b", f"{qos}", min(qos, granted)), found
    print("every QoS of publish and subscription")


SENT = {
    "payload_format_id": 1,
    "message_expiry_interval": 3600,
    "content_type": "text/plain",
    "response_topic": "re/ply",
    "correlation_data": b"0815",
    "user_property": [("b", "1"), ("a", "2"), ("b", "3")],
}


async def properties_as_sent(place):
    subscriber = await Client.connect(place, "subscriber")
    publisher = await Client.connect(place, "publisher")
    old = await Client.connect(place, "old", version=MQTTv311)
    await subscriber.subscribe("a", 2, subscription_identifier=11)
    await old.subscribe("a", 2)
    for qos in range(3):
        publisher.publish("a", "1", qos, **SENT)
        got = (await subscriber.message()).properties
        for name, value in SENT.items():
            wanted = value if name == "user_property" else [value]
            assert got[name] == wanted, (name, got[name])
        assert got["subscription_identifier"] == [11], got
        got = (await old.message()).properties
        assert set(got) <= {"dup", "retain"}, got
    print("properties as sent, and none of them with 3.1.1")


async def broker_uses_topic_aliases(place):
    subscriber = await Client.connect(place, "subscriber", topic_alias_maximum=2)
    publisher = await Client.connect(place, "publisher")
    await subscriber.subscribe("#", 1)
    topics = [f"topic/{n % 5}" for n in range(50)] + ["topic/0"] * 50
    for n, topic in enumerate(topics):
        publisher.publish(topic, str(n))
    aliased = 0
    for n, topic in enumerate(topics):
        message = await subscriber.message()
        assert (message.topic, message.payload) == (topic, str(n)), (n, message)
        alias = message.properties.get("topic_alias", [1])[0]
        assert 1 <= alias <= 2, alias
        aliased += "topic_alias" in message.properties
    assert aliased > 50, aliased
    print(f"{aliased} of 100 messages came with an alias, all of them with the right topic")


async def shared_subscription(place):
    members = [await Client.connect(place, f"member-{n}") for n in range(2)]
    for member in members:
        assert await member.subscribe("$share/group/a/+", 1) == [1]
        assert await member.subscribe("end", 1) == [1]
    publisher = await Client.connect(place, "publisher")
    for n in range(60):
        publisher.publish("a/b", str(n))
    publisher.publish("end", "end")
    shares = []
    for member in members:
        share = []
        while (message := await member.message()).topic != "end":
            share.append(int(message.payload))
        shares.append(share)
    assert sorted(sum(shares, [])) == list(range(60)), shares
    assert min(map(len, shares)) > 6, shares
    print("each message to one of two:", [len(share) for share in shares])


async def session_is_resumed(place):
    kept = {"clean": False, "session_expiry_interval": 60}
    client = await Client.connect(place, "client", **kept)
    assert client.session_present is False
    await client.subscribe("a", 2)
    await client.end()
    publisher = await Client.connect(place, "publisher")
    watcher = await Client.connect(place, "watcher")
    await watcher.subscribe("a", 1)
    for n in range(4):
        publisher.publish("a", str(n), 1, user_property=("n", str(n)))
    await watcher.expect("0", "1", "2", "3")
    client = await Client.connect(place, "client", **kept)
    for n in range(4):
        message = await client.message()
        assert message.payload == str(n) and message.properties["user_property"] == [("n", str(n))], message
    assert client.session_present is True
    print("session resumed, with the messages and their properties")


async def will_is_delayed(place):
    heir = await Client.connect(place, "heir")
    await heir.subscribe("will", 1)
    will = gmqtt.Message("will", "gone", qos=1, will_delay_interval=1, content_type="c")
    mortal = await Client.connect(place, "mortal", will=will, session_expiry_interval=60)
    gone = asyncio.get_running_loop().time()
    await mortal.end(reason_code=0x04)
    message = await heir.message()
    assert (message.payload, message.properties["content_type"]) == ("gone", ["c"]), message
    assert asyncio.get_running_loop().time() - gone >= 1
    print("will after its delay")


async def flow_control(place):
    """Needs a broker with a receive maximum of 5; gmqtt has one message less under way, or gives up."""
    taker = await Client.connect(place, "taker", receive_maximum=2)
    await taker.subscribe("a", 2)
    publisher = await Client.connect(place, "publisher")
    for n in range(4):
        publisher.publish("a", str(n), 2)
    await taker.expect("0", "1", "2", "3")
    print("four messages through windows of 5 and 2")


def main():
    host, port, check = sys.argv[1:4]
    place = Place(host, int(port), sys.argv[4] if len(sys.argv) > 4 else None)
    asyncio.run(globals()[check](place))


if __name__ == "__main__":
    main()
