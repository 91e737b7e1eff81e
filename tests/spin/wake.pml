/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Wake words and event rings: chan_arm(), siv_chan_tell_tx(), siv_chan_shut(), siv_chan_event() of
 * chan.c, siv_link_notify() and link_next_event() of link.c.
 *
 * One producer moves its position from 0 to LAST in steps of any size, may put the look at the wake
 * word off (MSG_MORE) but not for ever, and may stop or shut down at any point. WAITERS tasks on the
 * other side each make CALLS calls that wait for a position of their own choice; they share the wake
 * word, as readers, peekers, polls and SEND_ZC's queue do. A call may also arm and go away, as a poll
 * does, or a signal.
 *
 * What must hold: when nothing else can happen, a task that still sleeps has nothing to be woken for.
 *
 * Memory: each side's stores go through a store buffer, which empties at a full barrier and at any
 * other time. Loads are in order; what they would need (acquire, release) is not shown here. A lock
 * empties the buffer when it is released: its next holder must see the word.
 *
 * MUTANT: a fault that must be found. 1 without barrier A, 2 without B, 3 without C, 4 overwrites a
 * word without waking those who rely on it, 5 wakes them only where the old word was reached, 6 never
 * lowers the word.
 *
 * holds: -DLAST=2 -DCALLS=2
 * holds: -DLAST=3 -DCALLS=1
 * fails: -DMUTANT=1 -DLAST=2 -DCALLS=1
 * fails: -DMUTANT=2 -DLAST=2 -DCALLS=1
 * fails: -DMUTANT=3 -DLAST=2 -DCALLS=1
 * fails: -DMUTANT=4 -DLAST=2 -DCALLS=1
 * fails: -DMUTANT=5 -DLAST=2 -DCALLS=1
 * fails: -DMUTANT=6 -DLAST=2 -DCALLS=1
 *
 * -DLAST=2 -DCALLS=1 -DWAITERS=3 holds too, and takes minutes.
 */
#ifndef WAITERS
#define WAITERS 2
#endif
#ifndef CALLS
#define CALLS 2
#endif
#ifndef LAST
#define LAST 3
#endif
#ifndef MUTANT
#define MUTANT 0
#endif

/* Shared memory. */
byte pos, word, shut, event_pos, event_seen;

/* Store buffers: at most one store each, which is all that a side has before its next barrier. */
byte pos_store, shut_store;
bool pos_held, shut_held;
byte word_store;
bool word_held;
byte seen_store;
bool seen_held;

/* The waiting side's own: under wake_lock. */
bool locked;
byte wake_word;
bool due;
bool queued[WAITERS], woken[WAITERS];

/* The producer's own. */
byte event_last;

proctype memory()
{
end:	do
	:: atomic { pos_held -> pos = pos_store; pos_held = false }
	:: atomic { shut_held -> shut = shut_store; shut_held = false }
	:: atomic { word_held -> word = word_store; word_held = false }
	:: atomic { seen_held -> event_seen = seen_store; seen_held = false }
	od
}

inline drain_producer() {
	d_step {
		if :: pos_held -> pos = pos_store; pos_held = false :: else fi;
		if :: shut_held -> shut = shut_store; shut_held = false :: else fi
	}
}

inline drain_word() {
	d_step { if :: word_held -> word = word_store; word_held = false :: else fi }
}

inline drain_seen() {
	d_step { if :: seen_held -> event_seen = seen_store; seen_held = false :: else fi }
}

inline lock() { atomic { !locked -> locked = true } }
inline unlock() {
	d_step {
		if :: word_held -> word = word_store; word_held = false :: else fi;
		locked = false
	}
}

/* wake_up(): whoever is in the wait queue. */
inline wake() {
	d_step {
		i = 0;
		do
		:: i < WAITERS -> woken[i] = queued[i]; i++
		:: else -> break
		od;
		i = 0
	}
}

/* Of this task; the producer's entry in the event ring stands for the doorbell too. */
inline notify() {
	atomic {
		if
		:: event_seen >= event_last -> event_last++; event_pos = event_last
		:: else
		fi
	}
}

inline tell() {
	if :: MUTANT != 2 -> drain_producer() :: else fi;
	seen_word = word;
	if
	:: told < seen_word && seen_word <= own -> notify()
	:: else
	fi;
	d_step { told = own; seen_word = 0 }
}

proctype producer()
{
	byte own, told, seen_word;

	do
	:: own < LAST ->
		if /* a step of any size */
		:: own = own + 1
		:: own + 2 <= LAST -> own = own + 2
		:: own + 3 <= LAST -> own = own + 3
		fi;
		atomic { !pos_held -> pos_store = own; pos_held = true };
		if
		:: tell()
		:: true /* later */
		fi
	:: own < LAST -> /* the end, early */
		tell();
		atomic { shut_store = 1; shut_held = true };
		if :: MUTANT != 2 -> drain_producer() :: else fi;
		notify();
		break
	:: tell(); /* the timer's, if it was put off */
		break
	od
}

/* The interrupt. */
proctype events()
{
	byte taken, i;

end:	do
	:: atomic { event_pos > taken -> taken++ };
		atomic { seen_store = taken; seen_held = true };
		if :: MUTANT != 3 -> drain_seen() :: else fi;
		/* what the state shows is looked at by those who are woken */
		lock();
		due = false;
		wake();
		unlock()
	od
}

inline arm() {
	d_step { seen = pos; there = (seen >= want) }
	if
	:: there
	:: !there && seen < wake_word && (wake_word <= want || MUTANT == 6) -> due = true
	:: else ->
		d_step {
			old = wake_word;
			wake_word = want;
			word_store = want;
			word_held = true;
			if :: MUTANT != 1 -> word = word_store; word_held = false :: else fi
		}
		d_step { seen = pos; there = (seen >= want) }
		if
		:: due && MUTANT != 4 && ((there && MUTANT != 5) || seen >= old) -> wake()
		:: else
		fi;
		d_step { due = !there; old = 0 }
	fi;
	seen = 0
}

proctype waiter(byte me)
{
	byte want, old, seen, calls, i;
	bool there, ended, stays;

	do
	:: calls == CALLS -> break
	:: calls < CALLS ->
		atomic {
			calls++;
			select(want : 1 .. LAST);
			if :: stays = true :: stays = false fi;
			queued[me] = true
		}
		do
		:: lock();
			arm();
			unlock();
			ended = shut;
			if
			:: there || ended || !stays -> break
			:: else ->
				if
				:: atomic { woken[me] -> woken[me] = false }
				:: atomic { timeout -> assert(pos < want && !shut) }; break
				fi
			fi
		od;
		atomic {
			queued[me] = false; woken[me] = false;
			want = 0; there = false; ended = false; stays = false
		}
	od
}

init {
	byte n;

	atomic {
		run memory();
		run producer();
		run events();
		do
		:: n < WAITERS -> run waiter(n); n++
		:: else -> break
		od
	}
}
