/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The end of a channel: chan_kill(), chan_detach_locked(), siv_chan_event() and siv_chan_peer_state() of
 * chan.c, map_fault(), map_first() and siv_chan_zap() of chan_map.c, siv_zc_add() and siv_zc_stop() of
 * chan_zc.c, siv_sock_graft() and siv_release() of sock.c, siv_link_unregister() of link.c.
 *
 * Whatever uses the channel goes on while it is reset by the agent (or its device goes, or its user
 * finds that the peer broke the rules), and while its socket is closed by the last of its users. As
 * soon as CLOSED is on its way the host may give the pages to another channel, which writes there.
 *
 * What must hold:
 *  - nobody of the old channel reads or writes a page of it once CLOSED is on its way, but for the
 *    lockless looks, which are inside of RCU, in memory that is there, and from which nothing follows;
 *  - then nobody has such a page mapped, or ever gets it again; who reads zeros in place of data
 *    finds zeros in place of the state;
 *  - CLOSED is sent once;
 *  - no deadlock, and nobody who waits sleeps for ever; who is reset is told ECONNRESET;
 *  - every reference is given back, the channel and its socket are not used afterwards, and
 *    everything sent in place completes.
 *
 * Wake words are left out: wake.pml has them. Locks order memory; what is read without one is followed
 * by a lock or by synchronize_rcu(), so stores are in order here.
 *
 * MUTANT: a fault that must be found.
 *   1 dead is set after the zap             2, 3 tx_lock, rx_lock are not taken and dropped
 *   4 a fault without map_lock              5 the waiters are woken before dead is set
 *   6 CLOSED before the mutexes             7 no zap
 *   8 the lockless look is believed         9 no synchronize_rcu() before the memory goes
 *  10 detached twice                       11 the sender looks at dead before it has tx_lock
 *  12 MSG_MORE's work does not look        13 neither dead nor the zap with map_lock
 *  14 a new socket looks before it is set  15 a closed socket stays the one to wake
 *  16 completions end before the mutexes,  17 an event does not look at dead
 *     and are queued without a look        18 mmap() does not look at dead
 *  19 a reset from under rx_lock           20 the waiter looks before it queues
 *  21 the channel is freed without RCU     22 the page with the state is zapped last
 *  23 the timer's reference is not put
 *
 * Three locks are taken twice on the way, and each first time could go alone: dead is set under
 * map_lock and wake_lock, and the zap and the waking take them again before CLOSED; and siv_zc_add()
 * looks at dead, where siv_zc_stop() comes after tx_lock.
 *
 * holds: -DCOPIER -DLATER
 * holds: -DCOPIER -DLATER -DGONE
 * holds: -DWAITER -DEVENTS
 * holds: -DWAITER -DGONE
 * holds: -DMAPPER -DCOPIER
 * holds: -DMAPPER -DWAITER
 * holds: -DMAPPER -DGONE
 * holds: -DLOOKER -DEVENTS
 * holds: -DLOOKER -DEVENTS -DGONE
 * holds: -DLOOKER -DCOPIER -DGONE
 * fails: -DMUTANT=1 -DMAPPER
 * fails: -DMUTANT=2 -DCOPIER
 * fails: -DMUTANT=3 -DWAITER -DEVENTS
 * fails: -DMUTANT=4 -DMAPPER
 * fails: -DMUTANT=5 -DWAITER
 * fails: -DMUTANT=6 -DCOPIER
 * fails: -DMUTANT=7 -DMAPPER
 * fails: -DMUTANT=8 -DLOOKER
 * fails: -DMUTANT=9 -DLOOKER -DGONE
 * fails: -DMUTANT=10
 * fails: -DMUTANT=11 -DCOPIER
 * fails: -DMUTANT=12 -DCOPIER -DLATER
 * fails: -DMUTANT=13 -DMAPPER
 * fails: -DMUTANT=14 -DWAITER
 * fails: -DMUTANT=15 -DEVENTS
 * fails: -DMUTANT=16 -DCOPIER
 * fails: -DMUTANT=17 -DEVENTS
 * fails: -DMUTANT=18 -DMAPPER
 * fails: -DMUTANT=19 -DWAITER -DEVENTS
 * fails: -DMUTANT=20 -DWAITER
 * fails: -DMUTANT=21 -DEVENTS
 * fails: -DMUTANT=22 -DMAPPER
 * fails: -DMUTANT=23 -DCOPIER -DLATER
 */
#ifndef MUTANT
#define MUTANT 0
#endif

/* What the pages hold, and whether they are there. */
#define OLD_SHUT 1 /* the peer has shut its side */
#define FOREIGN  2 /* written by another channel */
byte word;
bool data;
bool memory = true;
bool closed;      /* CLOSED is on its way */

/* An access of the old channel that reads or writes for good. */
#define TOUCH assert(!closed && memory)

/* struct siv_chan */
bool link_lock, tx_lock, rx_lock, wake_lock;
byte map_readers;
bool map_writer;
bool dead, attached = true, in_slot = true;
byte peer_state;
byte refs = 2;    /* the list's and the socket's */
bool freed;
bool zc;          /* a completion is queued */
bool more_later, more_timer, more_work;
mtype = { LOCAL, RESET, VIOLATION };
bool detached;

/* The socket: the channel's idea of it, and whether it is there. */
bool sk, sk_gone, sk_aborted;
bool queued, woken;
byte users;       /* calls under way and mappings: each holds the file */

/* The mapping: pages of the peer's control page and of data. */
mtype = { NONE, SHARED, PRIVATE };
mtype pte_state = NONE, pte_data = NONE;
bool map_inode;
byte inode_refs;

/* RCU: who reads, and for whom grace periods wait: of siv_link_unregister(), of kfree_rcu(). */
#define READER_LOOK  0
#define READER_EVENT 1
#define GRACE_UNMAP  0
#define GRACE_FREE   2
bool reads[2], before[4];

inline lock(l) { atomic { !l -> l = true } }
inline unlock(l) { l = false }
inline down_read() { atomic { !map_writer -> map_readers++ } }
inline up_read() { map_readers-- }
inline down_write() { atomic { !map_writer && !map_readers -> map_writer = true } }
inline up_write() { map_writer = false }

inline rcu_read_lock(r) { reads[r] = true }
inline rcu_read_unlock(r) {
	d_step { reads[r] = false; before[GRACE_UNMAP + r] = false; before[GRACE_FREE + r] = false }
}
inline synchronize_rcu(grace) {
	d_step { before[grace] = reads[0]; before[grace + 1] = reads[1] }
	!before[grace] && !before[grace + 1]
}

inline get() { d_step { assert(!freed && refs > 0); refs++ } }
inline put() { d_step { assert(!freed && refs > 0); refs-- } }

/* chan_wake(): under wake_lock */
inline wake() {
	d_step {
		if
		:: sk -> assert(!sk_gone); woken = queued
		:: else
		fi
	}
}

inline wake_sock() {
	lock(wake_lock);
	wake();
	unlock(wake_lock)
}

inline set_dead(why) {
	if :: MUTANT != 13 -> down_write() :: else fi;
	lock(wake_lock);
	atomic {
		dead = true;
		if
		:: why != LOCAL && sk -> assert(!sk_gone); sk_aborted = true
		:: else
		fi
	}
	unlock(wake_lock);
	if :: MUTANT != 13 -> up_write() :: else fi
}

inline zap() {
	if :: MUTANT != 13 -> down_write() :: else fi;
	d_step { had_inode = map_inode; map_inode = false }
	if :: MUTANT != 13 -> up_write() :: else fi;
	if
	:: had_inode && MUTANT != 7 ->
		if :: MUTANT != 22 -> pte_state = NONE :: else fi;
		pte_data = NONE;
		pte_state = NONE
	:: else
	fi;
	if
	:: had_inode -> inode_refs--; had_inode = false
	:: else
	fi
}

inline report() {
	get(); /* the queue's */
	d_step { assert(!closed); closed = true }
}

/* chan_kill() */
inline kill(why) {
	if
	:: why == LOCAL -> /* is anything unread? */
		lock(rx_lock);
		if :: !dead -> TOUCH :: else fi;
		unlock(rx_lock)
	:: else
	fi;
	lock(wake_lock); /* siv_chan_shut() */
	if :: !dead -> TOUCH :: else fi;
	unlock(wake_lock);
	if :: MUTANT == 5 -> wake_sock() :: else fi;
	if
	:: MUTANT == 1 -> zap(); set_dead(why)
	:: else -> set_dead(why); zap()
	fi;
	if :: MUTANT != 5 -> wake_sock() :: else fi;
	if :: MUTANT == 6 -> report() :: else fi;
	if :: MUTANT == 16 -> lock(wake_lock); zc = false; unlock(wake_lock) :: else fi;
	if :: MUTANT != 2 -> lock(tx_lock); unlock(tx_lock) :: else fi;
	if :: MUTANT != 3 -> lock(rx_lock); unlock(rx_lock) :: else fi;
	lock(wake_lock); /* siv_zc_stop() */
	if :: MUTANT != 16 -> zc = false :: else fi;
	unlock(wake_lock);
	if
	:: atomic { more_timer -> more_timer = false };
		if :: MUTANT != 23 -> put() :: else fi
	:: else
	fi
}

/*
 * chan_detach_locked(), and the list's reference: for the agent's RESET, or because the device goes
 * (siv_link_unregister()); for the last user of the file, who closes it (siv_release()); for a user who
 * finds a violation, and waits for this to be done (siv_io_failed()).
 */
proctype detach(mtype why)
{
	bool had_inode;

	if
	:: why == LOCAL ->
		users == 0;
		if
		:: MUTANT != 15 -> lock(wake_lock); sk = false; unlock(wake_lock)
		:: else
		fi
	:: else
	fi;
	lock(link_lock);
	if
	:: attached || MUTANT == 10 ->
		attached = false;
		kill(why);
		in_slot = false;
		if :: MUTANT != 6 -> report() :: else fi;
		put()
	:: else
	fi;
	unlock(link_lock);
	if
	:: why == LOCAL -> sk_gone = true; put() /* the socket's destructor */
	:: why == VIOLATION -> detached = true
	:: why == RESET ->
#ifdef GONE
		if :: MUTANT != 9 -> synchronize_rcu(GRACE_UNMAP) :: else fi;
		memory = false
#else
		skip
#endif
	fi
}

proctype host()
{
end:	closed;
	put(); /* CLOSED was pulled */
	d_step { word = FOREIGN; data = true }
}

proctype reaper()
{
end:	refs == 0;
	if :: MUTANT != 21 -> synchronize_rcu(GRACE_FREE) :: else fi;
	freed = true
}

/* send(), with MSG_MORE and a completion for what it sent in place. */
proctype copier()
{
	bool seen;

	if :: MUTANT == 11 -> seen = dead :: else fi;
	lock(tx_lock);
	if :: MUTANT != 11 -> seen = dead :: else fi;
	if
	:: !seen ->
		TOUCH; /* from here on ... */
#ifdef LATER
		if
		:: !more_later -> more_later = true; get(); more_timer = true
		:: else
		fi;
#endif
		lock(wake_lock); /* siv_zc_add() */
		if
		:: !dead || MUTANT == 16 -> zc = true
		:: else
		fi;
		unlock(wake_lock);
		TOUCH /* ... to here */
	:: else
	fi;
	unlock(tx_lock);
	users--
}

/* more_timer, and its work */
proctype later()
{
end:	do
	:: atomic { more_timer -> more_timer = false };
		lock(tx_lock);
		more_later = false;
		if :: !dead || MUTANT == 12 -> TOUCH :: else fi;
		unlock(tx_lock);
		put()
	od
}

/* connect() or accept() has just got the channel: siv_sock_graft(); then recv(). */
proctype waiter()
{
	bool there, bad, seen;

	if :: MUTANT == 14 -> seen = dead :: else fi;
	lock(wake_lock);
	sk = true;
	unlock(wake_lock);
	if :: MUTANT != 14 -> seen = dead :: else fi;
	if :: seen -> sk_aborted = true :: else fi;

	do
	:: if :: MUTANT != 20 -> queued = true :: else fi;
		lock(wake_lock);
		if
		:: dead -> there = true
		:: else -> TOUCH; there = data
		fi;
		unlock(wake_lock);
		if :: MUTANT == 20 -> queued = true :: else fi;
		if
		:: there -> break
		:: else -> atomic { woken -> woken = false }
		fi
	od;
	atomic { queued = false; woken = false }
	lock(rx_lock);
	if
	:: !dead ->
		TOUCH;
		if :: bad = true :: true fi; /* a position that cannot be */
		TOUCH
	:: else -> assert(sk_aborted)
	fi;
	if :: MUTANT != 19 -> unlock(rx_lock) :: else fi;
	if
	:: bad -> run detach(VIOLATION); detached; assert(sk_aborted)
	:: else
	fi;
	if :: MUTANT == 19 -> unlock(rx_lock) :: else fi;
	users--
}

inline fault(pte) {
	if :: MUTANT != 4 -> down_read() :: else fi;
	if
	:: !dead -> pte = SHARED
	:: else -> pte = PRIVATE
	fi;
	if :: MUTANT != 4 -> up_read() :: else fi
}

/* Loads a byte, as often as the page is taken away before the load is made. */
inline load(pte, zero) {
	do
	:: atomic { pte == SHARED -> TOUCH; zero = false }; break
	:: atomic { pte == PRIVATE -> zero = true }; break
	:: pte == NONE -> fault(pte)
	od
}

proctype mapper()
{
	bool ok, zero_data, zero_state;
	byte n;

	down_write(); /* map_first() */
	if
	:: !dead || MUTANT == 18 ->
		ok = true;
		if
		:: !map_inode -> map_inode = true; inode_refs++
		:: else
		fi
	:: else
	fi;
	up_write();
	do
	:: ok && n < 2 ->
		n++;
		load(pte_data, zero_data);
		load(pte_state, zero_state);
		assert(!zero_data || zero_state)
	:: else -> break
	od;
	atomic {
		assert(!closed || (pte_data != SHARED && pte_state != SHARED));
		pte_data = NONE;
		pte_state = NONE
	}
	users--
}

/* siv_chan_peer_state(), twice */
proctype looker()
{
	byte seen, state, n;

	do
	:: n < 2 ->
		n++;
		seen = peer_state;
		state = seen;
		rcu_read_lock(READER_LOOK);
		if
		:: !dead -> atomic { assert(memory); state = seen | word }
		:: else
		fi;
		rcu_read_unlock(READER_LOOK);
		if
		:: state != seen && MUTANT != 8 ->
			lock(wake_lock);
			if
			:: !dead -> atomic { TOUCH; peer_state = peer_state | word }
			:: else
			fi;
			state = peer_state;
			unlock(wake_lock)
		:: else
		fi;
		assert(!(state & FOREIGN))
	:: else -> break
	od;
	users--
}

/* The peer writes what it likes, and rings when it likes: siv_link_drain(), siv_chan_event(). */
proctype events()
{
	byte n;
	bool found;

	do
	:: n < 2 ->
		n++;
		if
		:: atomic { !closed -> data = true }
		:: atomic { !closed -> word = OLD_SHUT }
		:: true
		fi;
		rcu_read_lock(READER_EVENT);
		found = in_slot;
		if
		:: found ->
			lock(wake_lock);
			assert(!freed);
			if
			:: !dead || MUTANT == 17 -> atomic { TOUCH; peer_state = peer_state | word }
			:: else
			fi;
			wake();
			assert(!freed);
			unlock(wake_lock)
		:: else
		fi;
		rcu_read_unlock(READER_EVENT)
	:: else -> break
	od
}

/* When nothing else can happen any more. */
proctype final()
{
	timeout;
	assert(closed && dead && refs == 0 && freed);
	assert(!inode_refs && !map_inode);
	assert(!zc && !more_timer);
	assert(!link_lock && !tx_lock && !rx_lock && !wake_lock && !map_readers && !map_writer);
	assert(users == 0 && !queued)
}

init {
	atomic {
#ifdef COPIER
		users++; run copier();
#endif
#ifdef LATER
		run later();
#endif
#ifdef WAITER
		users++; run waiter();
#else
		sk = true;
#endif
#ifdef MAPPER
		users++; run mapper();
#endif
#ifdef LOOKER
		users++; run looker();
#endif
#ifdef EVENTS
		run events();
#endif
		run detach(RESET);
		run detach(LOCAL);
		run host();
		run reaper();
		run final()
	}
}
