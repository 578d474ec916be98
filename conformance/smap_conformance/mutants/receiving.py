"""Mutants of smap's dialogue: commands, addresses, the end of data, limits, time-outs, what the log is told."""

from __future__ import annotations

from smap_conformance.mutants.mutant import Mutant

_TEXT = "        text = self._held + data\n"
_HELLO_LINE = '        return b"%d %s\\r\\n" % (self.code, self.text.replace("%", host).encode("ascii", "replace"))\n'

RECEIVING: tuple[Mutant, ...] = (
    # commands
    Mutant(
        "offers-what-it-does-not-do", "reply", _HELLO_LINE,
        '        said = b"%d %s\\r\\n" % (self.code, self.text.replace("%", host).encode("ascii", "replace"))\n'
        '        return b"250-" + said[4:] + b"250 8BITMIME\\r\\n" if self.text == "%" else said\n',
        {"SMTP-01": "for EHLO offered 8BITMIME"}, ("smtp_session::test_what_ehlo_offers_is_done",),
        "EHLO offers 8BITMIME, and MAIL refuses its parameter",
    ),
    Mutant(
        "capitals-only", "command", "    verb = verb.upper()\n", "",
        {"SMTP-02": "reply to b'helo c.example'"}, ("smtp_session::test_commands_work_in_any_letter_case[small]",),
        "small letters are no commands",
    ),
    Mutant(
        "from-in-capitals-only", "command", "if argument[: len(prefix)].upper() != prefix:",
        "if argument[: len(prefix)] != prefix:",
        {"SMTP-02": "reply to b'mail from:"}, ("smtp_session::test_commands_work_in_any_letter_case[small]",),
        "`mail from:` is a syntax error",
    ),
    Mutant(
        "rcpt-without-mail", "session", '    (SENDER, b"RCPT"): ("_rcpt", RECIPIENTS),\n',
        '    (SENDER, b"RCPT"): ("_rcpt", RECIPIENTS),\n    (GREETED, b"RCPT"): ("_rcpt", RECIPIENTS),\n',
        {"SMTP-03": "reply to"},
        ("smtp_session::test_a_command_too_early_is_refused_and_changes_nothing[RCPT before MAIL]",),
        "a recipient is taken for nobody's message",
    ),
    Mutant(
        "dies-of-a-malformed-line", "command", '    if not path.startswith(b"<"):\n',
        '    assert path, "a path"\n    if not path.startswith(b"<"):\n',
        {"SMTP-04": "reply to b'RCPT TO:'"},
        ("smtp_syntax::test_a_bad_line_gets_one_reply_and_the_session_goes_on[RCPT TO colon-after MAIL]",),
        "the old smap's fault: a RCPT without an address ends the session, and the mail behind it is gone",
    ),
    Mutant(
        "bare-lf-ends-some-commands", "command", '    if not line.endswith(b"\\r\\n"):\n',
        '    if line[:4].upper() == b"NOOP":\n        line = line.rstrip() + b"\\r\\n"\n'
        '    if not line.endswith(b"\\r\\n"):\n',
        {"SMTP-04": "expected the same treatment for each"},
        ("smtp_syntax::test_a_bare_lf_ends_every_command_or_none",),
        "a bare LF ends some commands and not others",
    ),
    Mutant(
        "null-sender-refused", "command", 'return Command(verb) if verb == b"MAIL" else reply.ADDRESS_REFUSED',
        "return reply.ADDRESS_REFUSED",
        {"SMTP-07": "MAIL FROM:<>"}, ("smtp_address::test_the_null_sender_is_taken_and_has_one_form",),
        "bounces are refused, and nobody learns that his mail failed",
    ),
    Mutant(
        "hello-forgets-nothing", "session", "        self.hello = name\n        self._forget_message()\n",
        "        self.hello = name\n",
        {"SMTP-08": "envelope: expected"},
        ("smtp_session::test_the_transaction_is_forgotten[HELO-after RCPT-then DATA]",),
        "HELO leaves sender and recipients behind for the next message",
    ),
    Mutant(
        "rset-forgets-nothing", "session", '    TRANSITIONS.setdefault((_state, b"RSET"), ("_forget", GREETED))\n',
        '    TRANSITIONS.setdefault((_state, b"RSET"), ("_noop", _state))\n',
        {"SMTP-08": "expected 503 or 554; got 354"},
        ("smtp_session::test_the_transaction_is_forgotten[RSET-after RCPT-then DATA]",),
        "RSET says OK and does nothing",
    ),
    Mutant(
        "bytes-never-reset", "session", "        self._message_bytes = 0\n",
        '        self._message_bytes = getattr(self, "_message_bytes", 0)\n',
        {"SMTP-09": "reply to message 2 of 6000 bytes", "LIMIT-01": "reply to message 2 of 6000 bytes"},
        ("limit::test_maxbytes_is_counted_for_each_message",),
        "maxbytes is counted over all messages of a session",
    ),
    Mutant(
        "option-for-an-address", "command", '_LOCAL_NEVER_FIRST = b"-/.~"', '_LOCAL_NEVER_FIRST = b"/.~"',
        {"SMTP-10": "reply to b'DATA'"},
        ("smtp_address::test_an_address_like_an_option_is_refused_or_inert[-q-recipient]",),
        "RCPT TO:<-q> is taken",
    ),
    Mutant(
        "debug-lets-anything-in", "command", "    if verb not in VERBS:\n",
        '    if verb == b"DEBUG":\n        globals()["is_mailbox"] = bool\n        return reply.OK  # type: ignore\n'
        "    if verb not in VERBS:\n",
        {"SMTP-11": "with a program, after b'DEBUG'"}, ("smtp_syntax::test_a_command_of_old_does_nothing[DEBUG]",),
        "DEBUG, and then programs are recipients",
    ),
    Mutant(
        "web-browsers-served", "command",
        'b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE", b"CONNECT"', "",
        {"SMTP-11": "after an HTTP POST"}, ("smtp_syntax::test_a_web_browser_delivers_nothing[POST]",),
        "the body of a web page's request is a dialogue",
    ),
    Mutant(
        "reads-once-for-each-command", "session", "        del self._input[:end]\n", "        self._input.clear()\n",
        {"SMTP-12": "expected a reply; got none"}, ("smtp_data::test_a_session_in_any_segments[one segment]",),
        "what came along with a command is dropped", scale=0.1,
    ),
    # the message
    Mutant(
        "lf-dot-lf-ends", "data", _TEXT, '        text = (self._held + data).replace(b"\\n.\\n", b"\\r\\n.\\r\\n")\n',
        {"SMTP-05": "b'\\n.\\n' in it"}, ("smtp_data::test_only_crlf_dot_crlf_ends_a_message[LF.LF-one segment]",),
        "LF.LF ends the data: a second message is smuggled in the first",
    ),
    Mutant(
        "lf-dot-crlf-ends", "data", _TEXT,
        '        text = (self._held + data).replace(b"\\r\\n.\\r\\n", b"\\n.\\r\\n")\n'
        '        text = text.replace(b"\\n.\\r\\n", b"\\r\\n.\\r\\n")\n',
        {"SMTP-05": "b'\\n.\\r\\n' in it"}, ("smtp_data::test_only_crlf_dot_crlf_ends_a_message[LF.CRLF-one segment]",),
        "LF.CRLF ends the data, as it did in large providers until 2023",
    ),
    Mutant(
        "dots-stay-doubled", "data", '.replace(b"\\r\\n.", b"\\r\\n")', "",
        {"SMTP-06": "the message at the mailer"}, ("smtp_data::test_a_dot_that_the_client_did_not_double_goes",),
        "each hop adds a dot",
    ),
    Mutant(
        "dots-eaten", "data", 'return text.replace(b"\\r\\n.", b"\\r\\n")',
        'return text.replace(b"\\r\\n..", b"\\r\\n").replace(b"\\r\\n.", b"\\r\\n")',
        {"SMTP-06": "the message at the mailer"},
        ("smtp_data::test_dots_arrive_as_the_client_meant_them[lines of two, three, four dots]",),
        "transparency is undone twice",
    ),
    Mutant(
        "end-in-pieces-missed", "data", "        held = self._ambiguous(text)\n", "        held = 0\n",
        {"SLOW-01": "expected a reply; got none", "SMTP-12": "expected a reply; got none"},
        ("slow::test_a_byte_at_a_time_gets_through", "smtp_data::test_a_session_in_any_segments[segments of 1]"),
        "the end of data is seen only where it comes in one piece", scale=0.1,
    ),
    Mutant(
        "nul-dropped", "data", _TEXT, '        text = self._held + data.replace(b"\\0", b"")\n',
        {"SMTP-16": "the message at the mailer"}, ("smtp_data::test_a_nul_is_kept_or_the_message_refused[many]",),
        "NULs are taken out of the message, and nobody is told",
    ),
    Mutant(
        "seven-bits", "data", _TEXT, "        text = self._held + bytes(byte & 0x7F for byte in data)\n",
        {"SMTP-16": "the message at the mailer"}, ("smtp_data::test_bytes_1_to_255_arrive[each at a line's start]",),
        "the eighth bit is lost",
    ),
    Mutant(
        "no-received-line", "smap", "return self._write(heading + self._received(self._gathering.name))",
        "return self._write(heading)",
        {"SMTP-14": "expected a Received: line"}, ("smtp_data::test_a_received_line_tells_peer_and_time",),
        "a hop that nobody can see",
    ),
    # limits
    Mutant(
        "cut-at-maxbytes", "session",
        "        if too_big and self._spoiled is None:\n            self.spoil(reply.TOO_BIG)\n"
        "            self._ready.append(Abandon())\n",
        '        if too_big:\n            body = b""\n',
        {"LIMIT-01": "expected 5xx; got 250"},
        ("limit::test_a_message_over_maxbytes_is_refused[in lines-12000 of 10000 bytes]",),
        "a message over maxbytes is cut, and taken",
    ),
    Mutant(
        "maxbytes-ignored", "smap", "message_bytes_max=settings.message_bytes_max", "message_bytes_max=None",
        {"LIMIT-01": "expected 5xx; got 250"},
        ("limit::test_a_message_over_maxbytes_is_refused[in one line-12000 of 10000 bytes]",),
        "the clause `maxbytes` is read and not obeyed",
    ),
    Mutant(
        "one-recipient-more", "session", "len(self._recipients) >= self._recipients_max",
        "len(self._recipients) > self._recipients_max",
        {"LIMIT-02": "with maxrecip"}, ("limit::test_recipients_over_maxrecip_are_refused[3]",),
        "maxrecip is off by one",
    ),
    Mutant(
        "one-recipient-less", "session", "len(self._recipients) >= self._recipients_max",
        "len(self._recipients) + 1 >= self._recipients_max",
        {"LIMIT-02": "with maxrecip"}, ("limit::test_recipients_over_maxrecip_are_refused[3]",),
        "maxrecip is off by one the other way",
    ),
    Mutant(
        "maxrecip-ignored", "smap", "recipients_max=settings.recipients_max", "recipients_max=None",
        {"CFG-01": "maxrecip"}, ("cfg::test_limits_and_directory_are_those_of_the_table_as_it_is_now",),
        "the clause `maxrecip` is read and not obeyed",
    ),
    Mutant(
        "refused-for-good-without-maxrecip", "netperm", 'self.recipients_max: int | None = self._value("maxrecip")',
        'self.recipients_max: int | None = self._value("maxrecip") or 100',
        {"CFG-12": "Too many recipients"}, ("cfg::test_without_limits_there_are_none",),
        "a limit that no table names",
    ),
    Mutant(
        "no-timeout", "smap", "            self._until_s = self._system.clock.monotonic() + self._timeout_s\n",
        "            self._until_s = None\n",
        {"LIMIT-03": "expected the end of its session"}, ("limit::test_a_silent_client_is_let_go[after HELO]",),
        "the clause `timeout` is read and not obeyed", scale=0.1,
    ),
    Mutant(
        "no-clock-in-data", "smap", "self._peer.recv(limit.RECEIVE_BYTES, self._until_s)",
        "self._peer.recv(limit.RECEIVE_BYTES, self._until_s if self._gathering is None else None)",
        {"SLOW-02": "expected its end"}, ("slow::test_a_client_that_stalls_is_let_go[inside the body]",),
        "the clock runs only while commands are read", scale=0.1,
    ),
    Mutant(
        "each-byte-winds-the-clock", "smap", "            data = self._peer.recv(limit.RECEIVE_BYTES, self._until_s)\n",
        "            self._restart_clock()\n            data = self._peer.recv(limit.RECEIVE_BYTES, self._until_s)\n",
        {"LIMIT-04": "still served"}, ("limit::test_a_client_that_says_a_little_now_and_then_is_let_go[NOOP]",),
        "one NOOP a minute holds a process for ever", scale=0.1,
    ),
    Mutant(
        "no-clock-while-it-talks", "smap", "self._peer.send(answer.line(self._system.hostname), self._until_s)",
        "self._peer.send(answer.line(self._system.hostname), None)",
        {"SLOW-03": "expected the end of its smap"},
        (r"slow::test_a_client_that_never_reads_is_let_go[b'NOOP\\r\\n']",),
        "a client that never reads holds its session for ever", scale=0.1,
    ),
    Mutant(
        "tail-of-a-long-line-runs", "session", "                    self._skipping = True\n",
        "                    pass\n",
        {"LIMIT-05": "expected 2 replies"}, ("limit::test_the_tail_of_a_long_line_is_no_command[NOOP-1000000]",),
        "a long line is refused, and its tail is a command that the client never gave",
    ),
    Mutant(
        "long-lines-split", "data", 'return text.replace(b"\\r\\n.", b"\\r\\n").replace(b"\\r\\n", b"\\n")',
        'text = text.replace(b"\\r\\n.", b"\\r\\n").replace(b"\\r\\n", b"\\n")\n'
        '        return __import__("_sre") and b"\\n".join(line[at : at + 1000] for line in text.split(b"\\n")'
        " for at in range(0, len(line) or 1, 1000))",
        {"LIMIT-06": "the message at the mailer"},
        ("limit::test_longer_lines_pass_whole_or_the_message_is_refused[only-2000]",),
        "a newline after each thousand bytes breaks signatures",
    ),
    Mutant(
        "message-held-in-memory", "smap", "        refusal = self._write(body)\n",
        '        self._kept = [*getattr(self, "_kept", []), body]\n        refusal = self._write(body)\n',
        {"LIMIT-07": "peak memory of smap"}, ("limit::test_memory_does_not_grow_with_the_message[in lines]",),
        "twenty clients with 50 MB each are a gigabyte",
    ),
    # the log
    Mutant(
        "takes-without-a-word", "smap", "        self._log_taken(self._gathering.name)\n", "",
        {"OPS-02": "the log after a message"}, ("ops::test_each_message_leaves_a_line",),
        "`Where is my mail?` has no answer",
    ),
    Mutant(
        "refuses-without-a-word", "smap",
        '            self._system.log.info(line("refused", peer=self._peer.address, reply=said, line=about))\n',
        "            del said, about\n",
        {"OPS-02": "the log after"}, ("ops::test_each_refusal_leaves_its_reason[a bad recipient]",),
        "an attack that was refused without a line is one that nobody knows of",
    ),
)  # fmt: skip
