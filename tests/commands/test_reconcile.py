"""Others' writes brought back after a restore, judged row by row from outside."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import stat
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from heroku_sandbox import App, Sandbox, TransferAction
from tests.commands.test_console import on_a_terminal, settled
from tests.hook import Hook, Result, finish, small_app
from tests.judge import execute, query
from tests.others import meanwhile
from tests.phase.test_disturbed import while_captured
from tests.phase.test_nothing_lost import wait_for

BROKEN = "UPDATE learners SET points = points + 1000 WHERE id <= 3;\nSELECT pg_sleep(300) /* waits */;\n"
"""A migration that has committed something when the others write, and fails when it is cancelled."""

SHOP = (
    "CREATE TABLE customers (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text UNIQUE NOT NULL)",
    "CREATE TABLE orders (id serial PRIMARY KEY, customer bigint REFERENCES customers, cents integer NOT NULL"
    " CHECK (cents >= 0), gross integer GENERATED ALWAYS AS (cents * 2) STORED)",
    "CREATE TABLE audit (id serial PRIMARY KEY, what text)",
    "CREATE TABLE scribbles (word text)",
    "CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS"
    " $$ BEGIN INSERT INTO public.audit (what) VALUES (TG_OP); RETURN NEW; END $$",
    "CREATE TRIGGER noted AFTER INSERT OR UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION noted()",
    "CREATE TRIGGER silent AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION noted()",
    "ALTER TABLE orders DISABLE TRIGGER silent",
    "INSERT INTO customers (email) SELECT 'c' || n FROM generate_series(1, 20) AS n",
    "INSERT INTO orders (customer, cents) SELECT n, n * 100 FROM generate_series(1, 20) AS n",
)

OTHERS = (
    "INSERT INTO customers (email) VALUES ('new')",
    "INSERT INTO orders (customer, cents) VALUES (21, 2100), (1, 150)",
    "UPDATE orders SET cents = 999 WHERE id = 5",
    "DELETE FROM orders WHERE id = 6",
)


ASLEEP = "state = 'active' AND query LIKE '%/* waits */%' AND datname = current_database() AND pid <> pg_backend_pid()"
"""Active: a session that asked the same a moment ago, and is about to end, has these words in its last query, too."""


def restored(
    hook: Hook,
    others: Sequence[str],
    *,
    prepare: Sequence[str] = SHOP,
    migration: str = BROKEN,
    within: float = 60,
) -> Result:
    """A release that breaks after it has committed, while others write, and is taken back; the salvage is b002."""
    url = hook.app.database_url
    execute(url, *prepare)
    small_app(hook.folder, {"002": migration})
    process = hook.start()
    wait_for(lambda: query(url, f"SELECT 1 FROM pg_stat_activity WHERE {ASLEEP}"))
    execute(url, *others)
    execute(url, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {ASLEEP}")
    result = finish(process, within=within)
    assert (result.last["outcome"], result.last["salvage"]) == ("restored", "b002"), result.last
    return result


@pytest.fixture
def shop(hook: Hook) -> Hook:
    """An app whose orders and customers of the release's time are in the salvage only."""
    restored(hook, OTHERS)
    return hook


def orders(app: App) -> list[tuple[object, ...]]:
    return query(app.database_url, "SELECT id, customer, cents FROM orders WHERE id IN (5, 6) OR id > 20 ORDER BY id")


BEFORE = [(5, 5, 500), (6, 6, 600)]
BOTH = ("--table", "orders", "--table", "public.customers")


def test_rows_of_others_come_back_and_nothing_else(shop: Hook, app: App) -> None:
    assert orders(app) == BEFORE

    result = shop.run("reconcile", "b002", *BOTH, "--yes")

    assert result.exit_code == 0, result.stderr.decode()
    assert "public.orders: 2 inserted.\n" in result.stdout.decode()
    assert orders(app) == [*BEFORE, (21, 21, 2100), (22, 1, 150)]
    assert query(app.database_url, "SELECT id, email FROM customers WHERE id > 20") == [(21, "new")]
    assert query(app.database_url, "SELECT sum(gross) = 2 * sum(cents) FROM orders") == [(True,)]
    assert query(app.database_url, "SELECT count(*) FROM learners WHERE points > 1000") == [(0,)]


def test_tables_that_only_others_wrote_come_back_without_being_named(hook: Hook, app: App, sandbox: Sandbox) -> None:
    execute(app.database_url, *SHOP)
    small_app(hook.folder, {"002": "UPDATE learners SET points = points + 1000;\nSELECT 1/0;\n"})
    sandbox.transfer_fault("backup", TransferAction.SLOW, seconds=2)
    wrote = ("INSERT INTO customers (email) VALUES ('new')", "INSERT INTO learners (name) VALUES ('New')")
    with meanwhile(while_captured(app, wrote, late=1.0)):
        result = hook.run()
    assert (result.last["outcome"], result.last["salvage"]) == ("restored", "b002"), result.last
    assert result.last["facts"]["taken_back"]["only_others"] == ["public.customers"]

    done = hook.run("reconcile", "--yes")

    assert done.exit_code == 0, done.stderr.decode()
    assert "public.customers: only others wrote to it." in done.stdout.decode()
    assert "public.learners: the migration wrote to it, and others may have, too" in done.stdout.decode()
    assert query(app.database_url, "SELECT id, email FROM customers WHERE id > 20") == [(21, "new")]
    assert query(app.database_url, "SELECT count(*) FROM learners WHERE name = 'New'") == [(0,)]


def test_what_others_wrote_while_the_migration_ran_comes_back_unasked(hook: Hook, app: App) -> None:
    url = app.database_url
    execute(url, *SHOP)
    small_app(hook.folder, {"002": BROKEN})
    with psycopg.connect(url, autocommit=True) as customer:  # new sessions might be the migration's own
        process = hook.start()
        wait_for(lambda: customer.execute(f"SELECT 1 FROM pg_stat_activity WHERE {ASLEEP}").fetchall())
        for statement in (*OTHERS, "UPDATE learners SET name = 'New' WHERE id = 1"):
            customer.execute(statement)
        customer.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {ASLEEP}")
        result = finish(process)
    assert result.last["outcome"] == "restored", result.last
    told = result.last["facts"]["taken_back"]
    assert told["migration"] == ["public.alembic_version", "public.learners"]
    assert told["by_others"].items() >= {"public.audit": 3, "public.customers": 1, "public.orders": 4}.items()
    assert told["meanwhile"].keys() == {"public.alembic_version", "public.learners"} & told["meanwhile"].keys()

    done = hook.run("reconcile", "--with-updates", "--with-deletes", "--yes")

    assert done.exit_code == 0, done.stderr.decode()
    assert "public.orders: only others wrote to it." in done.stdout.decode()
    assert "public.learners: the migration wrote to it, and others may have, too" in done.stdout.decode()
    assert orders(app) == [(5, 5, 999), (21, 21, 2100), (22, 1, 150)]
    assert query(url, "SELECT count(*) FROM audit") == [(23,)]
    assert query(url, "SELECT count(*) FROM learners WHERE points >= 1000 OR name = 'New'") == [(0,)]


def test_the_list_says_per_table_what_is_only_in_one_or_different(shop: Hook, app: App) -> None:
    result = shop.run("reconcile")

    assert (result.exit_code, orders(app)) == (0, BEFORE)
    shown = result.stdout.decode()
    assert "b002 is the salvage of release v7" in shown
    rows = {line.split()[0]: line.split()[1:] for line in shown.splitlines() if line.startswith("  ")}
    assert rows["public.orders"] == ["2", "1", "1"]
    assert rows["public.customers"] == ["1", "0", "0"]
    assert rows["public.learners"] == ["0", "0", "3"]
    assert "public.scribbles: it has no primary key" in shown
    assert "Who wrote what is not known" in shown


def test_it_is_the_same_for_machines(shop: Hook) -> None:
    shown = json.loads(shop.run("reconcile", "--table", "orders", "--json").stdout)

    (line,) = shown["tables"]
    assert (line["table"], line["only_in_salvage"], line["only_in_database"], line["different"]) == (
        "public.orders",
        2,
        1,
        1,
    )
    assert line["chosen"] is True


def test_a_second_time_there_is_nothing_left_to_put_back(shop: Hook, app: App) -> None:
    every = (*BOTH, "--with-updates", "--with-deletes", "--yes")
    assert shop.run("reconcile", *every).exit_code == 0
    first = query(app.database_url, "SELECT * FROM orders ORDER BY id")

    again = shop.run("reconcile", *every)

    assert again.exit_code == 0, again.stderr
    assert "inserted" not in again.stdout.decode()
    assert query(app.database_url, "SELECT * FROM orders ORDER BY id") == first


def test_updates_and_deletes_come_back_only_where_they_are_asked_for(shop: Hook, app: App) -> None:
    assert shop.run("reconcile", *BOTH, "--with-updates", "--yes").exit_code == 0
    assert orders(app)[:2] == [(5, 5, 999), (6, 6, 600)]

    assert shop.run("reconcile", *BOTH, "--with-deletes", "--yes").exit_code == 0

    assert orders(app)[:1] == [(5, 5, 999)]
    assert 6 not in {row[0] for row in orders(app)}


def test_what_was_written_since_the_restore_is_never_undone(shop: Hook, app: App) -> None:
    execute(
        app.database_url,
        "UPDATE orders SET cents = 7 WHERE id = 5",
        "INSERT INTO orders (id, customer, cents) VALUES (500, 1, 1)",
    )
    every = ("--with-updates", "--with-deletes", "--yes")

    refused = shop.run("reconcile", *BOTH, *every)

    assert refused.exit_code == 3
    assert b"a row of this key was written in the database after the restore" in refused.stderr
    assert orders(app) == [(5, 5, 7), (6, 6, 600), (500, 1, 1)]

    assert shop.run("reconcile", *BOTH, *every, "--skip-conflicts").exit_code == 0

    assert orders(app) == [(5, 5, 7), (21, 21, 2100), (22, 1, 150), (500, 1, 1)]


def test_a_key_that_was_given_away_again_is_a_conflict(shop: Hook, app: App) -> None:
    execute(app.database_url, "INSERT INTO customers (email) VALUES ('somebody else')")
    assert query(app.database_url, "SELECT id FROM customers WHERE email = 'somebody else'") == [(21,)]

    assert shop.run("reconcile", *BOTH, "--yes").exit_code == 3
    assert orders(app) == BEFORE


def test_conflicts_stop_everything_and_their_rows_are_in_a_file(shop: Hook, app: App) -> None:
    execute(app.database_url, "INSERT INTO customers (id, email) OVERRIDING SYSTEM VALUE VALUES (77, 'new')")

    result = shop.run("reconcile", *BOTH, "--yes")

    assert result.exit_code == 3
    assert b"customers_email_key" in result.stderr
    assert b"orders_customer_fkey" in result.stderr, "its order cannot come without it"
    assert orders(app) == BEFORE
    (file,) = shop.folder.glob("*customers*.csv")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    (row,) = csv.DictReader(file.read_text().splitlines())
    assert (row["id"], row["email"]) == ("21", "new")

    assert shop.run("reconcile", *BOTH, "--yes", "--skip-conflicts").exit_code == 0

    assert orders(app) == [*BEFORE, (22, 1, 150)]


def test_one_conflict_among_many_rows_is_found(hook: Hook, app: App) -> None:
    many = "INSERT INTO customers (email) SELECT 'late ' || n FROM generate_series(1, 3000) AS n"
    restored(hook, [many])
    execute(
        app.database_url,
        "INSERT INTO customers (id, email) OVERRIDING SYSTEM VALUE VALUES (90001, 'late 17'), (90002, 'late 2999')",
    )

    assert hook.run("reconcile", "--table", "customers", "--skip-conflicts", "--yes").exit_code == 0

    assert query(app.database_url, "SELECT count(*) FROM customers WHERE email LIKE 'late%'") == [(3000,)]
    (file,) = hook.folder.glob("*customers*.csv")
    assert sorted(row["email"] for row in csv.DictReader(file.read_text().splitlines())) == ["late 17", "late 2999"]


def test_a_row_that_is_referred_to_is_not_deleted(hook: Hook, app: App) -> None:
    restored(hook, ["DELETE FROM orders WHERE id = 9", "DELETE FROM customers WHERE id = 9"])
    execute(
        app.database_url,
        "ALTER TABLE orders DROP CONSTRAINT orders_customer_fkey, ADD CONSTRAINT again"
        " FOREIGN KEY (customer) REFERENCES customers ON DELETE CASCADE",
    )

    result = hook.run("reconcile", "--table", "customers", "--with-deletes", "--yes")

    assert result.exit_code == 3
    assert b"rows of other tables still refer to it" in result.stderr
    assert query(app.database_url, "SELECT count(*) FROM orders WHERE id = 9") == [(1,)]

    assert hook.run("reconcile", *BOTH, "--with-deletes", "--yes").exit_code == 0
    assert query(app.database_url, "SELECT id FROM customers WHERE id = 9") == []


def test_tables_that_refer_to_each_other_come_back_together(hook: Hook, app: App) -> None:
    circle = (
        "CREATE TABLE heads (id int PRIMARY KEY, best int)",
        "CREATE TABLE limbs (id int PRIMARY KEY, head int NOT NULL REFERENCES heads)",
        "ALTER TABLE heads ADD FOREIGN KEY (best) REFERENCES limbs DEFERRABLE",
    )
    others = [
        "BEGIN; SET CONSTRAINTS ALL DEFERRED; INSERT INTO heads VALUES (1, 2); INSERT INTO limbs VALUES (2, 1); COMMIT"
    ]
    restored(hook, others, prepare=circle)

    result = hook.run("reconcile", "--table", "limbs", "--table", "heads", "--yes")

    assert result.exit_code == 0, result.stderr
    assert query(app.database_url, "SELECT best, head FROM heads JOIN limbs ON limbs.id = best") == [(2, 1)]


def test_odd_names_types_and_partitions_come_back_as_they_were(hook: Hook, app: App) -> None:
    odd = (
        'CREATE SCHEMA "My ""Shop"""',
        'CREATE TABLE "My ""Shop"""."50% of, (x)" ("a%s b" text, "KEY" uuid, doc jsonb, raw bytea, at point,'
        ' tags text[], PRIMARY KEY ("KEY", "a%s b"))',
        "CREATE TABLE events (id int, day date, PRIMARY KEY (id, day)) PARTITION BY RANGE (day)",
        "CREATE TABLE events_old PARTITION OF events FOR VALUES FROM (MINVALUE) TO ('2030-01-01')",
    )
    table = '"My ""Shop"""."50% of, (x)"'
    insert = (
        f"INSERT INTO {table} SELECT 'tab\t\\. ' || chr(10) || n, md5(n::text)::uuid, '{{\"a\": [1, null]}}',"
        " '\\x00ff', '(1,2)', ARRAY[NULL, 'x,y', ''] FROM generate_series(1, 3) AS n"
    )
    kept = f"INSERT INTO {table} VALUES ('kept', md5('')::uuid, '1', NULL, NULL, '{{}}')"
    restored(hook, [insert, "INSERT INTO events VALUES (1, '2026-01-01')"], prepare=[*odd, kept])
    assert query(app.database_url, f"SELECT count(*) FROM {table}") == [(1,)]

    options = ("--table", 'My "Shop".50% of, (x)', "--table", "events_old", "--with-updates", "--yes")
    result = hook.run("reconcile", *options)

    assert result.exit_code == 0, result.stderr
    assert b"updated" not in result.stdout, "the row that both have is the same"
    whole = f"SELECT md5(string_agg(t::text, '' ORDER BY \"KEY\")) FROM {table} AS t"
    brought_back = query(app.database_url, whole)
    execute(app.database_url, f"DELETE FROM {table} WHERE \"KEY\" <> md5('')::uuid", insert)
    assert query(app.database_url, whole) == brought_back
    assert query(app.database_url, "SELECT id FROM events") == [(1,)]


def test_sequences_move_on_and_never_back(shop: Hook, app: App) -> None:
    execute(app.database_url, "SELECT setval('customers_id_seq', 5000)")

    assert shop.run("reconcile", *BOTH, "--yes").exit_code == 0

    execute(app.database_url, "INSERT INTO orders (customer, cents) VALUES (1, 1)")
    execute(app.database_url, "INSERT INTO customers (email) VALUES ('next')")
    assert query(app.database_url, "SELECT max(id) FROM orders") == [(23,)]
    assert query(app.database_url, "SELECT max(id) FROM customers") == [(5001,)]


TRIGGERS = "SELECT tgname, tgenabled::text FROM pg_trigger WHERE NOT tgisinternal ORDER BY tgname"


def test_triggers_do_not_fire_and_stand_as_they_stood(shop: Hook, app: App) -> None:
    execute(app.database_url, "ALTER TABLE orders ENABLE ALWAYS TRIGGER noted")
    before = query(app.database_url, TRIGGERS)
    count = query(app.database_url, "SELECT count(*) FROM audit")

    assert shop.run("reconcile", *BOTH, "--yes").exit_code == 0

    assert query(app.database_url, "SELECT count(*) FROM audit") == count
    assert query(app.database_url, TRIGGERS) == before == [("noted", "A"), ("silent", "D")]


def test_triggers_fire_where_that_is_wanted(shop: Hook, app: App) -> None:
    ((before,),) = query(app.database_url, "SELECT count(*) FROM audit")

    assert shop.run("reconcile", *BOTH, "--fire-triggers", "--yes").exit_code == 0

    assert query(app.database_url, f"SELECT count(*) - {before} FROM audit") == [(2,)]


@pytest.mark.parametrize("options", [("--dry-run", "--yes"), ()])
def test_without_a_yes_nothing_is_written(shop: Hook, app: App, options: tuple[str, ...]) -> None:
    result = shop.run("reconcile", *BOTH, *options)

    assert (result.exit_code, orders(app)) == (0, BEFORE)
    assert "*  public.orders" in result.stdout.decode()


def test_on_a_terminal_the_name_of_the_app_has_to_be_typed(shop: Hook, app: App) -> None:
    exit_code, shown = on_a_terminal(shop, "reconcile", *BOTH, typed="yes")
    assert (exit_code, orders(app)) == (3, BEFORE), shown
    assert f"{app.name} was not typed" in settled(shown)

    exit_code, shown = on_a_terminal(shop, "reconcile", *BOTH, typed=app.name)

    assert exit_code == 0, shown
    assert len(orders(app)) == len(BEFORE) + 2


def test_killed_in_the_middle_nothing_is_written_and_it_can_be_run_again(shop: Hook, app: App) -> None:
    with psycopg.connect(app.database_url) as holder:
        holder.execute("SELECT FROM customers WHERE id = 1 FOR UPDATE; UPDATE orders SET cents = cents WHERE id = 1")
        process = shop.start("reconcile", *BOTH, "--yes")
        waiting = "SELECT 1 FROM pg_locks WHERE NOT granted AND mode = 'ShareRowExclusiveLock'"
        wait_for(lambda: query(app.database_url, waiting))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        holder.rollback()
    wait_for(lambda: not query(app.database_url, "SELECT 1 FROM pg_locks WHERE locktype = 'advisory'"))
    assert orders(app) == BEFORE

    assert shop.run("reconcile", *BOTH, "--yes").exit_code == 0
    assert len(orders(app)) == len(BEFORE) + 2


def test_killed_between_the_rows_and_the_commit_nothing_is_written(shop: Hook, app: App) -> None:
    execute(
        app.database_url,
        "CREATE FUNCTION waits() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(60); RETURN NEW; END $$",
        "CREATE TRIGGER waits AFTER INSERT ON orders FOR EACH STATEMENT EXECUTE FUNCTION waits()",
    )
    process = shop.start("reconcile", *BOTH, "--fire-triggers", "--yes")
    asleep = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
    wait_for(lambda: query(app.database_url, asleep))
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    wait_for(lambda: not query(app.database_url, asleep))

    assert orders(app) == BEFORE
    assert query(app.database_url, "SELECT count(*) FROM customers WHERE id > 20") == [(0,)]


def test_a_busy_table_is_left_alone(shop: Hook, app: App) -> None:
    with psycopg.connect(app.database_url) as holder:
        holder.execute("UPDATE orders SET cents = cents WHERE id = 1")
        result = shop.run("reconcile", *BOTH, "--yes")

    assert result.exit_code == 1
    assert b"lock timeout" in result.stderr
    assert orders(app) == BEFORE


def test_it_is_refused_while_a_release_runs(shop: Hook, app: App) -> None:
    with psycopg.connect(app.database_url, autocommit=True, application_name="release-hook-other") as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", [0x52454C45415345])
        result = shop.run("reconcile", *BOTH, "--yes")

    assert (result.exit_code, orders(app)) == (3, BEFORE)
    assert b"Another run holds the lock" in result.stderr


def test_the_salvage_of_a_run_that_was_killed_and_recovered_is_found(hook: Hook, app: App) -> None:
    execute(app.database_url, *SHOP)
    small_app(hook.folder, {"002": BROKEN})
    process = hook.start()
    wait_for(lambda: query(app.database_url, f"SELECT 1 FROM pg_stat_activity WHERE {ASLEEP}"))
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    execute(app.database_url, *OTHERS)
    assert hook.run("recover", "--restore").last["outcome"] == "restored"
    assert orders(app) == BEFORE

    result = hook.run("reconcile", *BOTH, "--yes")

    assert result.exit_code == 0, result.stderr
    assert orders(app) == [*BEFORE, (21, 21, 2100), (22, 1, 150)]


@pytest.mark.real_start  # what a fork shares with the process that it came from counts as its own
@pytest.mark.thin(1)
@pytest.mark.parametrize("megabytes", [10, 300])
def test_memory_stays_flat_whatever_the_table_holds(hook: Hook, app: App, megabytes: int) -> None:
    row = "(SELECT string_agg(md5(random()::text || n || m), '') FROM generate_series(1, 32) AS m)"
    many = f"INSERT INTO big SELECT n, {row} FROM generate_series(1, {megabytes * 1000}) AS n"
    restored(hook, [many], prepare=["CREATE TABLE big (id int PRIMARY KEY, noise text)"], within=300)
    process = hook.start("reconcile", "--table", "big", "--yes")

    peak = 0  # in kB; what wait4(2) tells counts this process's own memory, of which the child is a copy at first
    while process.poll() is None:
        with suppress(OSError):
            found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())
            peak = int(found[1]) if found else peak
        time.sleep(0.02)
    process.communicate()

    assert process.returncode == 0
    assert query(app.database_url, "SELECT count(*) FROM big") == [(megabytes * 1000,)]
    assert 0 < peak < 80_000, f"{peak} kB"
    print(f"peak {peak} kB")


# Wrong input.


def refusal(result: Result) -> tuple[int, str]:
    """The exit code and the first line of what was said."""
    return result.exit_code, result.stderr.decode().partition("\n")[0]


def test_without_a_restored_run_there_is_no_salvage(hook: Hook) -> None:
    assert hook.run().exit_code == 0

    code, said = refusal(hook.run("reconcile"))

    assert (code, said.partition(":")[2]) == (
        3,
        " There is no salvage to bring rows back from: the journal knows no run of this database that was restored",
    )


def test_a_run_that_has_no_salvage_says_so(hook: Hook) -> None:
    small_app(hook.folder, {"002": "UPDATE learners SET points = 0;\nSELECT 1 / 0;\n"})
    assert hook.run(RELEASE_SALVAGE="off").last["outcome"] == "restored"

    code, said = refusal(hook.run("reconcile"))

    assert code == 3
    assert said.endswith("was restored, and no salvage of it is listed")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("b099",), 2, "There is no such backup: b099"),
        (("b001", "--yes"), 3, "The backup is no salvage of a run that was restored: b001 is of release v7"),
        (("--table", "orderz"), 2, "There is no such table to bring rows back into: orderz"),
        (("--table", "scribbles"), 3, "it has no primary key"),
        (("--table", "alembic_version"), 3, "it says what was migrated"),
        (("--yes",), 3, "It is not known which tables the migration left alone"),
        (("--output", "nowhere"), 2, ""),
    ],
)
def test_wrong_input_has_its_sentence_and_nothing_is_written(
    shop: Hook, app: App, arguments: tuple[str, ...], code: int, words: str
) -> None:
    result = shop.run("reconcile", *arguments)

    assert (result.exit_code, orders(app)) == (code, BEFORE), result.stderr
    assert words in result.stderr.decode()


def test_a_backup_of_another_database_is_refused(shop: Hook, app: App) -> None:
    other = app.add_database(name="reports")
    addon = other["id"]
    app.connection.request("POST", f"/client/v11/databases/{addon}/backups", {})
    name = f"b{max(int(each['num']) for each in app.transfers()):03d}"
    wait_for(lambda: all(each["finished_at"] for each in app.transfers()))

    code, said = refusal(shop.run("reconcile", name, *BOTH, "--yes"))

    assert (code, orders(app)) == (3, BEFORE)
    assert "is of another database" in said


def test_a_table_made_since_is_not_in_the_salvage(shop: Hook, app: App) -> None:
    execute(app.database_url, "CREATE TABLE fresh (id int PRIMARY KEY)")

    code, said = refusal(shop.run("reconcile", "--table", "fresh", "--yes"))

    assert code == 2
    assert said.endswith("public.fresh is in the database, and not in b002")


def test_columns_that_differ_are_refused_unless_only_common_ones_are_wanted(hook: Hook, app: App) -> None:
    broken = "ALTER TABLE orders ADD COLUMN note text DEFAULT 'x';\n" + BROKEN
    restored(hook, OTHERS, migration=broken)

    code, said = refusal(hook.run("reconcile", *BOTH, "--yes"))

    assert code == 3
    assert said.endswith("public.orders: only the salvage has note")
    assert orders(app) == BEFORE

    assert hook.run("reconcile", *BOTH, "--common-columns", "--yes").exit_code == 0

    assert orders(app) == [*BEFORE, (21, 21, 2100), (22, 1, 150)]


def test_a_column_of_another_type_is_refused(hook: Hook, app: App) -> None:
    restored(hook, ["INSERT INTO audit (what) VALUES ('word')"])
    execute(app.database_url, "DELETE FROM audit", "ALTER TABLE audit ALTER COLUMN what TYPE integer USING 1")

    code, said = refusal(hook.run("reconcile", "--table", "audit", "--yes"))

    assert code == 3
    assert "public.audit: its columns have changed" in said


def test_a_dump_that_is_cut_off_is_no_salvage(shop: Hook, app: App) -> None:
    assert shop.run("reconcile").exit_code == 0
    (dump,) = shop.folder.glob("*.dump")
    assert stat.S_IMODE(dump.stat().st_mode) == 0o600
    whole = dump.read_bytes()
    dump.write_bytes(whole[: len(whole) * 3 // 4])

    result = shop.run("reconcile", *BOTH, "--yes")

    assert (result.exit_code, orders(app)) == (1, BEFORE)
    assert b"is no whole dump" in result.stderr
    assert dump.name.encode() in result.stderr
