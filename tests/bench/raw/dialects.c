/* What comes, in each dialect: counted, hashed, and acknowledged. */
#include <string.h>
#include <unistd.h>

#include "raw.h"

uint64_t content_hash(const uint8_t *bytes, size_t size) {
  uint64_t hash = 0x9e3779b97f4a7c15u ^ size, word;
  for (; size >= 8; bytes += 8, size -= 8) {
    memcpy(&word, bytes, 8);
    __uint128_t wide = (__uint128_t)(hash ^ word) * 0xd6e8feb86659fd93u;
    hash = (uint64_t)wide ^ (uint64_t)(wide >> 64);
  }
  word = 0;
  memcpy(&word, bytes, size);
  __uint128_t wide = (__uint128_t)(hash ^ word) * 0xd6e8feb86659fd93u;
  return (uint64_t)wide ^ (uint64_t)(wide >> 64);
}

struct reader {
  const uint8_t *at, *end;
  int failed;
};

/* ---- Yjs ------------------------------------------------------------------------------------ */

static uint64_t var_uint(struct reader *r) {
  uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    if (r->at >= r->end) break;
    uint8_t byte = *r->at++;
    value |= (uint64_t)(byte & 127) << shift;
    if (byte < 128) return value;
  }
  r->failed = 1;
  return 0;
}

/* Updates of this benchmark have one struct each: an update with more was merged by the server. */
static uint64_t structs_of(const uint8_t *update, size_t size, int *clients) {
  struct reader r = {update, update + size, 0};
  *clients = (int)var_uint(&r);
  return *clients ? var_uint(&r) : 0;
}

static void heard_update(struct conn *c, const uint8_t *update, size_t size, double at_s) {
  int clients;
  uint64_t structs = structs_of(update, size, &clients);
  if (clients > 1) complain(c, "an update of many clients: it can't be counted", update, 16);
  if (structs == 1) c->hash += content_hash(update, size);
  if (structs > 1) c->merged++;
  delivered(c, structs, at_s);
}

static void heard_yjs(struct pool *p, struct conn *c, const uint8_t *bytes, size_t size,
                      double at_s) {
  static const uint8_t nothing[5] = {0, 1, 2, 0, 0};
  struct reader r = {bytes, bytes + size, 0};
  size_t named = 0;
  if (c->dialect == HOCUSPOCUS) {
    uint64_t length = var_uint(&r);
    if (length > (uint64_t)(r.end - r.at)) return complain(c, "no document name", bytes, size);
    r.at += length;
    named = r.at - bytes;
  }
  uint64_t type = var_uint(&r);
  int is_reply = c->dialect == HOCUSPOCUS && type == 4;
  if (type == 2) {
    uint64_t what = var_uint(&r);
    if (c->dialect == HOCUSPOCUS && what == 2) return; /* authenticated */
    return complain(c, "denied: ", bytes, size);
  }
  if (type != 0 && !is_reply) return;
  uint64_t what = var_uint(&r), length = var_uint(&r);
  if (r.failed || length > (uint64_t)(r.end - r.at))
    return complain(c, "no sync message: ", bytes, size);
  if (what == 0) {
    uint8_t message[256];
    if (named + sizeof nothing > sizeof message) return complain(c, "a long name", bytes, 16);
    memcpy(message, bytes, named);
    memcpy(message + named, nothing, sizeof nothing);
    say_frame(c, 2, message, named + sizeof nothing);
  } else if (what == 1 && !c->synced) {
    /* The first state, however many updates it holds. */
    c->synced = 1;
    int clients;
    c->updates += structs_of(r.at, length, &clients);
    if (c->updates >= c->ready_updates) become_ready(p, c, at_s);
  } else {
    heard_update(c, r.at, length, at_s);
    if (c->synced && c->updates >= c->ready_updates) become_ready(p, c, at_s);
  }
}

/* ---- native --------------------------------------------------------------------------------- */

static uint64_t pack_uint(struct reader *r) {
  if (r->at >= r->end) return r->failed = 1, 0;
  uint8_t first = *r->at++;
  if (first < 128) return first;
  int size = first == 0xcc ? 1 : first == 0xcd ? 2 : first == 0xce ? 4 : first == 0xcf ? 8 : 0;
  if (!size || r->end - r->at < size) return r->failed = 1, 0;
  uint64_t value = 0;
  while (size--) value = value << 8 | *r->at++;
  return value;
}

static uint64_t pack_array(struct reader *r) {
  if (r->at >= r->end) return r->failed = 1, 0;
  uint8_t first = *r->at++;
  if ((first & 0xf0) == 0x90) return first & 15;
  int size = first == 0xdc ? 2 : first == 0xdd ? 4 : 0;
  if (!size || r->end - r->at < size) return r->failed = 1, 0;
  uint64_t value = 0;
  while (size--) value = value << 8 | *r->at++;
  return value;
}

static const uint8_t *pack_bin(struct reader *r, uint64_t *length) {
  *length = 0;
  if (r->at >= r->end) return r->failed = 1, r->at;
  uint8_t first = *r->at++;
  int size = first == 0xc4 ? 1 : first == 0xc5 ? 2 : first == 0xc6 ? 4 : 0;
  if (!size || r->end - r->at < size) return r->failed = 1, r->at;
  uint64_t value = 0;
  while (size--) value = value << 8 | *r->at++;
  if (value > (uint64_t)(r->end - r->at)) return r->failed = 1, r->at;
  const uint8_t *found = r->at;
  r->at += value;
  *length = value;
  return found;
}

static void put_uint(uint8_t *to, size_t *used, uint64_t value) {
  if (value < 128) {
    to[(*used)++] = value;
    return;
  }
  int size = value < 256 ? 1 : value < 65536 ? 2 : value >> 32 ? 8 : 4;
  to[(*used)++] = size == 1 ? 0xcc : size == 2 ? 0xcd : size == 4 ? 0xce : 0xcf;
  for (int i = size - 1; i >= 0; i--) to[(*used)++] = value >> (8 * i);
}

/* Acknowledges Records messages as an end without a region does (ACK_GATHER_S): after 50 ms, or
 * when a quarter of the window is full. The one place where acknowledgements are written. */
void answer(struct pool *p, struct conn *c) {
  if (!c->ack_last) return;
  if (!c->ack_since_s) c->ack_since_s = p->looked_s;
  if (c->ack_last - c->ack_first < 15 && c->ack_bytes < 2 << 20 &&
      p->looked_s - c->ack_since_s < 0.05)
    return;
  uint8_t frame[32] = {1, 0x94, 5};
  size_t used = 3;
  put_uint(frame, &used, c->ack_first);
  put_uint(frame, &used, c->ack_last);
  frame[used++] = 0x90;
  say_frame(c, 2, frame, used);
  c->ack_first = c->ack_last = c->ack_bytes = 0;
  c->ack_since_s = 0;
}

static void heard_records(struct conn *c, struct reader *r, double at_s) {
  c->ack_bytes += r->end - r->at;
  uint64_t serial = pack_uint(r), length;
  if (r->at < r->end && *r->at == 0xc0) {
    r->at++;
  } else {
    pack_uint(r);
  }
  uint64_t count = pack_array(r), hash = 0;
  for (uint64_t i = 0; i < count && !r->failed; i++) {
    if (pack_array(r) != 2) r->failed = 1;
    pack_bin(r, &length);
    const uint8_t *payload = pack_bin(r, &length);
    if (!r->failed) hash += content_hash(payload, length);
  }
  if (r->failed) return complain(c, "no records: ", r->at, r->end - r->at < 16 ? r->end - r->at : 16);
  c->hash += hash;
  if (!c->ack_first) c->ack_first = serial;
  c->ack_last = serial;
  delivered(c, count, at_s);
}

static void heard_native(struct pool *p, struct conn *c, const uint8_t *bytes, size_t size,
                         double at_s) {
  if (size < 3 || bytes[0] != 1 || (bytes[1] & 0xf0) != 0x90)
    return complain(c, "no frame: ", bytes, size < 32 ? size : 32);
  struct reader r = {bytes + 3, bytes + size, 0};
  uint64_t length;
  const uint8_t *found;
  switch (bytes[2]) {
    case 0: c->greeted = 1; break;
    case 1: complain(c, "bye: ", bytes + 3, size - 3); break;
    case 2: c->listed |= bytes[size - 1] == 0xc3; break;
    case 4: heard_records(c, &r, at_s); break;
    case 5: {
      uint64_t first = pack_uint(&r), last = pack_uint(&r);
      if (r.failed) return complain(c, "no acknowledgement: ", bytes, size < 32 ? size : 32);
      acknowledged(c, first, last, at_s);
      break;
    }
    case 8: {
      pack_uint(&r);
      uint64_t index = pack_uint(&r), count = pack_uint(&r);
      found = pack_bin(&r, &length);
      if (r.failed) return complain(c, "no fragment: ", bytes, 16);
      if (!index) c->part.begin = c->part.used = 0;
      put(&c->part, found, length);
      if (index + 1 == count) heard_native(p, c, c->part.bytes, c->part.used, at_s);
      return;
    }
    case 10:
      if (r.at < r.end && *r.at == 0xc0) return complain(c, "the ticket was refused", NULL, 0);
      found = pack_bin(&r, &length);
      if (length != 16) return complain(c, "no ticket: ", bytes, size);
      memcpy(c->ticket, found, 16);
      c->issued = 1;
      say_frame(c, 2, (const uint8_t *)"\x01\x91\x0b", 3);
      break;
  }
  if (!c->ready && c->greeted && c->listed && c->issued && c->updates >= c->ready_updates)
    become_ready(p, c, at_s);
}

void heard(struct pool *p, struct conn *c, const uint8_t *bytes, size_t size, double at_s) {
  if (c->dump_fd >= 0) {
    uint32_t length = (uint32_t)size;
    if (write(c->dump_fd, &length, 4) != 4 || write(c->dump_fd, bytes, size) != (ssize_t)size)
      complain(c, "what came could not be written down", NULL, 0);
  }
  if (c->dialect == NATIVE) {
    heard_native(p, c, bytes, size, at_s);
  } else {
    heard_yjs(p, c, bytes, size, at_s);
  }
}
