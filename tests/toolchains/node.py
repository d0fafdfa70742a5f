"""Tools of Node, each with packages of its own: several in one app would be several frameworks."""

from __future__ import annotations

from tests.toolchains.cache import npm
from tests.toolchains.toolchain import Meaning, Situation, Toolchain

CREATE = "CREATE TABLE courses (id integer PRIMARY KEY, title text NOT NULL)"
PRICE = "ALTER TABLE courses ADD COLUMN price integer"
TIDY = "DELETE FROM courses"
TYPO = "ALTER TABLE corses DROP COLUMN title"

PACKAGE = {"package.json": '{"private": true}\n'}
UNLOADABLE = 'require("no_such_module");\n'

MEASURED = {
    Situation.UNREACHABLE: (1, Meaning.STOPPED),
    Situation.FRESH: (0, Meaning.PENDING),
    Situation.NOTHING: (0, Meaning.NOTHING),
    Situation.UNLOADABLE: (1, Meaning.STOPPED),
    Situation.PENDING: (0, Meaning.PENDING),
    Situation.AHEAD: (0, Meaning.NOTHING),
}
"""What those answer that tell by words, and with an exit code only that something went wrong."""

# Knex.


def _knex(number: int, sql: str, *more: str) -> dict[str, str]:
    lines = [f"exports.up = (knex) => knex.raw({sql!r});", "exports.down = () => null;", *more]
    return {f"migrations/2026010{number}000000_{number}.js": "\n".join(lines)}


KNEX = Toolchain(
    name="Knex",
    framework="Knex",
    packages=npm("knex@3", "pg@8"),
    app=PACKAGE | {"knexfile.js": 'module.exports = { client: "pg", connection: process.env.DATABASE_URL };\n'},
    first=_knex(1, CREATE),
    good=_knex(2, PRICE),
    # All of them in one transaction, were it not for this.
    broken=_knex(3, TIDY, "exports.config = { transaction: false };") | _knex(4, TYPO),
    unloadable={"knexfile.js": UNLOADABLE},
    # It wants a file for each entry of the history, and says which it misses.
    answers=MEASURED | {Situation.AHEAD: (1, Meaning.PENDING)},
)

# Sequelize.

SEQUELIZE_CONFIG = 'const own = { use_env_variable: "DATABASE_URL", dialect: "postgres" };\n'


def _sequelize(number: int, sql: str) -> dict[str, str]:
    text = f"module.exports = {{ up: (queries) => queries.sequelize.query({sql!r}), down: () => null }};\n"
    return {f"migrations/2026010{number}000000-{number}.js": text}


SEQUELIZE = Toolchain(
    name="Sequelize",
    framework="Sequelize",
    packages=npm("sequelize@6", "sequelize-cli@6", "pg@8"),
    app=PACKAGE
    | {
        ".sequelizerc": 'module.exports = { config: "config/config.js" };\n',
        "config/config.js": f"{SEQUELIZE_CONFIG}module.exports = {{ production: own }};\n",
    },
    first=_sequelize(1, CREATE),
    good=_sequelize(2, PRICE),
    broken=_sequelize(3, TIDY) | _sequelize(4, TYPO),
    unloadable={"config/config.js": UNLOADABLE},
    answers=MEASURED,
    settings={"NODE_ENV": "production"},
)

# TypeORM, compiled, as it is in a slug.

TYPEORM_SOURCE = """
const { DataSource } = require("typeorm");
exports.source = new DataSource({
  type: "postgres",
  url: process.env.DATABASE_URL,
  migrations: [`${__dirname}/migrations/*.js`],
  migrationsTransactionMode: "each",
});
"""


def _typeorm(number: int, sql: str) -> dict[str, str]:
    time = 1767225600000 + number
    text = f"class Step{time} {{\n  up(queries) {{ return queries.query({sql!r}); }}\n  async down() {{}}\n}}\n"
    return {f"dist/migrations/{time}-step.js": f"{text}module.exports = {{ Step{time} }};\n"}


TYPEORM = Toolchain(
    name="TypeORM",
    framework="TypeORM",
    packages=npm("typeorm@0.3", "pg@8"),
    app=PACKAGE | {"dist/data-source.js": TYPEORM_SOURCE},
    first=_typeorm(1, CREATE),
    good=_typeorm(2, PRICE),
    broken=_typeorm(3, TIDY) | _typeorm(4, TYPO),
    unloadable={"dist/data-source.js": UNLOADABLE},
    answers=MEASURED,
)

# node-pg-migrate.


def _pg_migrate(number: int, sql: str, *more: str) -> dict[str, str]:
    text = "\n".join(["exports.up = async (pgm) => {", *more, f"  pgm.sql({sql!r});", "};"])
    return {f"migrations/176722560000{number}_step.js": f"{text}\nexports.down = false;\n"}


NODE_PG_MIGRATE = Toolchain(
    name="node-pg-migrate",
    framework="node-pg-migrate",
    packages=npm("node-pg-migrate@8", "pg@8"),
    app=PACKAGE,
    first=_pg_migrate(1, CREATE),
    # A query of the migration's own is run by a dry run, too.
    good=_pg_migrate(2, PRICE, "  await pgm.db.query(`UPDATE courses SET title = title || ' (2026)'`);"),
    # All of them in one transaction, were it not for this.
    broken=_pg_migrate(3, TIDY, "  pgm.noTransaction();") | _pg_migrate(4, TYPO),
    unloadable={"migrations/1767225600009_step.js": UNLOADABLE},
    answers=MEASURED
    | {
        # It has no history table, which may not be made, and a query that may not be run.
        Situation.FRESH: (1, Meaning.PENDING),
        Situation.PENDING: (1, Meaning.PENDING),
    },
)

# Drizzle.


def _drizzle(*steps: str) -> dict[str, str]:
    """All migrations so far, since they are listed in one file."""
    listed = ", ".join(
        f'{{"idx": {n}, "version": "7", "when": {1767225600000 + n}, "tag": "000{n}_step", "breakpoints": true}}'
        for n in range(len(steps))
    )
    return {
        "drizzle/meta/_journal.json": f'{{"version": "7", "dialect": "postgresql", "entries": [{listed}]}}\n',
        **{f"drizzle/000{n}_step.sql": sql for n, sql in enumerate(steps)},
    }


DRIZZLE_CONFIG = """
module.exports = { dialect: "postgresql", out: "./drizzle", dbCredentials: { url: process.env.DATABASE_URL } };
"""

DRIZZLE = Toolchain(
    name="Drizzle",
    framework="Drizzle",
    packages=npm("drizzle-kit@0.31", "drizzle-orm@0.45", "pg@8"),
    app=PACKAGE | {"drizzle.config.js": DRIZZLE_CONFIG},
    first=_drizzle(CREATE),
    good=_drizzle(CREATE, PRICE),
    # All of them in one transaction, were it not for this.
    broken=_drizzle(CREATE, PRICE, f"{TIDY};\n--> statement-breakpoint\nCOMMIT;", TYPO),
    unloadable={"drizzle.config.js": UNLOADABLE},
    answers={},  # it has no command that would tell
)

# MikroORM.

MIKRO_CONFIG = """
const { Migrator } = require("@mikro-orm/migrations");
const { defineConfig } = require("@mikro-orm/postgresql");
module.exports = defineConfig({
  clientUrl: process.env.DATABASE_URL,
  discovery: { warnWhenNoEntities: false },
  entities: [],
  extensions: [Migrator],
  migrations: { allOrNothing: false, snapshot: false },
});
"""


def _mikro(number: int, sql: str) -> dict[str, str]:
    name = f"Migration2026010{number}000000"
    return {
        f"migrations/{name}.js": 'const { Migration } = require("@mikro-orm/migrations");\n'
        f"exports.{name} = class {name} extends Migration {{\n  async up() {{ this.addSql({sql!r}); }}\n}};\n"
    }


MIKRO_ORM = Toolchain(
    name="MikroORM",
    framework="MikroORM",
    packages=npm(*(f"@mikro-orm/{part}@6.5.9" for part in ("cli", "core", "migrations", "postgresql"))),
    app={
        # It looks whether it is named there.
        "package.json": '{"private": true, "dependencies": {"@mikro-orm/cli": "6.5.9"}}\n',
        "mikro-orm.config.js": MIKRO_CONFIG,
    },
    first=_mikro(1, CREATE),
    good=_mikro(2, PRICE),
    broken=_mikro(3, TIDY) | _mikro(4, TYPO),
    unloadable={"mikro-orm.config.js": UNLOADABLE},
    answers=MEASURED,
    settings={"MIKRO_ORM_CLI_USE_TS_NODE": "false"},
)

# Prisma, with the engine that is in its package: the others are not in the registry.

PRISMA_SCHEMA = """
datasource db {
  provider = "postgresql"
  url      = env("DATABASE_URL")
}
"""
PRISMA_CONFIG = """
import { PrismaPg } from "@prisma/adapter-pg";
import pg from "pg";
import { defineConfig } from "prisma/config";

// The adapter does not know PostgreSQL's type `name` (19), in which catalogs keep names: they are read as text (25).
const addFields = pg.Result.prototype.addFields;
pg.Result.prototype.addFields = function (fields) {
  for (const field of fields) if (field.dataTypeID === 19) field.dataTypeID = 25;
  return addFields.call(this, fields);
};

export default defineConfig({
  experimental: { adapter: true },
  engine: "js",
  adapter: async () => new PrismaPg({ connectionString: process.env.DATABASE_URL, idleTimeoutMillis: 10 }),
});
"""


def _prisma(number: int, sql: str) -> dict[str, str]:
    return {f"prisma/migrations/2026010{number}000000_{number}/migration.sql": f"{sql};\n"}


PRISMA = Toolchain(
    name="Prisma",
    framework="Prisma",
    packages=npm("prisma@6.19.3", "@prisma/client@6.19.3", "@prisma/adapter-pg@6.19.3"),
    app=PACKAGE
    | {
        "prisma.config.ts": PRISMA_CONFIG,
        "prisma/schema.prisma": PRISMA_SCHEMA,
        "prisma/migrations/migration_lock.toml": 'provider = "postgresql"\n',
    },
    first=_prisma(1, CREATE),
    good=_prisma(2, PRICE),
    broken=_prisma(3, TIDY) | _prisma(4, TYPO),
    unloadable={"prisma.config.ts": 'import "no_such_module";\n'},
    answers=MEASURED | {Situation.FRESH: (1, Meaning.PENDING), Situation.PENDING: (1, Meaning.PENDING)},
    settings={
        # It looks for the engines that are downloaded, though it will not use them.
        "PRISMA_QUERY_ENGINE_LIBRARY": "/bin/true",
        "PRISMA_SCHEMA_ENGINE_BINARY": "/bin/true",
        "CHECKPOINT_DISABLE": "1",
    },
)

# dbmate. It is a program of no language, which npm has, too.


def _dbmate(number: int, sql: str) -> dict[str, str]:
    return {f"db/migrations/2026010{number}000000_step.sql": f"-- migrate:up\n{sql};\n\n-- migrate:down\n"}


DBMATE = Toolchain(
    name="dbmate",
    framework="dbmate",
    packages=npm("dbmate@2"),
    app=PACKAGE,
    first=_dbmate(1, CREATE),
    good=_dbmate(2, PRICE),
    broken=_dbmate(3, TIDY) | _dbmate(4, TYPO),
    unloadable={".env": "no name\n"},
    answers={
        Situation.UNREACHABLE: (2, Meaning.STOPPED),
        Situation.FRESH: (1, Meaning.PENDING),
        Situation.NOTHING: (0, Meaning.NOTHING),
        Situation.UNLOADABLE: (3, Meaning.STOPPED),
        Situation.PENDING: (1, Meaning.PENDING),
        Situation.AHEAD: (0, Meaning.NOTHING),
    },
)

TOOLCHAINS = (KNEX, SEQUELIZE, TYPEORM, NODE_PG_MIGRATE, DRIZZLE, MIKRO_ORM, PRISMA, DBMATE)
