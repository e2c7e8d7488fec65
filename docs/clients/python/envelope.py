"""Sealed envelopes for sealmq: seal() makes one, an Opener opens them.

COSE (RFC 9052) by `cbor2` and `cryptography`; what an envelope is stands in docs/encryption.md. Keys are the
JWK files that `sealmq keys` makes.
"""

import base64
import fcntl
import io
import json
import os
import time
from pathlib import Path

import cbor2
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

ALG, CRITICAL, KEY_ID, IV, CLAIMS = 1, 2, 4, 5, 15  # header labels
ISSUED_AT, SEQ = 6, -65537  # claims
EPHEMERAL, X25519_KEY, OKP_X = -1, {1: 1, -1: 4}, -2
EDDSA, ED25519, ECDH_ES_HKDF_256 = -8, -19, -25
SIGN1, ENCRYPT0, ENCRYPT = 18, 16, 96  # tags
AEADS = {1: (AESGCM, 16), 3: (AESGCM, 32), 24: (ChaCha20Poly1305, 32)}  # cipher, length of its key
NAMES = {"A128GCM": 1, "A256GCM": 3, "ChaCha20/Poly1305": 24}


class Refused(Exception):
    """Not to be believed; says why."""


def read_sender(file, half):
    """A sender's key, with the half that is needed: "d" to stamp, "x" to believe."""
    return read_key(file, f"sender's key with {half!r}", lambda key: is_pair(key, "Ed25519", half))


def read_topic_key(file, half):
    """A topic key: a symmetric one, or of an X25519 pair the half that is needed: "x" to seal, "d" to open."""
    what = f"topic key: symmetric, or of X25519 with {half!r}"
    return read_key(file, what, lambda key: is_symmetric(key) or is_pair(key, "X25519", half))


def is_pair(key, curve, half):
    return (key.get("kty"), key.get("crv"), len(key.get(half, b""))) == ("OKP", curve, 32)


def is_symmetric(key):
    alg = NAMES.get(key.get("alg"))
    return key.get("kty") == "oct" and alg is not None and len(key.get("k", b"")) == AEADS[alg][1]


def read_key(file, what, fits):
    """A key file as a dict, with its bytes decoded and its id as bytes. ValueError, if it is not what it has to be."""
    try:
        jwk = json.loads(Path(file).read_bytes())
        for name in {"k", "d", "x"} & jwk.keys():
            jwk[name] = base64.urlsafe_b64decode(jwk[name] + "==")
        key = jwk | {"kid": jwk["kid"].encode()}
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ValueError(f"{file}: no JWK with a key id") from None
    if not fits(key):
        raise ValueError(f"{file}: no {what}")
    return key


def next_seq(key_file):
    """The sender's next number: on the disk before it is used, and never given out twice."""
    with open(os.open(f"{key_file}.seq", os.O_RDWR | os.O_CREAT, 0o600), "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        number = int(file.read() or 0) + 1
        file.seek(0)
        file.write(f"{number:020}\n")
        file.flush()
        os.fsync(file.fileno())
    return number


def seal(plaintext, topic, sender, topic_key=None, *, seq):
    """An envelope for this topic and no other; without a topic key it is stamped only."""
    content = plaintext if topic_key is None else encrypt(plaintext, topic, sender["kid"], topic_key)
    protected = dumps({ALG: EDDSA, KEY_ID: sender["kid"], CLAIMS: {SEQ: seq}})
    stamp = Ed25519PrivateKey.from_private_bytes(sender["d"]).sign(to_sign(protected, topic, content))
    return dumps(cbor2.CBORTag(SIGN1, [protected, {}, content, stamp]))


def encrypt(plaintext, topic, sender_id, key):
    iv = os.urandom(12)
    if key["kty"] == "oct":
        alg = NAMES[key["alg"]]
        protected = dumps({ALG: alg, KEY_ID: key["kid"]})
        tag, context, secret, recipients = ENCRYPT0, "Encrypt0", key["k"], []
    else:
        alg, ephemeral = 3, X25519PrivateKey.generate()
        protected, agreement = dumps({ALG: alg}), dumps({ALG: ECDH_ES_HKDF_256})
        shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(key["x"]))
        tag, context, secret = ENCRYPT, "Encrypt", derive(shared, alg, agreement)
        public = {**X25519_KEY, OKP_X: ephemeral.public_key().public_bytes_raw()}
        recipients = [[[agreement, {KEY_ID: key["kid"], EPHEMERAL: public}, b""]]]
    bound = to_bind(context, protected, topic, sender_id)
    ciphertext = AEADS[alg][0](secret).encrypt(iv, plaintext, bound)
    return dumps(cbor2.CBORTag(tag, [protected, {IV: iv}, ciphertext, *recipients]))


class Opener:
    """Opens what one sender has sealed, each envelope once: his numbers rise, a stamp with a time is remembered."""

    def __init__(self, sender, *topic_keys):
        self.sender_id, self.public = sender["kid"], Ed25519PublicKey.from_public_bytes(sender["x"])
        self.topic_keys = {key["kid"]: key for key in topic_keys}
        self.last_seq, self.stamps = 0, {}

    def open(self, envelope, topic):
        """The plaintext; raises Refused."""
        try:
            protected, unprotected, content, stamp = untag(envelope, SIGN1)
            header = loads(protected)
            if header[ALG] not in (EDDSA, ED25519) or CRITICAL in header or unprotected:
                raise Refused("another kind of stamp")
            if header[KEY_ID] != self.sender_id:
                raise Refused("another sender")
            self.public.verify(stamp, to_sign(protected, topic, content))
            plaintext = self.decrypt(content, topic) if self.topic_keys else content
            self.take(header[CLAIMS], stamp)
            return plaintext
        except InvalidSignature:
            raise Refused("the stamp does not hold") from None
        except InvalidTag:
            raise Refused("the key does not open it") from None
        except (cbor2.CBORDecodeError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            raise Refused(f"not an envelope: {error!r}") from None

    def take(self, claims, stamp):
        """Remembers what is new, and refuses what is not."""
        if SEQ not in claims and abs(time.time() - claims[ISSUED_AT]) > 300:
            raise Refused("not fresh")
        if claims[SEQ] <= self.last_seq if SEQ in claims else stamp in self.stamps:
            raise Refused("it was taken before")
        self.last_seq = claims.get(SEQ, self.last_seq)
        self.stamps[stamp] = True
        if len(self.stamps) > 100_000:
            del self.stamps[next(iter(self.stamps))]

    def decrypt(self, content, topic):
        tag = loads(content).tag
        if tag == ENCRYPT0:
            protected, unprotected, ciphertext = untag(content, ENCRYPT0)
            header = loads(protected)
            alg, key = header[ALG], self.topic_keys[header[KEY_ID]]
            if NAMES.get(key.get("alg")) != alg:
                raise Refused("the key is for another algorithm")
            context, secret = "Encrypt0", key["k"]
        else:
            protected, unprotected, ciphertext, [[agreement, recipient, _]] = untag(content, ENCRYPT)
            alg, key = loads(protected)[ALG], self.topic_keys[recipient[KEY_ID]]
            if loads(agreement) != {ALG: ECDH_ES_HKDF_256} or key.get("crv") != "X25519":
                raise Refused("the key is for another algorithm")
            ephemeral = X25519PublicKey.from_public_bytes(recipient[EPHEMERAL][OKP_X])
            shared = X25519PrivateKey.from_private_bytes(key["d"]).exchange(ephemeral)
            context, secret = "Encrypt", derive(shared, alg, agreement)
        bound = to_bind(context, protected, topic, self.sender_id)
        return AEADS[alg][0](secret).decrypt(unprotected[IV], ciphertext, bound)


def to_sign(protected, topic, content):
    """Sig_structure: the topic is signed along."""
    return dumps(["Signature1", protected, topic.encode(), content])


def to_bind(context, protected, topic, sender_id):
    """Enc_structure: a ciphertext belongs to its sender and its topic."""
    return dumps([context, protected, dumps([sender_id, topic])])


def derive(shared, alg, agreement):
    """The content key that X25519 agreed on."""
    length = AEADS[alg][1]
    context = dumps([alg, [None] * 3, [None] * 3, [length * 8, agreement]])
    return HKDF(hashes.SHA256(), length, None, context).derive(shared)


def dumps(value):
    return cbor2.dumps(value, canonical=True)


def loads(data):
    """One item, and nothing behind it."""
    stream = io.BytesIO(data)
    value = cbor2.CBORDecoder(stream).decode()
    if stream.tell() != len(data):
        raise ValueError("bytes behind the end")
    return value


def untag(data, tag):
    tagged = loads(data)
    if tagged.tag != tag:
        raise ValueError("another tag")
    return tagged.value
