// Sealed envelopes for sealmq: seal() makes one, an Opener opens them; the same module in node and in a browser.
//
// COSE (RFC 9052) by WebCrypto, which has no ChaCha20-Poly1305: keys are for AES-GCM, or X25519 pairs. What an
// envelope is stands in docs/encryption.md. Keys are the JWK that `sealmq keys` makes, as objects.

const { subtle } = globalThis.crypto;
const [ALG, CRITICAL, KEY_ID, IV, CLAIMS] = [1, 2, 4, 5, 15]; // header labels
const [ISSUED_AT, SEQ] = [6, -65537]; // claims
const [EDDSA, ED25519, ECDH_ES_HKDF_256] = [-8, -19, -25];
const [SIGN1, ENCRYPT0, ENCRYPT] = [18, 16, 96]; // tags
const KEY_BITS = new Map([[1, 128], [3, 256]]); // of A128GCM and A256GCM
const ALGORITHMS = { A128GCM: 1, A256GCM: 3 };

const utf8 = (text) => new TextEncoder().encode(text);
const imported = (jwk, algorithm, use) => subtle.importKey("jwk", bare(jwk), algorithm, false, use);
const same = (a, b) => a.length === b.length && a.every((byte, at) => byte === b[at]);

/** Only what WebCrypto looks at: an `alg` of its own would be refused. */
function bare({ kty, crv, x, d, k }) {
  return JSON.parse(JSON.stringify({ kty, crv, x, d, k }));
}

/** What a sender's key has to be, with the half that is needed: "d" to stamp, "x" to believe. */
function needSender(key, half) {
  if (!isPair(key, "Ed25519", half)) {
    throw new Error(`no sender's key with "${half}"`);
  }
}

/** What a topic key has to be: symmetric, or of a pair the half that is needed: "x" to seal, "d" to open. */
function needTopicKey(key, half) {
  if (!isSymmetric(key) && !isPair(key, "X25519", half)) {
    throw new Error(`no topic key for AES-GCM, nor of X25519 with "${half}"`);
  }
}

function isPair(key, curve, half) {
  return key.kty === "OKP" && key.crv === curve && typeof key[half] === "string";
}

function isSymmetric({ kty, alg, k }) {
  // WebCrypto takes AES keys of any length that AES has: here the length is part of the algorithm.
  const letters = Math.ceil(KEY_BITS.get(ALGORITHMS[alg]) / 6);
  return kty === "oct" && typeof k === "string" && k.length === letters;
}

/**
 * An envelope for this topic and no other; without a topic key it is stamped only. It is new by its time, since a
 * page has no safe place for a counter: two at once are different by their ciphertexts.
 */
export async function seal(plaintext, topic, sender, topicKey, time = Math.floor(Date.now() / 1000)) {
  needSender(sender, "d");
  if (topicKey) {
    needTopicKey(topicKey, "x");
  }
  const senderId = utf8(sender.kid);
  const content = topicKey ? await encrypt(plaintext, topic, senderId, topicKey) : plaintext;
  const claims = new Map([[ISSUED_AT, time]]);
  const protectedHeader = encode(new Map([[ALG, EDDSA], [KEY_ID, senderId], [CLAIMS, claims]]));
  const key = await imported(sender, "Ed25519", ["sign"]);
  const stamp = await subtle.sign("Ed25519", key, toSign(protectedHeader, topic, content));
  return encode(new Tagged(SIGN1, [protectedHeader, new Map(), content, new Uint8Array(stamp)]));
}

async function encrypt(plaintext, topic, senderId, key) {
  const iv = crypto.getRandomValues(new Uint8Array(12));
  const unprotected = new Map([[IV, iv]]);
  if (key.kty === "oct") {
    const alg = ALGORITHMS[key.alg];
    const header = encode(new Map([[ALG, alg], [KEY_ID, utf8(key.kid)]]));
    const secret = await imported(key, "AES-GCM", ["encrypt"]);
    const additionalData = toBind("Encrypt0", header, topic, senderId);
    const box = await subtle.encrypt({ name: "AES-GCM", iv, additionalData }, secret, plaintext);
    return encode(new Tagged(ENCRYPT0, [header, unprotected, new Uint8Array(box)]));
  }
  const alg = ALGORITHMS.A256GCM;
  const [header, agreement] = [encode(new Map([[ALG, alg]])), encode(new Map([[ALG, ECDH_ES_HKDF_256]]))];
  const ephemeral = await subtle.generateKey("X25519", true, ["deriveBits"]);
  const theirs = await imported({ ...key, d: undefined }, "X25519", []);
  const secret = await agree(ephemeral.privateKey, theirs, alg, agreement);
  const additionalData = toBind("Encrypt", header, topic, senderId);
  const box = await subtle.encrypt({ name: "AES-GCM", iv, additionalData }, secret, plaintext);
  const ours = new Uint8Array(await subtle.exportKey("raw", ephemeral.publicKey));
  const recipient = new Map([[KEY_ID, utf8(key.kid)], [-1, new Map([[1, 1], [-1, 4], [-2, ours]])]]);
  const recipients = [[agreement, recipient, new Uint8Array()]];
  return encode(new Tagged(ENCRYPT, [header, unprotected, new Uint8Array(box), recipients]));
}

/** Opens what one sender has sealed, each envelope once: his numbers have to rise, a stamp with a time is remembered. */
export class Opener {
  #sender;
  #topicKeys;
  #lastSeq = 0;
  #stamps = new Set();

  constructor(sender, ...topicKeys) {
    needSender(sender, "x");
    // Who may only seal for a topic can still believe what comes there, and open nothing.
    topicKeys.forEach((key) => needTopicKey(key, "x"));
    this.#sender = sender;
    this.#topicKeys = topicKeys;
  }

  /** The plaintext; rejects with the reason why not. */
  async open(envelope, topic) {
    const [header, unprotected, content, stamp] = untag(envelope, SIGN1, 4);
    const fields = decode(header);
    const senderId = utf8(this.#sender.kid);
    if (![EDDSA, ED25519].includes(fields.get(ALG)) || fields.has(CRITICAL) || unprotected.size > 0) {
      throw new Error("another kind of stamp");
    }
    if (!same(fields.get(KEY_ID), senderId)) {
      throw new Error("another sender");
    }
    const key = await imported({ ...this.#sender, d: undefined }, "Ed25519", ["verify"]);
    if (!(await subtle.verify("Ed25519", key, stamp, toSign(header, topic, content)))) {
      throw new Error("the stamp does not hold");
    }
    const plaintext = this.#topicKeys.length > 0 ? await this.#decrypt(content, topic, senderId) : content;
    this.#take(fields.get(CLAIMS), stamp);
    return plaintext;
  }

  #take(claims, stamp) {
    const [seq, hex] = [claims?.get(SEQ), stamp.toString()];
    if (seq === undefined && !(Math.abs(Date.now() / 1000 - claims?.get(ISSUED_AT)) <= 300)) {
      throw new Error("not fresh");
    }
    if (seq === undefined ? this.#stamps.has(hex) : seq <= this.#lastSeq) {
      throw new Error("it was taken before");
    }
    this.#lastSeq = seq ?? this.#lastSeq;
    this.#stamps.add(hex);
    // Older ones than the latest 100,000 are past their time at any rate that one sender has.
    if (this.#stamps.size > 100_000) {
      this.#stamps.delete(this.#stamps.values().next().value);
    }
  }

  async #decrypt(content, topic, senderId) {
    const opened = decode(content);
    if (opened.tag === ENCRYPT0) {
      const [header, unprotected, box] = untag(content, ENCRYPT0, 3);
      const alg = decode(header).get(ALG);
      const key = this.#keyOf(decode(header).get(KEY_ID), (key) => isSymmetric(key) && ALGORITHMS[key.alg] === alg);
      const secret = await imported(key, "AES-GCM", ["decrypt"]);
      return unbox(secret, unprotected, box, toBind("Encrypt0", header, topic, senderId));
    }
    const [header, unprotected, box, recipients] = untag(content, ENCRYPT, 4);
    const [[agreement, recipient]] = recipients;
    const key = this.#keyOf(recipient.get(KEY_ID), (key) => isPair(key, "X25519", "d"));
    const alg = decode(header).get(ALG);
    if (recipients.length !== 1 || decode(agreement).get(ALG) !== ECDH_ES_HKDF_256 || !KEY_BITS.has(alg)) {
      throw new Error("another way to seal");
    }
    const ours = await imported(key, "X25519", ["deriveBits"]);
    const theirs = await subtle.importKey("raw", recipient.get(-1).get(-2), "X25519", false, []);
    const secret = await agree(ours, theirs, alg, agreement);
    return unbox(secret, unprotected, box, toBind("Encrypt", header, topic, senderId));
  }

  #keyOf(id, fits) {
    const key = this.#topicKeys.find((key) => same(utf8(key.kid), id) && fits(key));
    if (!key) {
      throw new Error("no key for it");
    }
    return key;
  }
}

async function unbox(secret, unprotected, box, additionalData) {
  const algorithm = { name: "AES-GCM", iv: unprotected.get(IV), additionalData };
  const opened = await subtle.decrypt(algorithm, secret, box).catch(() => {
    throw new Error("the key does not open it");
  });
  return new Uint8Array(opened);
}

/** Sig_structure: the topic is signed along. */
function toSign(header, topic, content) {
  return encode(["Signature1", header, utf8(topic), content]);
}

/** Enc_structure: a ciphertext belongs to its sender and its topic. */
function toBind(context, header, topic, senderId) {
  return encode([context, header, encode([senderId, topic])]);
}

/** The content key of X25519 and HKDF. */
async function agree(ours, theirs, alg, agreement) {
  const length = KEY_BITS.get(alg);
  const shared = await subtle.deriveBits({ name: "X25519", public: theirs }, ours, 256);
  const nobody = [null, null, null];
  const info = encode([alg, nobody, nobody, [length, agreement]]);
  const base = await subtle.importKey("raw", shared, "HKDF", false, ["deriveKey"]);
  const hkdf = { name: "HKDF", hash: "SHA-256", salt: new Uint8Array(), info };
  return subtle.deriveKey(hkdf, base, { name: "AES-GCM", length }, false, ["encrypt", "decrypt"]);
}

// The part of CBOR (RFC 8949) that envelopes are made of.

class Tagged {
  constructor(tag, value) {
    this.tag = tag;
    this.value = value;
  }
}

function untag(bytes, tag, length) {
  const tagged = decode(bytes);
  if (tagged.tag !== tag || tagged.value.length !== length) {
    throw new Error("not an envelope");
  }
  return tagged.value;
}

function encode(value) {
  const out = [];
  const head = (major, number) => {
    const size = number < 24 ? 0 : number < 0x100 ? 1 : number < 0x10000 ? 2 : number < 0x100000000 ? 4 : 8;
    out.push((major << 5) | [number, 24, 25, 0, 26, 0, 0, 0, 27][size]);
    for (let at = size - 1; at >= 0; at -= 1) {
      out.push(Math.floor(number / 256 ** at) % 256);
    }
  };
  const put = (item) => {
    if (item === null) {
      out.push(0xf6);
    } else if (typeof item === "number") {
      head(item < 0 ? 1 : 0, item < 0 ? -1 - item : item);
    } else if (typeof item === "string") {
      head(3, utf8(item).length);
      utf8(item).forEach((byte) => out.push(byte));
    } else if (item instanceof Uint8Array) {
      head(2, item.length);
      item.forEach((byte) => out.push(byte));
    } else if (item instanceof Map) {
      head(5, item.size);
      item.forEach((of, label) => [label, of].forEach(put));
    } else if (item instanceof Tagged) {
      head(6, item.tag);
      put(item.value);
    } else {
      head(4, item.length);
      item.forEach(put);
    }
  };
  put(value);
  return Uint8Array.from(out);
}

/** One item and nothing behind it; no indefinite lengths, no label twice, nesting of at most 8. */
function decode(bytes) {
  let at = 0;
  const take = (length) => {
    if (at + length > bytes.length) {
      throw new Error("not an envelope: cut short");
    }
    at += length;
    return bytes.subarray(at - length, at);
  };
  const next = (depth) => {
    const [first] = take(1);
    const [major, more] = [first >> 5, first & 31];
    if (more > 27 || depth > 8 || (major === 7 && first !== 0xf6)) {
      throw new Error("not an envelope: CBOR that it has no place for");
    }
    const number = more < 24 ? more : take(2 ** (more - 24)).reduce((sum, byte) => sum * 256 + byte, 0);
    if (!Number.isSafeInteger(number)) {
      throw new Error("not an envelope: a number beyond those of JavaScript");
    }
    const items = (count) => {
      const list = [];
      while (list.length < count) {
        list.push(next(depth + 1));
      }
      return list;
    };
    if (major === 5) {
      const list = items(2 * number);
      const map = new Map(list.flatMap((label, n) => (n % 2 === 0 ? [[label, list[n + 1]]] : [])));
      if (map.size !== number) {
        throw new Error("not an envelope: a label twice");
      }
      return map;
    }
    switch (major) {
      case 0:
        return number;
      case 1:
        return -1 - number;
      case 2:
        return take(number);
      case 3:
        return new TextDecoder("utf-8", { fatal: true }).decode(take(number));
      case 4:
        return items(number);
      case 6:
        return new Tagged(number, next(depth + 1));
      default:
        return null;
    }
  };
  const value = next(0);
  if (at !== bytes.length) {
    throw new Error("not an envelope: bytes behind the end");
  }
  return value;
}
