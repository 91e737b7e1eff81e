/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Doorbells: pci_irq(), pci_irq_thread(), pci_mask(), pci_resume() and pci_remove() of link_pci.c,
 * siv_link_drain() of link.c, and of the kernel's interrupts what they rely on: what rings while the
 * interrupt is disabled or handled is remembered once, and handled after it.
 *
 * An honest peer enters EVENTS events, never more than SLOTS that were not taken, and rings after each.
 * The handler takes one, its thread and the timer's work a capacity each; the work looks again later,
 * and leaves the interrupt disabled, if that was not all. Whether it is a flood is left to chance. With
 * LIES the peer says that often that there are more events than there can be: the handler leaves that
 * to its thread, for which one such look is all that it takes. With REMOVE the driver is unbound at any
 * time.
 *
 * What must hold: when nothing else can happen, all events were taken, no lie was left unlooked at, and
 * the interrupt is enabled; or the driver is gone, and nobody touches it after that.
 *
 * The work's own look is not needed for that: whoever masks has the thread take what is there, and what
 * comes later rings. It makes the work right by itself.
 *
 * MUTANT: a fault that must be found. 1 the handler does not wake its thread, 2 the thread takes no
 * more than the handler, 3 masks twice and enables once, 4 the work is cancelled before the interrupt
 * is disabled, 5 the interrupt is not disabled, 6 the work is not cancelled, 7 the work that was not
 * through does not come again, 8 the handler passes by a lie and does not wake its thread.
 *
 * holds: -DEVENTS=5
 * holds: -DEVENTS=3 -DREMOVE
 * holds: -DEVENTS=3 -DLIES=2
 * holds: -DEVENTS=2 -DLIES=1 -DREMOVE
 * fails: -DMUTANT=1
 * fails: -DMUTANT=2
 * fails: -DMUTANT=3 -DEVENTS=5
 * fails: -DMUTANT=4 -DREMOVE
 * fails: -DMUTANT=5 -DREMOVE
 * fails: -DMUTANT=6 -DREMOVE
 * fails: -DMUTANT=7 -DEVENTS=5
 * fails: -DMUTANT=7 -DLIES=1
 * fails: -DMUTANT=8 -DLIES=1
 */
#ifndef EVENTS
#define EVENTS 3
#endif
#ifndef MUTANT
#define MUTANT 0
#endif
#ifndef LIES
#define LIES 0
#endif
#define SLOTS 3

/* The ring. */
byte pos, seen;
bool up = true;
byte lies;
bool lie; /* its position is now one that cannot be */

/* The kernel's interrupt: how often it is disabled, whether it has rung, who handles it. */
byte depth;
bool rung, handling, thread_woken, thread_runs;

/* struct siv_pci */
bool masked, queued, work_runs, cancelling, gone;

/* siv_link_drain(): each event under drain_lock; after a look at all, the budget is gone */
inline drain(most) {
	n = 0;
	drained = false;
	do
	:: n == most -> break
	:: n < most ->
		atomic {
			assert(!gone);
			if
			:: up && lie && most == SLOTS -> lie = false; seen = pos; n = most
			:: up && lie && most < SLOTS -> n = most; drained = (MUTANT == 8)
			:: up && !lie && seen < pos -> seen++; n++
			:: else -> drained = true
			fi
		}
		if :: drained -> break :: else fi
	od
}

/* pci_later(): while it is cancelled, even by itself it is not queued */
inline later() {
	atomic {
		if :: !cancelling -> queued = true :: else fi
	}
}

inline cancel() {
	atomic { cancelling = true; queued = false };
	!work_runs;
	cancelling = false
}

inline mask() {
	atomic {
		assert(!gone);
		if
		:: masked && MUTANT != 3 -> set = false
		:: else -> masked = true; set = true
		fi
	}
	if
	:: set -> depth++; later()
	:: else
	fi
}

proctype peer()
{
	do
	:: pos == EVENTS && lies == LIES -> break
	:: pos < EVENTS && pos - seen < SLOTS ->
		pos++;
		rung = true
	:: lies < LIES ->
		lies++;
		lie = true;
		rung = true
	:: !up -> break
	od
}

proctype irq()
{
	byte n;
	bool drained, set;

end:	do
	:: atomic { rung && !depth && !gone -> rung = false; handling = true };
		if
		:: mask() /* a flood */
		:: true
		fi;
		drain(1);
		if
		:: !drained && MUTANT != 1 -> thread_woken = true
		:: else
		fi;
		handling = false
	od
}

proctype thread()
{
	byte n;
	bool drained, set;

end:	do
	:: atomic { thread_woken -> thread_woken = false; thread_runs = true };
		if
		:: MUTANT == 2 -> drain(1)
		:: else -> drain(SLOTS);
			if :: !drained -> mask() :: else fi
		fi;
		thread_runs = false
	od
}

proctype resume()
{
	byte n;
	bool drained;

end:	do
	:: atomic { queued -> queued = false; work_runs = true };
		drain(SLOTS);
		if
		:: !drained && MUTANT != 7 -> later()
		:: !drained && MUTANT == 7
		:: drained ->
			atomic { assert(!gone); masked = false };
			atomic { assert(!gone && depth > 0); depth-- }
		fi;
		work_runs = false
	od
}

proctype remover()
{
	up = false; /* siv_link_unregister() */
	if :: MUTANT == 4 -> cancel() :: else fi;
	if
	:: MUTANT != 5 -> depth++; !handling && !thread_woken && !thread_runs
	:: else
	fi;
	if
	:: MUTANT != 4 && MUTANT != 6 -> cancel()
	:: else
	fi;
	gone = true
}

proctype final()
{
	timeout;
	assert(gone || (seen == EVENTS && !lie && !depth && !masked && !queued))
}

init {
	atomic {
		run peer();
		run irq();
		run thread();
		run resume();
#ifdef REMOVE
		run remover();
#endif
		run final()
	}
}
