/* Sockets and websocket frames. Must never know: what messages mean. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "raw.h"

enum { SCRATCH = 2 << 20, FRAME_MAX = 128 << 20 };

double now_s(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}

void put(struct buffer *to, const void *bytes, size_t size) {
  if (to->begin == to->used) to->begin = to->used = 0;
  if (to->used + size > to->size) {
    if (to->begin) {
      memmove(to->bytes, to->bytes + to->begin, to->used - to->begin);
      to->used -= to->begin;
      to->begin = 0;
    }
    while (to->used + size > to->size) to->size = to->size ? 2 * to->size : 1024;
    to->bytes = realloc(to->bytes, to->size);
    if (!to->bytes) abort();
  }
  memcpy(to->bytes + to->used, bytes, size);
  to->used += size;
}

void complain(struct conn *c, const char *text, const uint8_t *more, size_t size) {
  int n = snprintf(c->said, sizeof c->said, "%s", text);
  for (size_t i = 0; i < size && n < (int)sizeof c->said - 1; i++)
    c->said[n++] = more[i] >= 32 && more[i] < 127 ? (char)more[i] : '.';
  c->said[n] = 0;
}

/* A frame of a client is masked; by 00000000, which changes nothing. */
void say_frame(struct conn *c, int opcode, const uint8_t *bytes, size_t size) {
  uint8_t head[14] = {0x80 | opcode};
  size_t used = 2;
  if (size < 126) {
    head[1] = 0x80 | size;
  } else if (size < 65536) {
    head[1] = 0x80 | 126, head[2] = size >> 8, head[3] = size, used = 4;
  } else {
    head[1] = 0x80 | 127, used = 10;
    for (int i = 0; i < 8; i++) head[2 + i] = (uint64_t)size >> (56 - 8 * i);
  }
  put(&c->out, head, used + 4);
  if (size) put(&c->out, bytes, size);
}

static void watch(struct pool *p, struct conn *c, int wants_out) {
  struct epoll_event e = {.events = EPOLLIN | (wants_out ? EPOLLOUT : 0),
                          .data.u32 = (uint32_t)(c - p->conns)};
  epoll_ctl(p->epoll, EPOLL_CTL_MOD, c->fd, &e);
  c->wants_out = wants_out;
}

void end_conn(struct pool *p, struct conn *c, int64_t code) {
  if (c->state == CLOSED) return;
  close(c->fd);
  c->fd = -1;
  c->state = CLOSED;
  c->closed_s = now_s();
  if (!c->close_code) c->close_code = code;
  if (c->ready) p->ready--;
  c->ready = 0;
  p->open--;
}

int flush_out(struct pool *p, struct conn *c) {
  if (c->state < SHAKING || c->state == CLOSED) return 0;
  while (c->out.begin < c->out.used) {
    ssize_t n = send(c->fd, c->out.bytes + c->out.begin, c->out.used - c->out.begin, MSG_NOSIGNAL);
    if (n < 0) {
      if (errno == EAGAIN) {
        if (!c->wants_out) watch(p, c, 1);
        return 0;
      }
      end_conn(p, c, -errno);
      return -1;
    }
    c->out.begin += n;
    c->said_s = p->looked_s;
  }
  if (c->wants_out) watch(p, c, 0);
  return 0;
}

void become_ready(struct pool *p, struct conn *c, double at_s) {
  if (c->ready) return;
  c->ready = 1;
  c->ready_s = at_s;
  p->ready++;
}

/* Takes whole frames out of `bytes`; returns how much was taken. */
static size_t take_frames(struct pool *p, struct conn *c, uint8_t *bytes, size_t size, double at_s) {
  size_t done = 0;
  while (c->state == OPEN && size - done >= 2) {
    uint8_t *f = bytes + done;
    size_t head = 2;
    uint64_t length = f[1] & 127;
    if (length == 126) {
      if (size - done < 4) break;
      length = (uint64_t)f[2] << 8 | f[3], head = 4;
    } else if (length == 127) {
      if (size - done < 10) break;
      length = 0;
      for (int i = 2; i < 10; i++) length = length << 8 | f[i];
      head = 10;
    }
    if (length > FRAME_MAX || (f[1] & 128)) {
      complain(c, "a frame that no server sends", f, 2);
      end_conn(p, c, -1);
      return size;
    }
    if (size - done < head + length) break;
    int opcode = f[0] & 15;
    int is_last = f[0] & 128;
    if (opcode == 2 && is_last) {
      c->messages++;
      heard(p, c, f + head, length, at_s);
    } else if (opcode == 2 || opcode == 0) {
      if (opcode == 2) c->pieces.begin = c->pieces.used = 0;
      put(&c->pieces, f + head, length);
      if (is_last) {
        c->messages++;
        heard(p, c, c->pieces.bytes, c->pieces.used, at_s);
        free(c->pieces.bytes);
        memset(&c->pieces, 0, sizeof c->pieces);
      }
    } else if (opcode == 8) {
      int64_t code = length >= 2 ? f[head] << 8 | f[head + 1] : 1005;
      if (length > 2) complain(c, "", f + head + 2, length - 2);
      end_conn(p, c, code);
      return size;
    } else if (opcode == 9) {
      say_frame(c, 10, f + head, length);
    } else if (opcode == 10) {
      double took = at_s - p->pinged_s;
      if (took > p->worst_pong_s) p->worst_pong_s = took;
      c->pongs++;
    } else {
      complain(c, "a frame of another kind", f, head);
      end_conn(p, c, -2);
      return size;
    }
    done += head + length;
  }
  return done;
}

/* The answer to the upgrade; returns how much it was, 0 while it is not complete. */
static size_t take_answer(struct pool *p, struct conn *c, uint8_t *bytes, size_t size) {
  uint8_t *end = memmem(bytes, size, "\r\n\r\n", 4);
  if (!end) return 0;
  int status = size > 12 ? atoi((char *)bytes + 9) : 0;
  if (status != 101) {
    complain(c, "", bytes, size);
    end_conn(p, c, status);
    return size;
  }
  c->state = OPEN;
  put(&c->out, c->opening.bytes, c->opening.used);
  return end + 4 - bytes;
}

static void read_some(struct pool *p, struct conn *c) {
  for (int times = 0; times < 2 && c->state != CLOSED; times++) {
    size_t kept = c->in.used - c->in.begin;
    uint8_t *from = p->scratch;
    size_t room = SCRATCH - kept;
    if (kept > SCRATCH / 2) { /* A very large message: read behind what is kept of it. */
      if (c->in.begin) {
        memmove(c->in.bytes, c->in.bytes + c->in.begin, kept);
        c->in.used = kept, c->in.begin = 0;
      }
      if (c->in.size < kept + SCRATCH) {
        c->in.size = 2 * kept + SCRATCH;
        c->in.bytes = realloc(c->in.bytes, c->in.size);
      }
      from = c->in.bytes, room = c->in.size - kept;
    } else if (kept) {
      memcpy(p->scratch, c->in.bytes + c->in.begin, kept);
    }
    ssize_t n = recv(c->fd, from + kept, room, 0);
    if (n <= 0) {
      if (n < 0 && errno == EAGAIN) break;
      end_conn(p, c, n < 0 ? -errno : 1006);
      break;
    }
    double at_s = now_s();
    c->bytes += n;
    size_t all = kept + n, done = 0;
    if (c->state == SHAKING) done = take_answer(p, c, from, all);
    if (c->state == OPEN) done += take_frames(p, c, from + done, all - done, at_s);
    if (from == p->scratch) {
      c->in.begin = c->in.used = 0;
      if (done < all) put(&c->in, from + done, all - done);
    } else {
      c->in.used = all, c->in.begin = done;
    }
    if ((size_t)n < room) break;
  }
  if (c->state == OPEN) {
    answer(p, c);
    if (!c->wants_out) flush_out(p, c);
  }
}

void turn(struct pool *p, int timeout_ms) {
  struct epoll_event events[256];
  int n = epoll_wait(p->epoll, events, 256, timeout_ms);
  p->looked_s = now_s();
  for (int i = 0; i < n; i++) {
    struct conn *c = &p->conns[events[i].data.u32];
    if (c->state == CLOSED) continue;
    if (c->state == CONNECTING) {
      int error = 0;
      socklen_t size = sizeof error;
      getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
      if (error) {
        end_conn(p, c, -error);
        continue;
      }
      c->state = SHAKING;
      flush_out(p, c);
      continue;
    }
    if (events[i].events & EPOLLOUT) flush_out(p, c);
    if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) read_some(p, c);
  }
  if (p->looked_s - p->acked_s < 0.01) return;
  p->acked_s = p->looked_s;
  for (int i = 0; i < p->conns_count; i++) {
    struct conn *c = &p->conns[i];
    if (c->state != OPEN || !c->ack_last) continue;
    answer(p, c);
    if (!c->wants_out) flush_out(p, c);
  }
}

struct pool *pool_new(int conns) {
  struct pool *p = calloc(1, sizeof *p);
  p->epoll = epoll_create1(EPOLL_CLOEXEC);
  p->conns = calloc(conns, sizeof *p->conns);
  p->conns_count = conns;
  p->scratch = malloc(SCRATCH);
  for (int i = 0; i < conns; i++) p->conns[i].fd = -1, p->conns[i].state = CLOSED;
  p->looked_s = now_s();
  return p;
}

static void forget(struct conn *c) {
  free(c->in.bytes), free(c->out.bytes), free(c->part.bytes), free(c->pieces.bytes);
  free(c->opening.bytes);
}

void pool_free(struct pool *p) {
  for (int i = 0; i < p->conns_count; i++) {
    struct conn *c = &p->conns[i];
    if (c->fd >= 0) close(c->fd);
    forget(c);
  }
  close(p->epoll);
  free(p->conns), free(p->scratch), free(p);
}

/* Begins to connect to a port of this machine; what came on an earlier connection is forgotten,
 * but for the ticket. Returns 0, or an errno. */
int pool_open(struct pool *p, int index, int port, int dialect, const char *request,
              const uint8_t *opening, size_t size, uint64_t ready_updates) {
  struct conn *c = &p->conns[index];
  uint8_t ticket[16];
  memcpy(ticket, c->ticket, 16);
  forget(c);
  memset(c, 0, sizeof *c);
  memcpy(c->ticket, ticket, 16);
  c->dialect = dialect;
  c->dump_fd = -1;
  c->ready_updates = ready_updates;
  put(&c->opening, opening, size);
  put(&c->out, request, strlen(request));
  c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (c->fd < 0) return c->state = CLOSED, errno;
  p->open++;
  int one = 1;
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  c->began_s = now_s();
  c->state = CONNECTING;
  struct epoll_event e = {.events = EPOLLIN | EPOLLOUT, .data.u32 = index};
  epoll_ctl(p->epoll, EPOLL_CTL_ADD, c->fd, &e);
  c->wants_out = 1;
  if (connect(c->fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS) {
    int error = errno;
    end_conn(p, c, -error);
    return error;
  }
  return 0;
}

/* Says something on a connection, framed already. */
void pool_say(struct pool *p, int index, const uint8_t *bytes, size_t size) {
  struct conn *c = &p->conns[index];
  put(&c->out, bytes, size);
  flush_out(p, c);
}

/* Orderly: a close frame, then the end of the connection. */
void pool_close(struct pool *p, int index) {
  struct conn *c = &p->conns[index];
  if (c->state == CLOSED) return;
  uint8_t code[2] = {1000 >> 8, 1000 & 255};
  if (c->state == OPEN) {
    say_frame(c, 8, code, 2);
    flush_out(p, c);
  }
  end_conn(p, c, 1000);
}

/* Turns until so many connections are ready, or the time is over, or too few are left. */
int pool_until_ready(struct pool *p, int ready, double seconds) {
  double end = now_s() + seconds;
  while (p->ready < ready && p->open >= ready && now_s() < end) turn(p, 20);
  return p->ready;
}

/* Says a heartbeat on a link that has said nothing for a while. */
static void stay(struct pool *p, struct conn *c) {
  static const uint8_t heartbeat[3] = {1, 0x91, 7};
  if (c->state != OPEN || c->dialect != NATIVE || p->looked_s - c->said_s < 8) return;
  say_frame(c, 2, heartbeat, sizeof heartbeat);
  c->said_s = p->looked_s;
  flush_out(p, c);
}

/* Keeps links alive for a while: answers pings, says heartbeats. */
void pool_idle(struct pool *p, double seconds) {
  double end = now_s() + seconds;
  for (;;) {
    double left = end - now_s();
    if (left <= 0) return;
    turn(p, left > 0.1 ? 100 : (int)(left * 1000) + 1);
    for (int i = 0; i < p->conns_count; i++) stay(p, &p->conns[i]);
  }
}

/* Pings one connection again and again; the longest time that an answer took, in seconds, or -1 if
 * the connection ended. */
double pool_probe(struct pool *p, int index, double interval_s, volatile int *stop) {
  struct conn *c = &p->conns[index];
  double beat_s = now_s();
  p->worst_pong_s = 0;
  while (!*stop) {
    uint64_t before = c->pongs;
    p->pinged_s = now_s();
    say_frame(c, 9, (const uint8_t *)"stall", 5);
    if (p->pinged_s - beat_s > 5 && c->dialect == NATIVE) {
      say_frame(c, 2, (const uint8_t *)"\x01\x91\x07", 3);
      beat_s = p->pinged_s;
    }
    flush_out(p, c);
    while (c->pongs == before && c->state == OPEN) turn(p, 10);
    if (c->state != OPEN) return -1;
    struct timespec t = {0, (long)(interval_s * 1e9)};
    nanosleep(&t, NULL);
  }
  return p->worst_pong_s;
}
