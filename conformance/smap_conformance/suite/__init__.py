"""The rules as pytest cases, one file per chapter of the catalogue.

How to write a case
-------------------
A case is a pytest function with the ids of the rules that it judges and a `place`: a spool, a baddir, a table, a
scripted mailer, and the target's programs at work there::

    @pytest.mark.rule("LIMIT-02")
    def test_the_recipient_after_the_last_is_refused(place: Place) -> None:
        place.table(smap={"maxrecip": 2})                     # clauses changed; None leaves one out
        session = place.open_session()                         # connect, 220, HELO, 250
        session.command(b"MAIL FROM:<s@a.example>")            # one line, one Reply (None: closed instead)
        for name in (b"a", b"b"):
            expect("reply to RCPT", session.command(b"RCPT TO:<%s@localhost>" % name), codes(250))
        expect("reply to one RCPT too many", session.command(b"RCPT TO:<c@localhost>"), codes(452, "5xx"))

Dialogue   `place.connect()` → Session, nothing read yet. `.send(bytes)` adds nothing; `.send_slowly(data,
           chunk_bytes)`, `.reply()` (checks the form of replies), `.replies()` to the end, `.line()`, `.read_to_eof()`,
           `.quiet(for_s)`, `.half_close()`, `.reset()`, `.close()`; `.pid`, `.exit_status()`.
           `place.converse(bytes)` sends, half-closes, gives all replies. `place.send_mail(session, sender, recipients,
           body)` gives the reply to the final dot. `dialogue.stuffed(body)` doubles dots and ends the data.
           The tables of `smap_simulator.client` (FAKE_ENDS, transaction(), SESSION …) are there to be used.
Messages   `place.gather(sender, recipients, body)` → SpoolFile: one whole message by the target's own smap, so that no
           case needs to know the heading's format. `place.put(name, data, mode)` for what is no message.
Spool      `place.entries()`, `.whole()`, `.bad_entries()` → SpoolFile(name, kind, mode, size_bytes, inode, sha256,
           locks, …); `spool.look(path)`; `place.spool`, `place.baddir` are the directories.
smapd      `place.start_smapd()` → Smapd: `.refused()`, `.running()`, `.signal(n)`, `.kill()`, `.wait_end()`.
Mailer     `place.mailer.script(always(TEMPFAIL))`, `first(2, TEMPFAIL)`, `for_recipient(…)` from
           `smap_simulator.mailer`; `place.wait_runs(n)` → Runs (argv, sender, recipients, input, environment, uids, …);
           `place.mailer.runs()` as they are now; `place.wait_gone(file)`.
Log        `place.log()`: the lines since the place was opened; empty without namespaces (`lab.sandbox.means.log`).
Waiting    `place.wait("what", "acceptable", condition)`; bounds are scaled by --smap-timeout-scale. Never assert
           a time.

`expect(what, actual, acceptable)` with `codes(250, "5xx")`, `exactly(x)`, `one_of(x, y)`, `such_that("words", test)`;
`miss(what, acceptable, actual)` for a condition worked out by hand. `rule=` narrows the blame in a case of several
rules.
A Miss (or an assertion in this folder) is the target's failure; any other exception is the harness's.
`place.exhibits["name"] = text` adds to the scene that a failure leaves; `missed([Miss(…), …])` blames several rules.
`not_measured("why")` ends a case that this machine cannot decide; it is counted, never silent.
`note("CFG-09", "ignored")` (a fixture) records what a target does where an INFO rule leaves it open.
`tally["crash points"] += 1` (a fixture, a `collections.Counter[str]`) counts what a case has gone through; the counts
of a run are added up. Its words: crash points, crash states, distinct crash states, recoveries, calls failed, faults
fired, faults not fired.

`chose("lock", "flock", "GATHER-04")` (a fixture) records a choice that the rules leave open; where the manifest
declares another it is a failure of that rule.

A case with a parameter `mode` (nowait, wait) is run for those modes of inetd that the target serves.

Faults     `aiming.marks(calls, place, client)` are the calls on the spool, baddir and the client, as values that can be
           compared between runs; `mark.injection("error=EIO")` aims at one of them, `aiming.points` chooses them.
           `tapping.Tap(place, pid, rules)` hurts one running process, `tapping.Snare(place)` each copy of smapd, and
           neither hurts a child. A fault that was not seen to fire is counted and proves nothing.
           `lab.place(limits=((resource.RLIMIT_FSIZE, 100),))` starts programs with less.

In `@given` bodies use the session-wide fixture: `with lab.place() as place:`; settings with `derandomize=True`, no
deadline. `lab.place(disk_bytes=65536, inodes=10)` puts spool and baddir on a small tmpfs; `mode="wait"` serves from
a listening socket; `umask=0o777` sets the programs' umask; `withheld=frozenset({namespace.CAP_SYS_CHROOT})`,
`groups=(0, 42)`, `descriptors=(3,)` and `variables={"IFS": "x"}` say with what else, or without what, they are started.

strace     `lab.place(trace=Trace())` watches every program, `place.start_smapd(trace=Trace(inject=(…,)))` one, and
           hurts it; `place.recording()` is what they did as a history, `place.traces[-1].calls()` call by call: see
           `tracing`. What a recording could not see is in its notes: such a case is not measured.
Processes  `process.uids(pid)`, `.status(pid)`, `.root(pid)`, `.descriptors(pid)` as /proc shows them;
           `process.serving(session)` are those that hold a client's connection, in either mode; `process.wait_for(…)`.
Refusals   `refusal.smap_takes_no_mail(place, why)`, `.smapd_does_not_start(…)`, `.the_log_names(…)`.
           `place.raw_table(None)` takes the table away, `place.raw_table(Unreadable.LOOP)` makes it unreadable.
"""
