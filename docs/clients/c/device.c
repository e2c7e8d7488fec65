/* A device without TLS: publishes a sealed reading, or opens one that comes in an envelope.
 *
 *   device publish HOST PORT TOPIC SENDER_KEY TOPIC_KEY READING
 *   device open    HOST PORT TOPIC SENDER_PUBLIC_KEY TOPIC_KEY
 *
 * One file, whose own buffers are static: Ed25519 and ChaCha20-Poly1305 by libsodium, CBOR and MQTT 3.1.1 by hand. Keys
 * are the JWK of `sealmq keys`, the topic's one made with --alg ChaCha20/Poly1305. What an envelope is stands in
 * docs/encryption.md. Build: gcc -o device device.c -lsodium */
#define _GNU_SOURCE
#include <fcntl.h>
#include <netdb.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <unistd.h>

enum { UINT, NEGATIVE, BYTES, TEXT, ARRAY, MAP, TAG }; /* major types of CBOR */
enum { ALG = 1, KEY_ID = 4, IV = 5, CLAIMS = 15, SEQ = -65537, EDDSA = -8, ED25519 = -19, CHACHA20 = 24 };
enum { TAG_BYTES = crypto_aead_chacha20poly1305_ietf_ABYTES, STAMP_BYTES = crypto_sign_BYTES, IV_BYTES = 12 };

typedef struct { const uint8_t *at; size_t size; } Slice;
typedef struct { uint8_t at[2048]; size_t size; bool full; } Buffer;
typedef struct { Slice rest; bool broken; } Reader;
typedef struct { char id[64]; uint8_t bytes[32]; } Key;

static void need(bool holds, const char *otherwise) {
    if (!holds)
        fprintf(stderr, "device: %s\n", otherwise), exit(1);
}

static Slice text(const char *string) { return (Slice){(const uint8_t *)string, strlen(string)}; }
static Slice written(const Buffer *buffer) { return (Slice){buffer->at, buffer->size}; }
static bool same(Slice a, Slice b) { return a.size == b.size && memcmp(a.at, b.at, a.size) == 0; }

/* --- CBOR, written --- */
static void put(Buffer *out, Slice bytes) {
    out->full |= bytes.size > sizeof out->at - out->size;
    if (!out->full && bytes.size > 0)
        memcpy(out->at + out->size, bytes.at, bytes.size), out->size += bytes.size;
}

static void put_head(Buffer *out, int major, uint64_t number) {
    uint8_t head[9] = {(uint8_t)(major << 5)};
    int size = number < 24 ? 0 : number < 0x100 ? 1 : number < 0x10000 ? 2 : number < 0x100000000 ? 4 : 8;
    head[0] |= size == 0 ? number : size == 1 ? 24 : size == 2 ? 25 : size == 4 ? 26 : 27;
    for (int n = 0; n < size; n++)
        head[size - n] = (uint8_t)(number >> (8 * n));
    put(out, (Slice){head, 1 + (size_t)size});
}

static void put_int(Buffer *out, int64_t n) { put_head(out, n < 0 ? NEGATIVE : UINT, n < 0 ? -1 - n : n); }
static void put_string(Buffer *out, int major, Slice bytes) { put_head(out, major, bytes.size), put(out, bytes); }

/* Sig_structure, what is signed: the topic with the content. */
static void to_sign(Buffer *out, Slice header, Slice topic, Slice content) {
    put_head(out, ARRAY, 4), put_string(out, TEXT, text("Signature1"));
    put_string(out, BYTES, header), put_string(out, BYTES, topic), put_string(out, BYTES, content);
}

/* Enc_structure, what a ciphertext is bound to: its sender and its topic. */
static void to_bind(Buffer *out, Slice header, Slice sender, Slice topic) {
    static Buffer external;
    external = (Buffer){.size = 0};
    put_head(&external, ARRAY, 2), put_string(&external, BYTES, sender), put_string(&external, TEXT, topic);
    put_head(out, ARRAY, 3), put_string(out, TEXT, text("Encrypt0"));
    put_string(out, BYTES, header), put_string(out, BYTES, written(&external));
    out->full |= external.full;
}

/* The envelope round a reading; false if it is too long for the buffers. */
static bool seal(Buffer *out, const Key *sender, const Key *key, Slice topic, Slice reading, uint64_t seq) {
    static Buffer header, bound, content, stamp_header, signing;
    static uint8_t ciphertext[512 + TAG_BYTES];
    uint8_t iv[IV_BYTES], stamp[STAMP_BYTES], pair[crypto_sign_SECRETKEYBYTES], public[32];
    if (reading.size + TAG_BYTES > sizeof ciphertext)
        return false;
    put_head(&header, MAP, 2), put_int(&header, ALG), put_int(&header, CHACHA20);
    put_int(&header, KEY_ID), put_string(&header, BYTES, text(key->id));
    to_bind(&bound, written(&header), text(sender->id), topic);
    randombytes_buf(iv, sizeof iv);
    unsigned long long size;
    crypto_aead_chacha20poly1305_ietf_encrypt(ciphertext, &size, reading.at, reading.size, bound.at, bound.size,
                                              NULL, iv, key->bytes);
    put_head(&content, TAG, 16), put_head(&content, ARRAY, 3), put_string(&content, BYTES, written(&header));
    put_head(&content, MAP, 1), put_int(&content, IV), put_string(&content, BYTES, (Slice){iv, sizeof iv});
    put_string(&content, BYTES, (Slice){ciphertext, size});
    put_head(&stamp_header, MAP, 3), put_int(&stamp_header, ALG), put_int(&stamp_header, EDDSA);
    put_int(&stamp_header, KEY_ID), put_string(&stamp_header, BYTES, text(sender->id));
    put_int(&stamp_header, CLAIMS), put_head(&stamp_header, MAP, 1);
    put_int(&stamp_header, SEQ), put_head(&stamp_header, UINT, seq);
    to_sign(&signing, written(&stamp_header), topic, written(&content));
    crypto_sign_seed_keypair(public, pair, sender->bytes);
    crypto_sign_detached(stamp, NULL, signing.at, signing.size, pair);
    sodium_memzero(pair, sizeof pair);
    put_head(out, TAG, 18), put_head(out, ARRAY, 4), put_string(out, BYTES, written(&stamp_header));
    put_head(out, MAP, 0), put_string(out, BYTES, written(&content));
    put_string(out, BYTES, (Slice){stamp, sizeof stamp});
    return !(header.full || bound.full || content.full || stamp_header.full || signing.full || out->full);
}

/* --- CBOR, read: the fixed shape of an envelope, and nothing else --- */
static Slice get(Reader *in, size_t size) {
    in->broken |= size > in->rest.size;
    Slice bytes = in->broken ? (Slice){NULL, 0} : (Slice){in->rest.at, size};
    in->rest = (Slice){in->rest.at + bytes.size, in->rest.size - bytes.size};
    return bytes;
}

static uint64_t get_head(Reader *in, int major) {
    Slice first = get(in, 1);
    in->broken |= first.size == 0 || first.at[0] >> 5 != major || (first.at[0] & 31) > 27;
    if (in->broken)
        return 0;
    uint64_t info = first.at[0] & 31, number = info < 24 ? info : 0;
    Slice more = get(in, info < 24 ? 0 : (size_t)1 << (info - 24));
    for (size_t n = 0; n < more.size; n++)
        number = number << 8 | more.at[n];
    return number;
}

static void expect(Reader *in, int major, uint64_t number) { in->broken |= get_head(in, major) != number; }
static Slice get_bytes(Reader *in) { return get(in, get_head(in, BYTES)); }
static bool ended(const Reader *in) { return !in->broken && in->rest.size == 0; }

/* The reading in an envelope, put into `out`; otherwise why it is not believed. The sender's counter has to rise. */
static const char *unseal(uint8_t *out, size_t *size, size_t room, const Key *sender, const Key *key, Slice topic,
                          Slice envelope) {
    static Buffer signing, bound;
    static uint64_t last_seq;
    signing = bound = (Buffer){.size = 0};
    Reader in = {envelope, false};
    expect(&in, TAG, 18), expect(&in, ARRAY, 4);
    Slice stamp_header = get_bytes(&in);
    expect(&in, MAP, 0);
    Slice content = get_bytes(&in), stamp = get_bytes(&in);
    Reader fields = {stamp_header, in.broken};
    expect(&fields, MAP, 3), expect(&fields, UINT, ALG);
    uint64_t alg = get_head(&fields, NEGATIVE);
    expect(&fields, UINT, KEY_ID);
    Slice id = get_bytes(&fields);
    expect(&fields, UINT, CLAIMS), expect(&fields, MAP, 1), expect(&fields, NEGATIVE, -1 - SEQ);
    uint64_t seq = get_head(&fields, UINT);
    if (!ended(&in) || !ended(&fields) || stamp.size != STAMP_BYTES)
        return "not an envelope with a counter";
    if ((alg != -1 - EDDSA && alg != -1 - ED25519) || !same(id, text(sender->id)))
        return "another sender";
    to_sign(&signing, stamp_header, topic, content);
    if (signing.full || crypto_sign_verify_detached(stamp.at, signing.at, signing.size, sender->bytes) != 0)
        return "the stamp does not hold";
    Reader sealed = {content, false};
    expect(&sealed, TAG, 16), expect(&sealed, ARRAY, 3);
    Slice header = get_bytes(&sealed);
    expect(&sealed, MAP, 1), expect(&sealed, UINT, IV);
    Slice iv = get_bytes(&sealed), ciphertext = get_bytes(&sealed);
    Reader parts = {header, sealed.broken};
    expect(&parts, MAP, 2), expect(&parts, UINT, ALG), expect(&parts, UINT, CHACHA20), expect(&parts, UINT, KEY_ID);
    Slice key_id = get_bytes(&parts);
    if (!ended(&sealed) || !ended(&parts) || iv.size != IV_BYTES || !same(key_id, text(key->id)))
        return "not sealed with this key";
    to_bind(&bound, header, text(sender->id), topic);
    unsigned long long opened;
    if (bound.full || ciphertext.size < TAG_BYTES || ciphertext.size - TAG_BYTES > room ||
        crypto_aead_chacha20poly1305_ietf_decrypt(out, &opened, NULL, ciphertext.at, ciphertext.size, bound.at,
                                                  bound.size, iv.at, key->bytes) != 0)
        return "the key does not open it";
    if (seq <= last_seq)
        return "it was taken before";
    last_seq = seq, *size = opened;
    return NULL;
}

/* --- keys and the counter, from files; a device has them in flash --- */
/* What stands after `name`, which ends with the quote that opens it; nothing if it is not there. */
static Slice field(const char *json, const char *name) {
    const char *at = strstr(json, name);
    at = at ? at + strlen(name) : "\"";
    return (Slice){(const uint8_t *)at, strcspn(at, "\"")};
}

/* The 32 bytes named `part` of a key that is for `use`. What is not just such a key ends the program. */
static Key read_key(const char *file, const char *type, const char *use, const char *part, const char *otherwise) {
    static char json[1024];
    Key key = {.id = ""};
    size_t size = 0;
    FILE *opened = fopen(file, "r");
    need(opened, "cannot read a key file");
    json[fread(json, 1, sizeof json - 1, opened)] = '\0', fclose(opened);
    Slice id = field(json, "\"kid\":\""), bytes = field(json, part);
    int undecoded = sodium_base642bin(key.bytes, sizeof key.bytes, (const char *)bytes.at, bytes.size, NULL, &size,
                                      NULL, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    need(strstr(json, type) && strstr(json, use) && undecoded == 0 && size == sizeof key.bytes, otherwise);
    need(id.size > 0 && id.size < sizeof key.id, "a key file without kid, or with a long one");
    return memcpy(key.id, id.at, id.size), sodium_memzero(json, sizeof json), key;
}

/* The sender's next number, on the disk before it is used. */
static uint64_t next_seq(const char *key_file) {
    char name[512], line[32] = "";
    snprintf(name, sizeof name, "%s.seq", key_file);
    int fd = open(name, O_RDWR | O_CREAT, 0600);
    need(fd >= 0 && flock(fd, LOCK_EX) == 0 && pread(fd, line, sizeof line - 1, 0) >= 0, "cannot read the counter");
    uint64_t seq = strtoull(line, NULL, 10) + 1;
    int size = snprintf(line, sizeof line, "%020llu\n", (unsigned long long)seq);
    need(pwrite(fd, line, (size_t)size, 0) == size && fsync(fd) == 0, "cannot write the counter");
    return close(fd), seq;
}

/* --- MQTT 3.1.1 --- */
static int connection;

static void put_text(Buffer *out, Slice bytes) {
    put(out, (Slice){(uint8_t[]){(uint8_t)(bytes.size >> 8), (uint8_t)bytes.size}, 2}), put(out, bytes);
}

static void send_packet(uint8_t first, const Buffer *body) {
    static Buffer out;
    bool is_long = body->size > 127; /* two bytes of length are enough for any Buffer */
    out = (Buffer){.at = {first, (uint8_t)(body->size | (is_long ? 128 : 0)), (uint8_t)(body->size >> 7)}};
    out.size = is_long ? 3 : 2;
    put(&out, written(body));
    need(!out.full && !body->full && send(connection, out.at, out.size, MSG_NOSIGNAL) == (ssize_t)out.size,
         "cannot send");
}

static void receive(uint8_t *out, size_t size) {
    need(size == 0 || recv(connection, out, size, MSG_WAITALL) == (ssize_t)size, "the connection is closed");
}

/* The next packet: its first byte; what follows the length is in `body`. */
static uint8_t receive_packet(Slice *body) {
    static uint8_t packet[4096];
    uint8_t first, byte = 128;
    size_t size = 0;
    receive(&first, 1);
    for (int shift = 0; byte & 128 && shift < 28; shift += 7)
        receive(&byte, 1), size |= (size_t)(byte & 127) << shift;
    need(!(byte & 128) && size <= sizeof packet, "a packet that is too long");
    receive(packet, size);
    return *body = (Slice){packet, size}, first;
}

static void await(uint8_t first, size_t size, uint8_t last_max, const char *otherwise) {
    Slice body;
    need(receive_packet(&body) == first && body.size == size && body.at[size - 1] <= last_max, otherwise);
}

static void connect_to(const char *host, const char *port) {
    static Buffer body;
    struct addrinfo *found, hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
    need(getaddrinfo(host, port, &hints, &found) == 0, "no such host");
    connection = socket(AF_INET, SOCK_STREAM, 0);
    need(connection >= 0 && connect(connection, found->ai_addr, found->ai_addrlen) == 0, "cannot connect");
    freeaddrinfo(found);
    put(&body, (Slice){(const uint8_t *)"\0\4MQTT\4\2\0\0", 10}); /* clean session, no keep alive */
    put_text(&body, text(""));                                    /* the broker chooses the client id */
    send_packet(0x10, &body);
    await(0x20, 2, 0, "the broker refuses the connection");
}

int main(int argc, char **argv) {
    static Buffer body, envelope;
    need(sodium_init() >= 0 && argc >= 7 && argc == (strcmp(argv[1], "publish") == 0 ? 8 : 7),
         "publish HOST PORT TOPIC SENDER_KEY TOPIC_KEY READING, or open HOST PORT TOPIC SENDER_KEY TOPIC_KEY");
    Slice topic = text(argv[4]), id = {(const uint8_t *)"\0\1", 2};
    Key sender = read_key(argv[5], "\"kty\":\"OKP\"", "\"crv\":\"Ed25519\"", argc == 8 ? "\"d\":\"" : "\"x\":\"",
                          "SENDER_KEY is no Ed25519 key, or without the half that is needed: d, to open x");
    Key key = read_key(argv[6], "\"kty\":\"oct\"", "\"alg\":\"ChaCha20/Poly1305\"", "\"k\":\"",
                       "TOPIC_KEY is no symmetric key for ChaCha20/Poly1305");
    connect_to(argv[2], argv[3]);
    if (argc == 8) {
        need(seal(&envelope, &sender, &key, topic, text(argv[7]), next_seq(argv[5])), "the reading is too long");
        put_text(&body, topic), put(&body, id), put(&body, written(&envelope));
        send_packet(0x32, &body); /* QoS 1 */
        await(0x40, 2, 1, "the broker does not acknowledge");
        return send_packet(0xE0, &(Buffer){.size = 0}), 0;
    }
    put(&body, id), put_text(&body, topic), put(&body, (Slice){(const uint8_t *)"\0", 1});
    send_packet(0x82, &body);
    await(0x90, 3, 2, "the broker refuses the subscription");
    fprintf(stderr, "subscribed\n");
    for (;;) {
        static uint8_t reading[512];
        Slice published;
        size_t size;
        need(receive_packet(&published) >> 4 == 3 && published.size >= 2 + topic.size &&
                 same((Slice){published.at + 2, topic.size}, topic), "the broker sends something else");
        Slice payload = {published.at + 2 + topic.size, published.size - 2 - topic.size};
        const char *why = unseal(reading, &size, sizeof reading, &sender, &key, topic, payload);
        if (why == NULL)
            return printf("%s %.*s\n", argv[4], (int)size, reading) < 0;
        fprintf(stderr, "%s: %s\n", argv[4], why);
    }
}
