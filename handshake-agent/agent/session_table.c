// SPDX-License-Identifier: BSD-2-Clause
/* The agent's sessions, hashed by the id that the host knows them by. */
#include <stdlib.h>
#include <sys/random.h>

#include "common/log.h"
#include "session.h"

void agent_session_init(struct agent *a)
{
	/* before any session is there, and without it the tables are only slower */
	if (getrandom(&a->id_key, sizeof(a->id_key), 0) != sizeof(a->id_key))
		log_warning("getrandom: failed");
	for (unsigned int i = 0; i < ID_HASH_BUCKETS; i++) {
		list_init(&a->sessions[i]);
		list_init(&a->by_serial[i]);
	}
}

static unsigned int bucket(const struct agent *a, uint64_t id)
{
	return id_hash(id, a->id_key);
}

struct agent_session *agent_session_new(struct agent *a, bool server, uint64_t id)
{
	struct agent_session *s;

	if (a->nr_sessions == AGENT_SESSIONS_MAX || (server && a->nr_incoming == AGENT_INCOMING_MAX))
		return NULL;
	s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->agent = a;
	s->id = id;
	s->serial = ++a->last_serial;
	s->server = server;
	s->state = SESSION_WAIT_CERT;
	list_add_tail(&a->sessions[bucket(a, id)], &s->node);
	list_add_tail(&a->by_serial[bucket(a, s->serial)], &s->by_serial);
	a->nr_sessions++;
	a->nr_incoming += server;
	return s;
}

void agent_session_free(struct agent_session *s)
{
	struct agent *a = s->agent;

	a->nr_sessions--;
	a->nr_incoming -= s->server;
	loop_timer_cancel(&s->timer);
	tls_end(&s->tls);
	list_del(&s->node);
	list_del(&s->by_serial);
	free(s);
	agent_enrol_tell_renewed(a); /* it may have been the last that kept us from it */
}

struct agent_session *agent_session_by_id(struct agent *a, uint64_t id)
{
	struct list *pos;

	list_for_each(pos, &a->sessions[bucket(a, id)]) {
		struct agent_session *s = container_of(pos, struct agent_session, node);

		if (s->id == id && !s->orphan)
			return s;
	}
	return NULL;
}

struct agent_session *agent_session_next(struct agent *a, const struct agent_session *after)
{
	unsigned int b = after ? bucket(a, after->id) : 0;
	struct list *pos = after ? after->node.next : a->sessions[0].next;

	while (pos == &a->sessions[b]) {
		if (++b == ID_HASH_BUCKETS)
			return NULL;
		pos = a->sessions[b].next;
	}
	return container_of(pos, struct agent_session, node);
}

struct agent_session *agent_session_by_serial(struct agent *a, uint64_t serial)
{
	struct list *pos;

	list_for_each(pos, &a->by_serial[bucket(a, serial)]) {
		struct agent_session *s = container_of(pos, struct agent_session, by_serial);

		if (s->serial == serial)
			return s;
	}
	return NULL;
}

struct agent_session *agent_session_by_request(struct agent *a, uint64_t request)
{
	struct agent_session *s = NULL;

	while ((s = agent_session_next(a, s)))
		if (!s->server && s->request == request)
			return s;
	return NULL;
}
