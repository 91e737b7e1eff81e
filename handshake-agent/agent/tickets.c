// SPDX-License-Identifier: BSD-2-Clause
/* Tickets: kept by the certificate, role and peer that they are good for, and given out once. */
#include "tickets.h"

#include <stdlib.h>
#include <string.h>

struct tickets {
	struct list list[TICKET_ROLES]; /* oldest first */
	unsigned int nr[TICKET_ROLES];
};

static int store_index = -1; /* of SSL_CTX's ex_data */

bool tls_peer_equal(const struct tls_peer *a, const struct tls_peer *b)
{
	return !strcmp(a->id, b->id) && a->ivposition == b->ivposition &&
	       a->peer_ivposition == b->peer_ivposition && a->end == b->end &&
	       a->epoch == b->epoch;
}

struct ticket *ticket_new(SSL_SESSION *session)
{
	struct ticket *t = calloc(1, sizeof(*t));

	if (!t) {
		SSL_SESSION_free(session);
		return NULL;
	}
	t->session = session;
	return t;
}

void ticket_free(struct ticket *t)
{
	if (!t)
		return;
	SSL_SESSION_free(t->session);
	free(t);
}

static void take_out(struct tickets *s, unsigned int role, struct ticket *t)
{
	list_del(&t->node);
	s->nr[role]--;
}

static void store_free(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int idx, long argl, void *argp)
{
	struct tickets *s = ptr;

	(void)parent;
	(void)ad;
	(void)idx;
	(void)argl;
	(void)argp;
	if (!s)
		return;
	for (unsigned int role = 0; role < TICKET_ROLES; role++) {
		while (!list_empty(&s->list[role])) {
			struct ticket *t = container_of(s->list[role].next, struct ticket, node);

			take_out(s, role, t);
			ticket_free(t);
		}
	}
	free(s);
}

bool tickets_init(SSL_CTX *context)
{
	struct tickets *s;

	if (store_index < 0)
		store_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, store_free);
	if (store_index < 0)
		return false;
	s = calloc(1, sizeof(*s));
	if (!s)
		return false;
	for (unsigned int role = 0; role < TICKET_ROLES; role++)
		list_init(&s->list[role]);
	if (!SSL_CTX_set_ex_data(context, store_index, s)) {
		free(s);
		return false;
	}
	return true;
}

static struct tickets *store_of(SSL_CTX *context)
{
	return store_index < 0 ? NULL : SSL_CTX_get_ex_data(context, store_index);
}

void tickets_add(SSL_CTX *context, unsigned int role, struct ticket *ticket)
{
	struct tickets *s = store_of(context);
	struct ticket *oldest = NULL;
	unsigned int of_peer = 0;
	struct list *pos;

	if (!s) {
		ticket_free(ticket);
		return;
	}
	list_for_each(pos, &s->list[role]) {
		struct ticket *t = container_of(pos, struct ticket, node);

		if (!tls_peer_equal(&t->peer, &ticket->peer))
			continue;
		if (!of_peer++)
			oldest = t;
	}
	if (of_peer < TICKETS_PER_PEER)
		oldest = s->nr[role] < TICKETS_PER_SERVICE ? NULL :
			 container_of(s->list[role].next, struct ticket, node);
	if (oldest) {
		take_out(s, role, oldest);
		ticket_free(oldest);
	}
	list_add_tail(&s->list[role], &ticket->node);
	s->nr[role]++;
}

static bool has_id(const struct ticket *t, const uint8_t *id, size_t len)
{
	unsigned int own_len;
	const uint8_t *own = SSL_SESSION_get_id(t->session, &own_len);

	return own_len == len && !memcmp(own, id, len);
}

/* The newest one for @peer, of that id if there is one; those whose time is over go. */
static struct ticket *take(SSL_CTX *context, unsigned int role, const uint8_t *id, size_t len,
			   const struct tls_peer *peer, int64_t now)
{
	struct tickets *s = store_of(context);
	struct ticket *found = NULL;
	struct list *pos, *tmp;

	if (!s)
		return NULL;
	list_for_each_safe(pos, tmp, &s->list[role]) {
		struct ticket *t = container_of(pos, struct ticket, node);

		if (t->until < now) {
			take_out(s, role, t);
			ticket_free(t);
		} else if (tls_peer_equal(&t->peer, peer) && (!id || has_id(t, id, len))) {
			found = t;
		}
	}
	if (found)
		take_out(s, role, found);
	return found;
}

struct ticket *tickets_take_newest(SSL_CTX *context, const struct tls_peer *peer, int64_t now)
{
	return take(context, TICKET_CLIENT, NULL, 0, peer, now);
}

struct ticket *tickets_take_id(SSL_CTX *context, const uint8_t *id, size_t len,
			       const struct tls_peer *peer, int64_t now)
{
	return take(context, TICKET_SERVER, id, len, peer, now);
}

unsigned int tickets_forget(SSL_CTX *context, const char *peer_id)
{
	struct tickets *s = store_of(context);
	unsigned int forgotten = 0;
	struct list *pos, *tmp;

	for (unsigned int role = 0; s && role < TICKET_ROLES; role++) {
		list_for_each_safe(pos, tmp, &s->list[role]) {
			struct ticket *t = container_of(pos, struct ticket, node);

			if (peer_id && strcmp(t->peer.id, peer_id))
				continue;
			take_out(s, role, t);
			ticket_free(t);
			forgotten++;
		}
	}
	return forgotten;
}

unsigned int tickets_count(SSL_CTX *context, unsigned int role)
{
	struct tickets *s = store_of(context);

	return s ? s->nr[role] : 0;
}
