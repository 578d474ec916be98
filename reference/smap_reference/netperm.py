"""netperm-table: text in, settings out, with the line number in every complaint. Pure.

    # a comment
    smap, smapd:  userid     uucp
    smap, smapd:  directory  /var/spool/smap
    smapd:        executable /usr/local/libexec/smapd
    *:            …          a line for every program

Strategy: fail closed (rule CFG-08). A program reads the lines that name it, or `*`, and takes each of them
seriously: a clause it does not know, a clause given twice with different values, or a value that cannot be
meant is a TableError, and the program takes no mail. Lines for other programs are not looked at. On a line
for several programs each finds the clauses of both of ours known.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT_PATH = "/usr/local/etc/netperm-table"
DEFAULT_WAKEUP_S = 60  # smapd manual, wakeup
DEFAULT_SENDMAIL = "/usr/sbin/sendmail"
DEFAULT_SESSIONS_MAX = 100
DEFAULT_DELIVERIES_MAX = 10
DEFAULT_MAILER_S_MAX = 3600
_NUMBER_MAX = 2**63 - 1
_USERID_NUMBER_MAX = 2**32 - 2  # the last one means `no change` to the kernel
_DIGITS_MAX = 19  # of the greatest of them; more are no number for int(), which has a bound of its own
_BYTE_ORDER_MARK = "\ufeff"
_CONTROLS = frozenset(map(chr, (*range(0x20), 0x7F))) - {"\t"}


class TableError(ValueError):
    """Why the table cannot be obeyed: one line with place, clause, and mend."""


def _whole(value: str) -> int | None:
    """The number that `value` is, if it is one that any clause could mean."""
    digits = value.lstrip("0") or "0"
    return int(digits) if value.isascii() and value.isdigit() and len(digits) <= _DIGITS_MAX else None


def _number(value: str) -> int:
    number = _whole(value)
    if number is None or not 1 <= number <= _NUMBER_MAX:
        raise ValueError("give a whole number, 1 or more; leave the line out for the default")
    return number


def _path(value: str) -> str:
    if not value.startswith("/") or len(value.split()) != 1:
        raise ValueError("give one absolute path")
    return value.rstrip("/") or "/"


def _command(value: str) -> list[str]:
    words = value.split()
    if not words[0].startswith("/"):
        raise ValueError("give the absolute path of a mailer, and after it any arguments it needs")
    if any(word.startswith("#") for word in words):
        raise ValueError("the mailer would get the comment as arguments; give comments lines of their own")
    return words


def _userid(value: str) -> str:
    if len(value.split()) != 1:
        raise ValueError("give one user name or number")
    if value.isascii() and value.isdigit():
        number = _whole(value)
        if number is None or number > _USERID_NUMBER_MAX:
            raise ValueError("give a number that is a user id")
        return str(number)
    if value.startswith("-"):
        raise ValueError("give a user name, or a number that is not negative")
    return value


_CLAUSES: "dict[str, Callable[[str], object]]" = {
    "userid": _userid,
    "directory": _path,
    "maxbytes": _number,
    "maxrecip": _number,
    "timeout": _number,
    "sessions": _number,
    "executable": _path,
    "sendmail": _command,
    "baddir": _path,
    "wakeup": _number,
    "deliveries": _number,
    "mailertime": _number,
}


class Settings:
    """What the table says to one program. The numbers are None where the table sets no such limit."""

    def __init__(self, table: str, program: str, values: dict[str, tuple[int, object]]) -> None:
        self._table = table
        self._program = program
        self._values = values
        self.userid: str | None = self._value("userid")
        self.directory: str = self._needed("directory")
        # smap
        self.message_bytes_max: int | None = self._value("maxbytes")
        self.recipients_max: int | None = self._value("maxrecip")
        self.timeout_s: int | None = self._value("timeout")
        self.sessions_max: int = self._value("sessions") or DEFAULT_SESSIONS_MAX
        # smapd
        self.executable: str = self._needed("executable") if program == "smapd" else ""
        self.sendmail: list[str] = self._value("sendmail") or [DEFAULT_SENDMAIL]
        self.baddir: str | None = self._value("baddir")
        self.wakeup_s: int = self._value("wakeup") or DEFAULT_WAKEUP_S
        self.deliveries_max: int = self._value("deliveries") or DEFAULT_DELIVERIES_MAX
        self.mailer_s_max: int = self._value("mailertime") or DEFAULT_MAILER_S_MAX

    def complaint(self, clause: str, mend: str) -> TableError:
        """A TableError about a clause whose value turned out, outside the table, to be of no use."""
        if clause not in self._values:
            return TableError(f"{self._table}: no line `{self._program}: {clause} …`: {mend}")
        line_number, value = self._values[clause]
        shown = " ".join(value) if isinstance(value, list) else value
        return TableError(f"{self._table} line {line_number}: {clause} {shown}: {mend}")

    # The values were typed by _CLAUSES; these two only say so.
    def _value(self, clause: str):  # type: ignore[no-untyped-def]
        return self._values[clause][1] if clause in self._values else None

    def _needed(self, clause: str) -> str:
        if clause not in self._values:
            raise self.complaint(clause, "this clause is mandatory; add the line")
        return str(self._values[clause][1])


def parse(text: str, table: str, program: str) -> Settings:
    """The settings for `program` (`smap` or `smapd`) in the text of the file `table`. Raises TableError."""
    values: dict[str, tuple[int, object]] = {}
    if text.startswith(_BYTE_ORDER_MARK):  # it would hide the name of the line's program
        raise TableError(f"{table} line 1: a byte order mark; save the table as plain text")
    for line_number, line in enumerate(text.split("\n"), 1):
        row = _row(line, f"{table} line {line_number}", program)
        if row is None:
            continue
        clause, value = row
        place = f"{table} line {line_number}: {clause}"
        if clause not in _CLAUSES:
            raise TableError(f"{place}: unknown clause; the clauses are {' '.join(sorted(_CLAUSES))}")
        if not value:
            raise TableError(f"{place}: no value; write it after the clause")
        try:
            meant = _CLAUSES[clause](value)
        except ValueError as error:
            raise TableError(f"{place} {value}: {error}") from None
        first = values.setdefault(clause, (line_number, meant))
        if first[1] != meant:
            raise TableError(f"{place} {value}: line {first[0]} says otherwise; keep one of them")
    return Settings(table, program, values)


def _row(line: str, place: str, program: str) -> tuple[str, str] | None:
    """The clause and value of a line that `program` obeys; None for any other line."""
    text = line.strip()
    if not text or text.startswith("#"):
        return None
    applications, colon, rest = text.partition(":")
    names = [name.strip() for name in applications.split(",")]
    if not colon:
        # Whose line this was meant to be cannot be told: take it as ours only when its list of names has ours.
        if any(name.split()[:1] == [program] for name in names):
            raise TableError(f"{place}: no colon after the program's name; write `{program}: clause value`")
        return None
    if program not in names and "*" not in names:
        return None
    words = rest.split(None, 1)
    if not words:
        raise TableError(f"{place}: no clause after the colon; write `{program}: clause value`")
    clause = words[0]
    if program not in names and clause not in _CLAUSES:
        return None  # `*` speaks to every program of the toolkit, with clauses that are none of ours
    if not _CONTROLS.isdisjoint(text):  # NUL would end a path early, or the program; others hide what is meant
        raise TableError(f"{place}: a control character; write the line in plain text")
    return clause, words[1].strip() if len(words) > 1 else ""
