/* The raw websocket client of the relay's benchmark: one thread, epoll, preframed bytes.
 *
 * Counts what comes and hashes its content; says nothing of its own but acknowledgements, pongs
 * and heartbeats. Driven from Python by ctypes (client.py), which has the same structs.
 */
#ifndef RAW_H
#define RAW_H
#include <stddef.h>
#include <stdint.h>

enum { NATIVE = 0, YJS = 1, HOCUSPOCUS = 2 };
enum { CONNECTING = 0, SHAKING = 1, OPEN = 2, CLOSED = 3 };

struct buffer {
  uint8_t *bytes;
  size_t size, used, begin;
};

/* Messages whose deliveries to a group of readers are followed. */
struct group {
  uint64_t *upto;   /* updates up to and with each message */
  uint64_t count;   /* messages */
  uint32_t *left;   /* readers that have not got all of each message */
  double *begun_s;  /* when each was sent, or was due */
  double *done_s;   /* when the last reader had each */
  float *took_s;    /* of each delivery of a message to a reader, as they came */
  uint64_t took, took_max;
  uint64_t done; /* messages that all readers have */
};

struct sender {
  int conn;
  const uint8_t *bytes; /* framed messages, joined */
  const uint64_t *ends; /* where each ends in them */
  uint64_t count, next;
  const double *due_s;     /* when each is to be sent after the beginning; NULL: as the windows allow */
  uint64_t unacked_max;    /* messages; 0: acknowledgements do not count */
  uint64_t undelivered_max; /* updates that not all readers of `group` have; 0: no bound */
  double *sent_s, *acked_s;
  uint64_t acked; /* messages */
  const uint64_t *upto;
  struct group *group;
};

struct conn {
  int fd, dialect, state, ready;
  int64_t close_code;
  double began_s, ready_s, said_s, closed_s;
  uint64_t ready_updates; /* a link is ready when it has got so many, too */
  uint64_t updates, messages, merged, hash, bytes, pongs;
  uint64_t follow; /* the next message of the group that this reader waits for */
  uint64_t base;   /* updates that came before the group's first */
  int greeted, listed, issued, synced, dump_fd;
  uint8_t ticket[16];
  char said[200]; /* the last complaint of the server, or ours about it */
  uint64_t ack_first, ack_last, ack_bytes;
  double ack_since_s; /* what is to be acknowledged is gathered since then */
  struct group *group;
  struct sender *sender;
  struct buffer in, out, part, pieces, opening;
  int wants_out;
};

struct pool {
  int epoll, conns_count, ready, open;
  struct conn *conns;
  uint8_t *scratch;
  double looked_s, worst_pong_s, pinged_s, acked_s;
};

double now_s(void);
uint64_t content_hash(const uint8_t *bytes, size_t size);
void put(struct buffer *to, const void *bytes, size_t size);
void say_frame(struct conn *c, int opcode, const uint8_t *bytes, size_t size);
void complain(struct conn *c, const char *text, const uint8_t *more, size_t size);
void end_conn(struct pool *p, struct conn *c, int64_t code);
int flush_out(struct pool *p, struct conn *c);
void turn(struct pool *p, int timeout_ms);
/* One websocket message; what it means (dialects.c). */
void heard(struct pool *p, struct conn *c, const uint8_t *bytes, size_t size, double at_s);
void answer(struct pool *p, struct conn *c);
void become_ready(struct pool *p, struct conn *c, double at_s);
/* `updates` of content `hash` have come (rounds.c). */
void delivered(struct conn *c, uint64_t updates, double at_s);
void acknowledged(struct conn *c, uint64_t first, uint64_t last, double at_s);
#endif
