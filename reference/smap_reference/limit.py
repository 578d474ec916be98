"""Every bound that is not a clause of netperm-table, with its unit and its source."""

COMMAND_LINE_BYTES_MAX = 1024  # with its CRLF; RFC 5321 4.5.3.1.4 asks for at least 512
LOCAL_PART_BYTES_MAX = 64  # RFC 5321 4.5.3.1.1
DOMAIN_BYTES_MAX = 255  # RFC 5321 4.5.3.1.2
HELLO_BYTES_MAX = 255  # a domain or an address literal
REFUSALS_MAX = 100  # refused commands in a session; a mail program makes a handful, a port scanner does not stop
HEADING_BYTES_MAX = 16 << 20  # about 500 000 recipients; so that smapd's memory is bounded by what smap accepts
RECEIVE_BYTES = 64 << 10  # one read from the client, and so one write to the spool file
READ_BYTES = 64 << 10  # one read of a spool file's heading
NAME_TRIES_MAX = 100  # names tried for one spool file
ASIDE_TRIES_MAX = 100  # names tried for one message in baddir, and to hold it there
# Of one mailer's recipients. Linux takes 2 MiB of arguments where the stack is 8 MiB, others a good deal less;
# POSIX promises 4096 bytes, which would split every second mailing list.
ARGUMENT_BYTES_MAX = 96 << 10
LOG_LINE_BYTES_MAX = 900  # RFC 3164 allows 1024 with the header
