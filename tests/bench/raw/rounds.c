/* Senders with bounded windows, and the readers that get what they say. */
#include <string.h>

#include "raw.h"

void delivered(struct conn *c, uint64_t updates, double at_s) {
  c->updates += updates;
  struct group *g = c->group;
  if (!g) return;
  while (c->follow < g->count && c->updates - c->base >= g->upto[c->follow]) {
    uint64_t message = c->follow++;
    if (g->took < g->took_max) g->took_s[g->took++] = (float)(at_s - g->begun_s[message]);
    if (--g->left[message] == 0) {
      g->done_s[message] = at_s;
      g->done++;
    }
  }
}

void acknowledged(struct conn *c, uint64_t first, uint64_t last, double at_s) {
  struct sender *s = c->sender;
  if (!s) return;
  for (uint64_t serial = first; serial <= last && serial <= s->count && serial > 0; serial++) {
    if (s->acked_s[serial - 1] == 0) s->acked++;
    s->acked_s[serial - 1] = at_s;
  }
}

static int may_send(const struct sender *s, double since_s) {
  if (s->next == s->count) return 0;
  if (s->due_s && s->due_s[s->next] > since_s) return 0;
  if (s->unacked_max && s->next - s->acked >= s->unacked_max) return 0;
  const struct group *g = s->group;
  if (!g || !s->undelivered_max) return 1;
  uint64_t everywhere = g->done ? g->upto[g->done - 1] : 0;
  return s->upto[s->next] <= everywhere + s->undelivered_max || g->done == s->next;
}

static int has_ended(const struct sender *s, int is_over) {
  if (s->next < s->count && !is_over) return 0;
  if (s->unacked_max && s->acked < s->next) return 0;
  return !s->group || s->group->done >= s->next;
}

/* Sends until all is sent or `sending_s` are over, then waits until all is acknowledged and
 * delivered. Returns 0, 1 when that took longer than `most_s`, 2 when a sender was cut off. */
int pool_run(struct pool *p, struct sender **senders, int count, double sending_s, double most_s,
             double *began_s) {
  double start = now_s();
  *began_s = start;
  for (int i = 0; i < count; i++) p->conns[senders[i]->conn].sender = senders[i];
  for (;;) {
    double at = now_s(), since = at - start;
    int is_over = since >= sending_s, left = 0;
    double next_s = since + 0.02;
    for (int i = 0; i < count; i++) {
      struct sender *s = senders[i];
      struct conn *c = &p->conns[s->conn];
      if (c->state == CLOSED) return 2;
      int said = 0;
      while (!is_over && may_send(s, since)) {
        uint64_t from = s->next ? s->ends[s->next - 1] : 0;
        put(&c->out, s->bytes + from, s->ends[s->next] - from);
        s->sent_s[s->next] = at;
        if (s->group) s->group->begun_s[s->next] = s->due_s ? start + s->due_s[s->next] : at;
        s->next++;
        said = 1;
      }
      if (said && !c->wants_out) flush_out(p, c);
      left |= !has_ended(s, is_over);
      if (s->due_s && s->next < s->count && s->due_s[s->next] < next_s) next_s = s->due_s[s->next];
    }
    if (!left) return 0;
    if (since > most_s) return 1;
    double wait = next_s - (now_s() - start);
    turn(p, wait <= 0 ? 0 : (int)(wait * 1000) + 1);
  }
}

/* From here on a connection is one of the readers of `group`. */
void pool_follow(struct pool *p, int index, struct group *group) {
  struct conn *c = &p->conns[index];
  c->group = group;
  c->base = c->updates;
  c->hash = 0;
  c->merged = 0;
  c->follow = 0;
}
