"""The rules: what they may say, kept in the database, written as TOML."""

import re
from collections.abc import Sequence
from datetime import timedelta
from math import inf
from typing import Annotated, Any, Literal, NamedTuple, get_args

import msgspec
import psycopg
import tomli_w
from msgspec import Meta, Struct, field
from psycopg import Connection
from psycopg.rows import dict_row
from psycopg.sql import SQL, Identifier

from labmon.config.check import in_words
from labmon.config.units import Seconds, decode
from labmon.errors import UsageError
from labmon.messages import Id, Line, Readings, Severity
from labmon.store.inventory.maintenance import Scope
from labmon.store.metrics.kinds import bounds_of
from labmon.text import near, nearest, read_toml

# fmt: off
Kind = Literal[
    "threshold", "rate", "changed", "gone", "no_data", "lab_down", "network_down",
    "queue_backlog", "collector_down", "spool_full",
]
# fmt: on
KINDS: tuple[str, ...] = get_args(Kind)
CHOICES: dict[str, tuple[str, ...]] = {"kind": KINDS, "severity": get_args(Severity)}
HINTS = {
    "name": "Small letters, digits and _, such as cpu_high",
    "kind": f"There are: {', '.join(KINDS)}",
    "severity": f"There are: {', '.join(get_args(Severity))}",
    "comparison": "There are: >, >=, <, <=",
    "note": "One line",
}
"""What a key may be, where the type alone does not tell people."""
OF_A_METRIC = ("threshold", "rate", "changed", "gone")
OVER_A_SPAN = {"rate": Seconds(6 * 3600), "lab_down": Seconds(300), "network_down": Seconds(300)}
"""The kinds that look back, and how far where the rule does not say."""
METRICS = Readings.__struct_fields__

Name = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
Number = Annotated[float, Meta(ge=-1e15, le=1e15)]


class Rule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A rule as the file and the command line say it.

    What `threshold` is to each kind: store/schema/tables/alert_rules.sql. Raises ValueError for what
    contradicts itself.
    """

    name: Name
    kind: Kind = "threshold"
    metric: str | None = None
    comparison: Literal[">", ">=", "<", "<="] = ">"
    threshold: Number = 0
    clear: Number | None = None
    """Over when it is back on this side of it. None: the threshold."""
    hold: Seconds = field(default=Seconds(0), name="for")
    clear_for: Seconds | None = None
    """None: as long as `for`."""
    repeat: Seconds = Seconds(4 * 3600)
    """Seconds until the notification is repeated, then doubled each time, up to a day. 0: never repeated."""
    max_gap: Seconds = Seconds(3 * 3600)
    """Readings further apart prove nothing about the time between."""
    span: Seconds | None = None
    least: Annotated[int, Meta(ge=1, le=10_000)] = 3
    steady: Seconds | None = None
    """Of `no_data`: only machines that were measured in every hour of this time, until they fell silent."""
    severity: Severity = "warning"
    dept: Id | None = None
    lab: Id | None = None
    system: Id | None = None
    enabled: bool = True
    note: Line | None = None

    def __post_init__(self) -> None:
        if (self.metric is not None) != (self.kind in OF_A_METRIC):
            raise ValueError(f"a rule of kind {self.kind} {'has no' if self.metric else 'needs a'} `metric`")
        if self.metric is not None and self.metric not in METRICS:
            raise ValueError(f"there is no metric {self.metric!r}{nearest(self.metric, METRICS)}")
        if self.clear is not None and (
            self.clear > self.threshold if self.comparison.startswith(">") else self.clear < self.threshold
        ):
            raise ValueError(
                f"`clear` = {self.clear:g} is on the wrong side: the rule fires at "
                f"{self.comparison} {self.threshold:g} and would be over at once"
            )
        if sum(one is not None for one in (self.dept, self.lab, self.system)) > 1:
            raise ValueError("say one of `dept`, `lab` and `system`, or none")
        if self.steady is not None and self.kind != "no_data":
            raise ValueError(f"a rule of kind {self.kind} has no `steady`")
        if not all(one is None or one for one in (self.max_gap, self.span, self.steady)):
            raise ValueError("`max_gap`, `span` and `steady` are longer than nothing")

    @property
    def scope(self) -> Scope:
        """Whose rule it is."""
        return Scope(self.dept, self.lab, self.system)


_COLUMNS = {
    "hold": "hold",
    "clear": "clear_threshold",
    "clear_for": "clear_hold",
    "repeat": "repeat_after",
    "dept": "dept_id",
    "lab": "lab_id",
    "system": "system_id",
}
"""Where the column has another name than the field."""


def rules(connection: Connection[Any]) -> dict[int, Rule]:
    """All of them by number, ordered by name and from wide to narrow."""
    with connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute(
            "SELECT * FROM alert_rules "
            "ORDER BY name, system_id NULLS FIRST, lab_id NULLS FIRST, dept_id NULLS FIRST"
        )
        return {row["rule_id"]: _of_row(row) for row in cursor}


def _of_row(row: dict[str, Any]) -> Rule:
    values = {name: row[_COLUMNS.get(name, name)] for name in Rule.__struct_fields__}
    seconds = {
        name: Seconds(value.total_seconds()) for name, value in values.items() if isinstance(value, timedelta)
    }
    if seconds["clear_for"] == seconds["hold"]:
        seconds["clear_for"] = None  # type: ignore[assignment]
    return Rule(**values | seconds)


def find(connection: Connection[Any], which: str) -> tuple[int, Rule]:
    """The rule of this number or, where only one has it, of this name. Raises UsageError."""
    known = rules(connection)
    if which.isascii() and which.isdigit() and int(which) in known:
        return int(which), known[int(which)]
    named = [(number, rule) for number, rule in known.items() if rule.name == which]
    if len(named) == 1:
        return named[0]
    if named:
        ids = ", ".join(f"{number} ({rule.scope})" for number, rule in named)
        raise UsageError(f"several rules are named {which}; say which by its ID: {ids}")
    names = [rule.name for rule in known.values()]
    raise UsageError(f"there is no rule {which}{near(which, names) or '. See: labmon alerts rules list'}")


class Limit(NamedTuple):
    """Where a rule begins to fire for one system."""

    metric: str
    comparison: str
    threshold: float
    severity: str
    rule: str


def limits(connection: Connection[Any], system: int) -> list[Limit]:
    """The thresholds of the rules that count for a system, by metric."""
    rows = connection.execute(
        "SELECT metric, comparison, threshold, severity, name FROM alert_rules "
        "JOIN alert_coverage AS cover USING (rule_id) WHERE cover.system_id = %s AND kind = 'threshold' "
        "ORDER BY metric, threshold",
        [system],
    )
    return [Limit(*row) for row in rows]


_OF_A_KIND: dict[str, tuple[float, float, str]] = {
    "rate": (0, 1e6, "hours"),
    "changed": (0, inf, "percent"),
    "no_data": (0, inf, "seconds"),
    "lab_down": (0, 100, "percent"),
    "network_down": (0, 100, "percent"),
    "queue_backlog": (0, inf, "messages"),
    "collector_down": (0, inf, "seconds"),
    "spool_full": (0, 100, "percent"),
}
"""Between what the value of a rule of each kind is, and what it is."""


def bounds(rule: Rule) -> tuple[float, float, str] | None:
    """The smallest and the largest value that the rule can meet, and what they are of; None for a kind
    without a limit."""
    if rule.kind == "threshold" and rule.metric is not None:
        return *bounds_of(rule.metric), rule.metric
    return _OF_A_KIND.get(rule.kind)


def check_bounds(rule: Rule) -> None:
    """Raise UsageError for a limit that no value can be beyond, or none short of: the rule would never fire,
    or never end. One that is not enabled may say what it likes."""
    found = bounds(rule)
    if found is None or not rule.enabled:
        return
    least, most, what = found
    between = f"from {least:g} to {most:g}" if most < inf else f"{least:g} or more"
    upwards, inclusive = rule.comparison.startswith(">"), rule.comparison.endswith("=")
    end = most if upwards else least  # a value at this end is the last that can fire it
    beyond = rule.threshold > end if upwards else rule.threshold < end
    if beyond or (rule.threshold == end and not inclusive):
        raise UsageError(
            f"rule {rule.name}: {what} is {between}, so it is never {rule.comparison} {rule.threshold:g} "
            "and the rule would never fire"
        )
    if not least <= rule.threshold <= most:
        raise UsageError(
            f"rule {rule.name}: {what} is {between}, so it is always {rule.comparison} {rule.threshold:g} "
            "and the rule would always fire"
        )
    if rule.clear is not None and not least <= rule.clear <= most:
        raise UsageError(
            f"rule {rule.name}: {what} is {between}, so it is never back at `clear` = {rule.clear:g} and the "
            "alert would never end"
        )


def put(connection: Connection[Any], rule: Rule, number: int | None = None) -> int:
    """Write a rule over the one of this number; without a number over that of its name and scope, if any.

    In the caller's transaction; returns its number. Raises UsageError for a department, lab or system that
    does not exist, for a name and scope that another rule has, and as `check_bounds`.
    """
    check_bounds(rule)
    values = {_COLUMNS.get(name, name): getattr(rule, name) for name in Rule.__struct_fields__}
    values |= {"span": rule.span or OVER_A_SPAN.get(rule.kind)}
    values["clear_hold"] = rule.hold if rule.clear_for is None else rule.clear_for
    values = {k: timedelta(seconds=v) if isinstance(v, Seconds) else v for k, v in values.items()}
    if number is None:
        number = _same(connection, rule)
    names = SQL(", ").join(map(Identifier, values))
    places = SQL(", ").join(SQL("%s") for _ in values)
    insert = SQL("INSERT INTO alert_rules ({}) VALUES ({}) RETURNING rule_id").format(names, places)
    update = SQL("UPDATE alert_rules SET ({}) = ROW ({}) WHERE rule_id = %s RETURNING rule_id").format(
        names, places
    )
    try:
        with connection.transaction():
            if number is None:
                row = connection.execute(insert, list(values.values())).fetchone()
            else:
                row = connection.execute(update, [*values.values(), number]).fetchone()
    except psycopg.errors.ForeignKeyViolation as error:
        raise UsageError(f"rule {rule.name}: there is no {rule.scope}") from error
    except psycopg.errors.UniqueViolation as error:
        raise UsageError(f"there is another rule {rule.name} for {rule.scope}") from error
    if row is None:
        raise UsageError(f"there is no rule {number}")
    return int(row[0])


def _same(connection: Connection[Any], rule: Rule) -> int | None:
    row = connection.execute(
        "SELECT rule_id FROM alert_rules "
        "WHERE name = %s AND (dept_id, lab_id, system_id) IS NOT DISTINCT FROM "
        "(%s::integer, %s::integer, %s::integer)",
        [rule.name, rule.dept, rule.lab, rule.system],
    ).fetchone()
    return row[0] if row else None


def remove(connection: Connection[Any], number: int) -> None:
    """Take it away; its alerts end, and stay in the history."""
    connection.execute("DELETE FROM alert_rules WHERE rule_id = %s", [number])


def to_toml(written: Sequence[Rule]) -> str:
    """The rules as a file, without what is as always."""
    tables = []
    for rule in written:
        given = {info.encode_name: getattr(rule, info.name) for info in msgspec.structs.fields(rule)}
        usual = {info.encode_name: info.default for info in msgspec.structs.fields(rule)}
        usual |= {"span": OVER_A_SPAN.get(rule.kind)}
        tables.append({name: _plain(value) for name, value in given.items() if value != usual[name]})
    return tomli_w.dumps({"rule": tables})


def _plain(value: Any) -> Any:
    if isinstance(value, Seconds):
        return str(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def from_toml(text: str, source: str) -> list[Rule]:
    """The rules of a file. Raises UsageError that names the file, the rule and the key."""
    try:
        document = read_toml(text)
    except ValueError as error:
        raise UsageError(f"{source}: not TOML: {error}") from error
    tables = document.pop("rule", None)
    if document or not isinstance(tables, list):
        raise UsageError(f"{source}: rules are written as tables [[rule]]; none at all as rule = []")
    found: list[Rule] = []
    for place, table in enumerate(tables, start=1):
        name = table.get("name", f"number {place}") if isinstance(table, dict) else f"number {place}"
        found.append(convert(table, f"{source}: rule {name}"))
    keys = [(rule.name, rule.scope) for rule in found]
    for key in keys:
        if keys.count(key) > 1:
            raise UsageError(f"{source}: there are two rules {key[0]} for {key[1]}")
    return found


def convert(table: Any, source: str) -> Rule:
    """A rule from its keys and values. Raises UsageError that begins with the source and names the key."""
    try:
        return msgspec.convert(table, Rule, dec_hook=decode)
    except msgspec.ValidationError as error:
        raise UsageError(f"{source}: {_in_words(str(error))}") from error


def _in_words(said: str) -> str:
    """msgspec's message, which names the key last and the types as Python does."""
    said, _, place = said.replace("Object ", "").removesuffix(" - at `$`").partition(" - at `$.")
    key = place.rstrip("`")
    if not key:
        return said
    if key in HINTS:
        typed = re.fullmatch(r"Invalid enum value '(.*)'", said)
        return f"{key}: {HINTS[key]}{near(typed[1], CHOICES.get(key, ())) if typed else ''}"
    if re.search(r"float` [<>]=", said):
        return f"{key}: expected a number between -1e15 and 1e15"
    return f"{key}: {in_words(said)}"
