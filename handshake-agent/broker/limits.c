// SPDX-License-Identifier: BSD-2-Clause
/*
 * What a VM and each of its services take of what host.conf lets them have: opens a second, places
 * for connects under way, open channels, and the memory of links in these.
 *
 * Whoever connects pays. If its peer did, one client could use up what a server may have, and so
 * shut out that server's other clients; what a server takes by accepting is bounded by the links
 * to it, of which each client's VM has its own.
 */
#include "internal.h"

#define NS_PER_S 1000000000ull

/* NULL: the VM does not hold it, so nothing of it is counted. */
static struct taken *taken_by(struct vm *vm, const char *service)
{
	int index = policy_find_service(vm->broker->config.policy, vm->index, service);

	return index >= 0 ? &vm->services[index] : NULL;
}

static uint32_t half(uint32_t n)
{
	return n > 1 ? n / 2 : 1;
}

/* Of what is not said: a burst is two seconds' opens. */
static void set_rate(struct taken *taken, const struct policy_limits *said, uint32_t per_second,
		     uint32_t burst)
{
	if (said->opens_per_second) {
		per_second = said->opens_per_second;
		burst = 2 * per_second;
	}
	bucket_set(&taken->opens, said->opens_burst ?: burst, NS_PER_S / per_second);
}

/* One service that opens as fast as it can leaves its VM's others half of the tokens. */
static void set_rates(struct vm *vm)
{
	const struct broker_limits *all = &vm->broker->config.limits;
	const struct policy_vm *policy = vm->policy;
	uint32_t per_second = policy->limits.opens_per_second ?: all->opens_per_second;

	set_rate(&vm->taken, &policy->limits, all->opens_per_second, all->opens_burst);
	for (unsigned int i = 0; i < policy->n_services; i++)
		set_rate(&vm->services[i], &policy->services[i].limits, half(per_second),
			 half(vm->taken.opens.burst));
}

static void forget_channels(struct taken *taken)
{
	taken->channels = 0;
	taken->memory = 0;
}

void limits_apply(struct broker *broker)
{
	struct list *pos;

	for (unsigned int i = 0; i < broker->config.policy->n_vms; i++) {
		struct vm *vm = &broker->vms[i];

		set_rates(vm);
		forget_channels(&vm->taken);
		for (unsigned int j = 0; j < POLICY_SERVICES_MAX; j++)
			forget_channels(&vm->services[j]);
	}
	for (unsigned int i = 0; i < broker->n_links; i++) {
		list_for_each(pos, &broker->links[i].channels)
			limits_charge(container_of(pos, struct channel, node));
	}
}

const char *limits_take_open(struct vm *vm, const char *service)
{
	uint64_t now_ns = broker_now(vm->broker);
	struct taken *taken = taken_by(vm, service);

	if (taken && !bucket_take(&taken->opens, now_ns))
		return "its service opens more connects a second than it may";
	if (!bucket_take(&vm->taken.opens, now_ns))
		return "its VM opens more connects a second than it may";
	return NULL;
}

static bool fits(const struct taken *taken, const struct policy_limits *limits, uint64_t length)
{
	return (!limits->channels || taken->channels < limits->channels) &&
	       (!limits->memory || (taken->memory <= limits->memory &&
				    length <= limits->memory - taken->memory));
}

const char *limits_exceeded(struct vm *vm, const char *service, uint64_t length)
{
	int index = policy_find_service(vm->broker->config.policy, vm->index, service);

	if (index >= 0 &&
	    !fits(&vm->services[index], &vm->policy->services[index].limits, length))
		return "its service has as many channels, or as much memory in them, as it may";
	if (!fits(&vm->taken, &vm->policy->limits, length))
		return "its VM has as many channels, or as much memory in them, as it may";
	return NULL;
}

/* Places of a VM that half-open connects on that link of its take. */
static unsigned int places(const struct link *link)
{
	return link->n_half_open * (link_is_local(link) ? 2 : 1);
}

/*
 * No place for @more sides of a session on @link? Half of a VM's places are kept for its links in
 * equal shares: whoever lets connects hang, on however many links, leaves each other link what it
 * has not used of its share. (A limit that is too small to be shared is not.)
 */
bool limits_full(const struct vm *vm, const struct link *link, unsigned int more)
{
	const struct broker *broker = vm->broker;
	unsigned int cap = broker->config.limits.sessions_per_vm, n = 0, kept = 0, share;

	for (unsigned int i = 0; i < broker->n_links; i++)
		n += broker->links[i].end[0].vm == vm || broker->links[i].end[1].vm == vm;
	share = cap / 2 / n;
	for (unsigned int i = 0; i < broker->n_links; i++) {
		const struct link *other = &broker->links[i];

		if (other != link && (other->end[0].vm == vm || other->end[1].vm == vm) &&
		    places(other) < share)
			kept += share - places(other);
	}
	if (places(link) + more <= share)
		kept = 0;
	return vm->n_sides + more + kept > cap;
}

static struct vm *client_of(const struct channel *channel)
{
	return channel->link->end[channel->client_end].vm;
}

static struct taken *service_of(const struct channel *channel)
{
	return taken_by(client_of(channel), channel->service[channel->client_end]);
}

static void add(struct taken *taken, const struct channel *channel)
{
	taken->channels++;
	taken->memory += channel->extent.length;
}

static void subtract(struct taken *taken, const struct channel *channel)
{
	taken->channels--;
	taken->memory -= channel->extent.length;
}

void limits_charge(const struct channel *channel)
{
	struct taken *service = service_of(channel);

	add(&client_of(channel)->taken, channel);
	if (service)
		add(service, channel);
}

void limits_release(const struct channel *channel)
{
	struct taken *service = service_of(channel);

	subtract(&client_of(channel)->taken, channel);
	if (service)
		subtract(service, channel);
}
