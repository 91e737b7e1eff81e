// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sealing: what goes through a channel's memory is encrypted and authenticated.
 *
 * Against whom. Third parties that read or write a link's memory: a dump, a backup of the host's RAM,
 * a device that was passed through. Not against the two kernels, which have the keys and the plain
 * text, nor against a host that reads a guest's own memory. Who talks, when and how much stays visible:
 * lengths, flags, positions and states are plain; so a third party that writes can reset a channel, or
 * hold it up, at any time. What it cannot do is pass that off as something else: see "The end".
 *
 * Records. A sealed ring, of streams too, is one of records as SOCK_SEQPACKET has them (struct
 * siv_record), each sealed with AES-256-GCM for itself: the header's len counts the ciphertext and its
 * tag, and the header as it lies in memory is the associated data. What is opened is a private copy of
 * all three, header first: its length is read once and bounded before anything is copied, and the
 * memory may change meanwhile as it likes. A record that does not open is a violation: it resets the
 * channel, and nothing of it is delivered. So does one that was left out, repeated, or moved, because
 * the nonce is its number, which both sides count and nobody writes down.
 *
 * The end. SHUT_WR is a plain word, and so is where the records end: who writes the memory could set
 * both, and what was cut would look whole. So the end is a record too: the last number, no data, and a
 * bit in its header that no other has (SIV_RECORD_END), so neither an empty record is an end nor an end an
 * empty record. It does not lie in the ring but in the control page, of which its tag is all that need be
 * stored (siv_chan_page.end): a full ring has room for it, nothing waits or is allocated, and whoever
 * counts what is unread, for close(), SO_LINGER or SIOCOUTQ, needs to know nothing of it. It is put there
 * before SHUT_WR by what ends in order: shutdown(), close(), and a process that died, as on plain
 * channels. A reader that has taken all there is and sees SHUT_WR opens it, once; that its number is the
 * next one says that all has come. If it does not open, that is a violation. Nothing follows it: no
 * record will ever be sealed with a later number.
 * What is reset, or closed with data unread, has no end (unless it was shut down before). ABORTED is
 * plain, as a third party can always reset; but without an end no recv() ever gives an end of file: it
 * is ECONNRESET, each time. poll() tells what the plain words say: POLLRDHUP is a reason to look.
 *
 * Keys. Each direction has a secret of 32 bytes, which the agents of both ends take from their own TLS
 * connection by its exporter and put into GRANT. It makes, by HMAC-SHA256 over a label, a key, an IV,
 * and the next secret. The nonce is the record's number (64 bits, from 0) exclusive-ored into the IV,
 * as TLS 1.3 has it (RFC 8446, 5.3). No key ever meets a nonce twice:
 *  - a number is used once: it is counted up under the direction's mutex with each record that was
 *    sealed, over changes of keys too; sealing that fails ends the channel;
 *  - the two directions have different secrets, and a kernel seals with one of them alone;
 *  - a channel takes its secrets once, when it is attached, and starts at 0. Another channel comes of
 *    another handshake, and its exporter's value depends on both sides' fresh random numbers and key
 *    shares, also where the session was resumed (RFC 8446, 7.5), and on the host's nonce for that
 *    connect. An agent whose GRANT failed may repeat it: nothing was sealed by a channel that was not
 *    attached. A restarted agent has no secrets: it reports what is open and grants none of it again.
 *
 * After SIV_SEAL_REKEY records (2^16) a direction changes to its next secret, and the old one is gone:
 * of records before it nothing can be read with what a kernel holds now. At 16 KiB each that is 2^26
 * blocks under one key, where AES-GCM's confidentiality is good for 2^34.5 (2^24.5 full records by RFC
 * 8446, 5.5), and costs two keys in a gigabyte. Forgeries do not add up: the first ends the channel.
 *
 * Secrets, keys and plain text are zeroed when the channel is freed; the secrets of GRANT's message
 * when it was handled (netlink.c).
 *
 * Each direction has a buffer for one record, so nothing is allocated for each message. A record that
 * was opened stays in the ring until all of it was taken: positions mean what they mean in plain ones,
 * and whoever waits for them needs to know nothing of sealing.
 */
#include <crypto/aead.h>
#include <crypto/hash.h>
#include <crypto/sha2.h>
#include <linux/module.h>
#include <linux/net.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/uio.h>
#include <sivshmem/ring.h>

#include "chan.h"

MODULE_SOFTDEP("pre: gcm");

#define SEAL_IV_LEN 12

struct seal_half {
	struct crypto_shash *hmac;
	struct crypto_aead *aead;
	struct aead_request *req;
	u8 secret[SIV_SEAL_SECRET];
	u8 iv[SEAL_IV_LEN], nonce[SEAL_IV_LEN];
	u64 number;                /* of the next record */
	bool ended;                /* the end was sealed, or opened */
	struct siv_record header;  /* as it lies in the ring */
	u8 *buf;                   /* SEAL_BUF bytes */
	struct scatterlist sg[2];  /* header, buf */
};

struct siv_seal {
	struct seal_half tx; /* under tx_lock */
	struct seal_half rx; /* under rx_lock */
	bool open;           /* rx.buf has the record at the read position, which may be an empty one */
	u32 at, left;        /* bytes of it that were taken, and that were not */
};

#define SEAL_BUF (SIV_SEAL_DATA + SIV_SEAL_TAG)

/* Of the record that is the end. */
static const struct siv_record seal_end_header = { .len = SIV_SEAL_TAG, .flags = SIV_RECORD_END };

/* HMAC-SHA256 of @label with the secret as key. */
static int seal_mac(struct seal_half *half, const char *label, u8 mac[SHA256_DIGEST_SIZE])
{
	return crypto_shash_tfm_digest(half->hmac, label, strlen(label), mac);
}

/* Key and IV of the present secret. */
static int seal_key(struct seal_half *half)
{
	u8 mac[SHA256_DIGEST_SIZE];
	int err;

	err = crypto_shash_setkey(half->hmac, half->secret, sizeof(half->secret));
	if (!err)
		err = seal_mac(half, "sivshmem seal iv", mac);
	if (!err)
		memcpy(half->iv, mac, sizeof(half->iv));
	if (!err)
		err = seal_mac(half, "sivshmem seal key", mac);
	if (!err)
		err = crypto_aead_setkey(half->aead, mac, sizeof(mac));
	memzero_explicit(mac, sizeof(mac));
	return err;
}

/* The next secret in place of the present one. */
static int seal_rekey(struct seal_half *half)
{
	u8 mac[SHA256_DIGEST_SIZE];
	int err;

	BUILD_BUG_ON(sizeof(mac) != sizeof(half->secret));
	err = seal_mac(half, "sivshmem seal next", mac);
	if (!err)
		memcpy(half->secret, mac, sizeof(half->secret));
	memzero_explicit(mac, sizeof(mac));
	return err ?: seal_key(half);
}

static int half_init(struct seal_half *half, const u8 *secret)
{
	int err;

	half->buf = kmalloc(SEAL_BUF, GFP_KERNEL_ACCOUNT);
	if (!half->buf)
		return -ENOMEM;
	half->hmac = crypto_alloc_shash("hmac(sha256)", 0, 0);
	if (IS_ERR(half->hmac))
		return PTR_ERR(half->hmac);
	half->aead = crypto_alloc_aead("gcm(aes)", 0, 0);
	if (IS_ERR(half->aead))
		return PTR_ERR(half->aead);
	half->req = aead_request_alloc(half->aead, GFP_KERNEL_ACCOUNT);
	if (!half->req)
		return -ENOMEM;
	sg_init_table(half->sg, ARRAY_SIZE(half->sg));
	sg_set_buf(&half->sg[0], &half->header, sizeof(half->header));
	sg_set_buf(&half->sg[1], half->buf, SEAL_BUF);
	memcpy(half->secret, secret, sizeof(half->secret));
	err = crypto_aead_setauthsize(half->aead, SIV_SEAL_TAG);
	return err ?: seal_key(half);
}

static void half_exit(struct seal_half *half)
{
	aead_request_free(half->req);
	if (!IS_ERR_OR_NULL(half->aead))
		crypto_free_aead(half->aead);
	if (!IS_ERR_OR_NULL(half->hmac))
		crypto_free_shash(half->hmac);
	kfree_sensitive(half->buf);
}

/*
 * Before the channel is attached: seals it with @secrets, client to server and then server to client.
 * -EOPNOTSUPP: this kernel has no gcm(aes) or hmac(sha256); -ENOMEM. siv_seal_free() in any case.
 */
int siv_seal_init(struct siv_chan *chan, const u8 secrets[2][SIV_SEAL_SECRET])
{
	int err;

	chan->seal = kzalloc(sizeof(*chan->seal), GFP_KERNEL_ACCOUNT);
	if (!chan->seal)
		return -ENOMEM;
	err = half_init(&chan->seal->tx, secrets[chan->server]);
	if (!err)
		err = half_init(&chan->seal->rx, secrets[!chan->server]);
	return err == -ENOENT ? -EOPNOTSUPP : err;
}

void siv_seal_free(struct siv_chan *chan)
{
	half_exit(&chan->seal->rx);
	half_exit(&chan->seal->tx);
	kfree_sensitive(chan->seal);
}

/* Seals or opens what is in @half's buffer, @len bytes, the tag not counted. */
static int seal_crypt(struct seal_half *half, u32 len, bool seal)
{
	DECLARE_CRYPTO_WAIT(wait);
	u64 number = half->number;
	int err, i;

	memcpy(half->nonce, half->iv, sizeof(half->nonce));
	for (i = SEAL_IV_LEN - 1; number; i--, number >>= 8)
		half->nonce[i] ^= number;
	aead_request_set_callback(half->req, CRYPTO_TFM_REQ_MAY_SLEEP, crypto_req_done, &wait);
	aead_request_set_ad(half->req, sizeof(half->header));
	aead_request_set_crypt(half->req, half->sg, half->sg, len + (seal ? 0 : SIV_SEAL_TAG),
			       half->nonce);
	err = crypto_wait_req(seal ? crypto_aead_encrypt(half->req) : crypto_aead_decrypt(half->req),
			      &wait);
	if (!err && !(++half->number % SIV_SEAL_REKEY))
		err = seal_rekey(half);
	return err;
}

/* Copies the plaintext of the next record. The bytes that came; short at the first that faults. */
size_t siv_seal_copy_in(struct siv_chan *chan, size_t len, struct iov_iter *from)
{
	size_t done;

	lockdep_assert_held(&chan->tx_lock);
	pagefault_disable();
	done = copy_from_iter(chan->seal->tx.buf, len, from);
	pagefault_enable();
	return done;
}

/*
 * Seals @len bytes that were copied in, and puts them at the transmit position, where there is room
 * for them. The ring's bytes, to be published; or -EPROTO: the channel is of no use any more.
 */
s64 siv_seal_put(struct siv_chan *chan, u32 len, u32 flags)
{
	struct seal_half *half = &chan->seal->tx;
	const u32 sealed = len + SIV_SEAL_TAG;
	size_t at = (chan->tx_pos + SIV_RECORD_HEADER) & (chan->tx_size - 1);
	size_t first = min_t(size_t, sealed, chan->tx_size - at);

	lockdep_assert_held(&chan->tx_lock);
	half->header = (struct siv_record){ .len = sealed, .flags = flags };
	if (seal_crypt(half, len, true))
		return -EPROTO;
	siv_chan_put_record(chan, sealed, flags);
	memcpy(chan->tx_data + at, half->buf, first);
	memcpy(chan->tx_data, half->buf + first, sealed - first);
	return siv_record_span(sealed);
}

/*
 * Seals the end, once, before SHUT_WR is published; no record is put after it. -EPROTO: as
 * siv_seal_put().
 */
int siv_seal_put_end(struct siv_chan *chan)
{
	struct seal_half *half = &chan->seal->tx;

	BUILD_BUG_ON(sizeof(chan->own->end) != SIV_SEAL_TAG);
	lockdep_assert_held(&chan->tx_lock);
	if (half->ended)
		return 0;
	half->header = seal_end_header;
	if (seal_crypt(half, 0, true))
		return -EPROTO;
	memcpy(chan->own->end, half->buf, sizeof(chan->own->end));
	half->ended = true;
	return 0;
}

/*
 * Opens the end, once, where all was read that is there and the peer's @state says that no more comes.
 * -EPROTO: its kernel has not sealed it, nor reset the channel.
 */
static int seal_open_end(struct siv_chan *chan, u32 state)
{
	struct seal_half *half = &chan->seal->rx;

	lockdep_assert_held(&chan->rx_lock);
	if (half->ended)
		return 0;
	half->header = seal_end_header;
	memcpy(half->buf, chan->theirs->end, SIV_SEAL_TAG);
	if (seal_crypt(half, 0, false))
		return state & SIV_STATE_ABORTED ? 0 : -EPROTO;
	WRITE_ONCE(half->ended, true);
	return 0;
}

/* Has the peer's kernel said that all it sent was read? Without rx_lock. */
bool siv_seal_ended(const struct siv_chan *chan)
{
	return READ_ONCE(chan->seal->rx.ended);
}

/*
 * Opens the record at the read position, of which @ready bytes can be read. It stays in the ring until
 * it is taken. -EPROTO: no record that the peer's kernel has sealed.
 */
static int seal_open(struct siv_chan *chan, u64 ready)
{
	struct siv_seal *seal = chan->seal;
	struct seal_half *half = &seal->rx;
	size_t at = (chan->rx_pos + SIV_RECORD_HEADER) & (chan->rx_size - 1), first;
	u32 sealed;

	lockdep_assert_held(&chan->rx_lock);
	if (ready < SIV_RECORD_HEADER)
		return -EPROTO;
	half->header = siv_chan_get_record(chan, chan->rx_pos);
	sealed = half->header.len;
	if (half->header.flags & SIV_RECORD_END ||
	    !siv_sealed_possible(sealed, chan->type == SOCK_STREAM, ready))
		return -EPROTO;
	first = min_t(size_t, sealed, chan->rx_size - at);
	memcpy(half->buf, chan->rx_data + at, first);
	memcpy(half->buf + first, chan->rx_data, sealed - first);
	if (seal_crypt(half, sealed - SIV_SEAL_TAG, false))
		return -EPROTO;
	seal->at = 0;
	seal->left = sealed - SIV_SEAL_TAG;
	seal->open = true;
	return 0;
}

/*
 * Sees to it that a record is open, if one is there, or the end. Under rx_lock. 1: there is a record, of
 * which @len bytes are left, with @flags; 0: none. -ECONNRESET, -EPROTO: as siv_chan_readable().
 */
int siv_seal_get(struct siv_chan *chan, u32 *len, u32 *flags)
{
	struct siv_seal *seal = chan->seal;
	/* before the position: what was sent before the end is read before it */
	const u32 state = siv_chan_peer_state(chan);
	u64 ready;
	int err = siv_chan_readable(chan, &ready);

	*len = *flags = 0;
	if (!err && ready && !seal->open)
		err = seal_open(chan, ready);
	else if (!err && !ready && state & SIV_STATE_SHUT_WR)
		err = seal_open_end(chan, state);
	if (err || !seal->open)
		return err;
	*len = seal->left;
	*flags = seal->rx.header.flags;
	return 1;
}

/* Copies from the open record, without taking it. Short at the first byte that faults. */
size_t siv_seal_copy_out(struct siv_chan *chan, size_t len, struct iov_iter *to)
{
	size_t done;

	lockdep_assert_held(&chan->rx_lock);
	pagefault_disable();
	done = copy_to_iter(chan->seal->rx.buf + chan->seal->at, len, to);
	pagefault_enable();
	return done;
}

/* @len bytes of the open record were taken. With the last of them its space is given back. */
void siv_seal_taken(struct siv_chan *chan, u32 len)
{
	struct siv_seal *seal = chan->seal;

	lockdep_assert_held(&chan->rx_lock);
	seal->at += len;
	seal->left -= len;
	if (seal->left)
		return;
	seal->open = false;
	siv_chan_publish_rx(chan, siv_record_span(seal->rx.header.len));
}
