// SPDX-License-Identifier: BSD-2-Clause
/*
 * Messages to the module: right ones, spoilt ones, and any at all.
 */
#include <errno.h>
#include <string.h>

#include "nlfuzz.h"

struct known known;

uint64_t next(struct rng *r)
{
	uint64_t z = (r->state += 0x9e3779b97f4a7c15ull);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

uint32_t below(struct rng *r, uint32_t n)
{
	return next(r) % n;
}
bool one_in(struct rng *r, uint32_t n)
{
	return !below(r, n);
}

void msg_begin(struct msg *m, struct rng *r, uint16_t type, uint8_t cmd, uint16_t flags)
{
	static _Atomic uint32_t seq;
	struct nlmsghdr *nlh = (void *)m->bytes;
	struct genlmsghdr *genl = (void *)(nlh + 1);

	m->r = r;
	m->dirt = 0;
	*nlh = (struct nlmsghdr){ .nlmsg_type = type,
				  .nlmsg_flags = NLM_F_REQUEST | flags,
				  .nlmsg_seq = ++seq };
	*genl = (struct genlmsghdr){ .cmd = cmd, .version = SIV_ABI_VERSION };
	m->len = NLMSG_HDRLEN + GENL_HDRLEN;
}

static struct nlattr *msg_raw(struct msg *m, uint16_t type, const void *data, uint32_t len)
{
	struct nlattr *a = (void *)(m->bytes + m->len);

	if (m->len + NLA_ALIGN(NLA_HDRLEN + len) > MSG_MAX_BYTES)
		return NULL;
	a->nla_type = type;
	a->nla_len = NLA_HDRLEN + len;
	memset(a + 1, 0, NLA_ALIGN(len));
	if (data)
		memcpy(a + 1, data, len);
	m->len += NLA_ALIGN(NLA_HDRLEN + len);
	return a;
}

static void msg_noise(struct msg *m, uint16_t type, uint32_t len)
{
	struct nlattr *a = msg_raw(m, type, NULL, len);

	for (uint32_t i = 0; a && i < len; i++)
		((uint8_t *)(a + 1))[i] = next(m->r);
}

uint64_t extreme(struct rng *r)
{
	static const uint64_t values[] = {
		0,
		1,
		2,
		3,
		11,
		12,
		13,
		14,
		26,
		27,
		63,
		64,
		255,
		SIV_LINK_SLOTS - 1,
		SIV_LINK_SLOTS,
		SIV_LINK_CHANNELS - 1,
		SIV_LINK_CHANNELS,
		UINT16_MAX,
		UINT16_MAX + 1,
		INT32_MAX,
		INT32_MAX + 1ull,
		UINT32_MAX,
		UINT32_MAX + 1ull,
		SIV_LINK_SIZE_MIN,
		SIV_LINK_SIZE_MAX,
		INT64_MAX,
		INT64_MAX + 1ull,
		UINT64_MAX,
		UINT64_MAX - SIV_PAGE_SIZE + 1,
	};
	uint64_t v = PICK(r, values);

	return one_in(r, 4) ? v + below(r, 5) - 2 : one_in(r, 8) ? next(r) : v;
}

/* An attribute as it should be, or spoilt. */
static void msg_put(struct msg *m, uint16_t type, const void *data, uint32_t len)
{
	uint64_t v;
	struct nlattr *a;

	if (!m->dirt || !one_in(m->r, m->dirt)) {
		msg_raw(m, type, data, len);
		return;
	}
	switch (below(m->r, 12)) {
	case 0: /* missing */
		return;
	case 1: /* doubled, and not the same */
		msg_raw(m, type, data, len);
		msg_noise(m, type, len);
		return;
	case 2: /* too short, as short as nothing */
		msg_raw(m, type, data, len ? below(m->r, len) : 0);
		return;
	case 3: /* too long */
		msg_noise(m, type,
			  len + 1 + below(m->r, one_in(m->r, 16) ? UINT16_MAX - 512 : 300));
		return;
	case 4: /* noise of the right length; of strings: no NUL, and all sorts of bytes */
		msg_noise(m, type, len);
		return;
	case 5:
	case 6:
	case 7: /* the right length, and an uncommon number */
		v = extreme(m->r);
		if (len <= sizeof(v))
			msg_raw(m, type, &v, len);
		else
			msg_noise(m, type, len);
		return;
	case 8: /* another attribute, or flags that do not belong there */
		msg_raw(m, one_in(m->r, 2) ? type | 0x8000 : next(m->r), data, len);
		return;
	case 9: /* byte order flag, and a neighbour's number */
		msg_raw(m, (type ^ below(m->r, 4)) | (one_in(m->r, 2) ? 0x4000 : 0), data, len);
		return;
	case 10: /* says that it is longer than what follows, or shorter than itself */
		a = msg_raw(m, type, data, len);
		if (a)
			a->nla_len = one_in(m->r, 2) ? below(m->r, NLA_HDRLEN) :
						       a->nla_len + 1 + below(m->r, UINT16_MAX);
		return;
	default: /* bytes that are not zero after the NUL, or after the value */
		a = msg_raw(m, type, data, len);
		if (a && len)
			((uint8_t *)(a + 1))[below(m->r, len)] ^= 1 << below(m->r, 8);
	}
}

static void msg_u32(struct msg *m, uint16_t type, uint32_t v)
{
	msg_put(m, type, &v, sizeof(v));
}
static void msg_u64(struct msg *m, uint16_t type, uint64_t v)
{
	msg_put(m, type, &v, sizeof(v));
}
void msg_str(struct msg *m, uint16_t type, const char *s)
{
	msg_put(m, type, s, strlen(s) + 1);
}

/* Attributes from @from on become the content of one. */
static void msg_nest(struct msg *m, uint16_t type, uint32_t from)
{
	uint8_t copy[MSG_MAX_BYTES / 4];
	uint32_t len = m->len - from;

	if (len > sizeof(copy))
		return;
	memcpy(copy, m->bytes + from, len);
	m->len = from;
	msg_put(m, type | (m->dirt && one_in(m->r, 8) ? 0 : NLA_F_NESTED), copy, len);
}

const char *service_name(uint32_t n)
{
	static const char *const names[SERVICES] = { "fuzz-a", "fuzz-b", "fuzz-c", "fuzz-d" };

	return names[n % SERVICES];
}

void put_register(struct msg *m)
{
	msg_u32(m, SIV_A_ABI, SIV_ABI_VERSION);
	msg_str(m, SIV_A_VM, "lab");
}

void put_answer(struct msg *m, uint64_t id, uint32_t error, uint32_t service)
{
	msg_u64(m, SIV_A_ID, id);
	msg_u32(m, SIV_A_ERROR, error);
	msg_str(m, SIV_A_SERVICE, service_name(service));
}

void put_listener(struct msg *m, uint32_t service, uint32_t type)
{
	msg_str(m, SIV_A_SERVICE, service_name(service));
	msg_u32(m, SIV_A_TYPE, type);
}

void put_grant(struct msg *m, const struct job *job, uint32_t slot, uint64_t generation,
	       bool server)
{
	struct siv_peer peer = { .addr.ssiv_family = AF_SIVSHMEM, .not_after = 4102444800 };
	uint8_t secrets[2 * SIV_SEAL_SECRET];
	uint32_t from = m->len;

	msg_u32(m, SIV_CHAN_A_LINK_ID, known.link_id[server]);
	msg_u32(m, SIV_CHAN_A_EPOCH, known.epoch[server]);
	msg_u32(m, SIV_CHAN_A_SLOT, slot);
	msg_u64(m, SIV_CHAN_A_GENERATION, generation);
	msg_u64(m, SIV_CHAN_A_OFFSET, SIV_LINK_CHANNELS + slot * EXTENT);
	msg_u32(m, SIV_CHAN_A_C2S_ORDER, 12 + slot % 3);
	msg_u32(m, SIV_CHAN_A_S2C_ORDER, 12 + slot / 3 % 3);
	msg_u32(m, SIV_CHAN_A_SERVER, server);
	msg_u32(m, SIV_CHAN_A_TYPE, job->type);
	msg_nest(m, SIV_A_CHAN, from);
	strcpy(peer.addr.ssiv_vm, "lab");
	strcpy(peer.addr.ssiv_service, service_name(job->service));
	strcpy(peer.spiffe_id, "spiffe://lab/vm/lab/service/fuzz");
	msg_put(m, SIV_A_PEER, &peer, sizeof(peer));
	msg_str(m, SIV_A_SERVICE, service_name(job->service));
	/* by the generation: both ends are sealed, or none, and with the same secrets */
	if (generation % 4 == 0) {
		memset(secrets, (int)generation, sizeof(secrets));
		msg_put(m, SIV_A_SEAL, secrets, sizeof(secrets));
	}
	if (server)
		msg_u64(m, SIV_A_COOKIE, known.cookie[job->service]);
	else
		msg_u64(m, SIV_A_ID, job->id);
}

void put_link_set(struct msg *m, uint32_t end, uint32_t epoch, uint64_t size)
{
	uint32_t from = m->len;

	msg_u32(m, SIV_LINK_A_ID, known.link_id[end]);
	msg_u64(m, SIV_LINK_A_SIZE, size);
	msg_u32(m, SIV_LINK_A_END, end);
	msg_u32(m, SIV_LINK_A_EPOCH, epoch);
	msg_str(m, SIV_LINK_A_PEER_VM, "lab");
	msg_u32(m, SIV_LINK_A_PEER_IVPOSITION, 1);
	msg_u32(m, SIV_LINK_A_TIMEOUT_MS, 1000);
	msg_nest(m, SIV_A_LINK, from);
}

void put_link_down(struct msg *m, uint32_t end, uint32_t epoch)
{
	msg_u32(m, SIV_A_LINK_ID, known.link_id[end]);
	msg_u32(m, SIV_A_EPOCH, epoch);
}

void put_reset(struct msg *m, uint32_t slot, uint64_t generation, bool server)
{
	msg_u32(m, SIV_A_LINK_ID, known.link_id[server]);
	msg_u32(m, SIV_A_EPOCH, known.epoch[server]);
	msg_u32(m, SIV_A_SLOT, slot);
	msg_u64(m, SIV_A_GENERATION, generation);
}

uint16_t dump_flag(uint8_t cmd)
{
	return cmd == SIV_CMD_PULL || cmd == SIV_CMD_LINK_GET || cmd == SIV_CMD_CHAN_GET ?
		       NLM_F_DUMP :
		       0;
}

const char *const command_names[SIV_CMD_MAX + 1] = {
	[SIV_CMD_REGISTER] = "REGISTER",   [SIV_CMD_PULL] = "PULL",
	[SIV_CMD_ANSWER] = "ANSWER",	   [SIV_CMD_LISTENER] = "LISTENER",
	[SIV_CMD_GRANT] = "GRANT",	   [SIV_CMD_LINK_SET] = "LINK_SET",
	[SIV_CMD_LINK_DOWN] = "LINK_DOWN", [SIV_CMD_RESET] = "RESET",
	[SIV_CMD_LINK_GET] = "LINK_GET",   [SIV_CMD_CHAN_GET] = "CHAN_GET",
};

const uint8_t commands[10] = {
	SIV_CMD_REGISTER, SIV_CMD_PULL,	     SIV_CMD_ANSWER, SIV_CMD_LISTENER, SIV_CMD_GRANT,
	SIV_CMD_LINK_SET, SIV_CMD_LINK_DOWN, SIV_CMD_RESET,  SIV_CMD_LINK_GET, SIV_CMD_CHAN_GET,
};

void msg_command(struct msg *m, struct rng *r, uint8_t cmd, unsigned int dirt)
{
	struct job job = { .id = below(r, 4) + 1,
			   .type = below(r, 8) ? SOCK_STREAM : SOCK_SEQPACKET,
			   .service = below(r, SERVICES) };
	uint64_t generation = known.generation - below(r, 8);
	bool server = one_in(r, 2);

	msg_begin(m, r, family, cmd, NLM_F_ACK | dump_flag(cmd));
	m->dirt = dirt;
	switch (cmd) {
	case SIV_CMD_REGISTER:
		put_register(m);
		break;
	case SIV_CMD_ANSWER:
		put_answer(m, job.id, one_in(r, 2) ? 0 : EACCES, job.service);
		break;
	case SIV_CMD_LISTENER:
		put_listener(m, job.service, job.type);
		break;
	case SIV_CMD_GRANT:
		put_grant(m, &job, below(r, SLOTS), generation, server);
		break;
	case SIV_CMD_LINK_SET:
		put_link_set(m, server, known.epoch[server] + below(r, 2), link_size);
		break;
	case SIV_CMD_LINK_DOWN:
		put_link_down(m, server, known.epoch[server]);
		break;
	case SIV_CMD_RESET:
		put_reset(m, generation % SLOTS, generation, server);
		break;
	}
}

void msg_any(struct msg *m, struct rng *r)
{
	static const uint16_t flags[] = { 0,
					  NLM_F_ACK,
					  NLM_F_ROOT,
					  NLM_F_MATCH,
					  NLM_F_DUMP,
					  NLM_F_ECHO,
					  NLM_F_ATOMIC | NLM_F_DUMP,
					  0xffff };
	struct nlmsghdr *nlh = (void *)m->bytes;
	struct genlmsghdr *genl = (void *)(nlh + 1);
	uint32_t n;

	msg_command(m, r, one_in(r, 16) ? next(r) : PICK(r, commands), 1 + below(r, 12));
	if (one_in(r, 8))
		nlh->nlmsg_flags = NLM_F_REQUEST | PICK(r, flags);
	if (one_in(r, 32))
		genl->version = next(r);
	if (one_in(r, 32))
		genl->reserved = next(r);
	if (one_in(r, 8)) /* nested in itself, again and again */
		for (n = below(r, 12); n; n--)
			msg_nest(m, one_in(r, 2) ? SIV_A_CHAN : SIV_A_LINK,
				 NLMSG_HDRLEN + GENL_HDRLEN);
	if (one_in(r, 8)) /* what follows the last attribute is none */
		for (n = below(r, 16); n; n--)
			m->bytes[m->len++] = next(r);
	if (one_in(r, 8)) /* cut off */
		m->len -= below(r, m->len - NLMSG_HDRLEN + 1);
	for (n = one_in(r, 8) ? 1 + below(r, 8) : 0; n && m->len > NLMSG_HDRLEN; n--)
		m->bytes[NLMSG_HDRLEN + below(r, m->len - NLMSG_HDRLEN)] = next(r);
}
