"""Tools that Debian has."""

from __future__ import annotations

from tests.toolchains import cache
from tests.toolchains.toolchain import Meaning, Situation, Toolchain

COURSES = "CREATE TABLE courses (id integer PRIMARY KEY, title text NOT NULL);\n"
PRICE = "ALTER TABLE courses ADD COLUMN price integer;\n"
TIDY = "DELETE FROM courses;\n"
TYPO = "ALTER TABLE corses DROP COLUMN title;\n"

# Sqitch.

PLAN = "%syntax-version=1.0.0\n%project=courses\n\n"


def _sqitch(*changes: str) -> dict[str, str]:
    lines = [f"{change} 2026-01-0{n}T00:00:00Z Tester <tester@example.com>\n" for n, change in enumerate(changes, 1)]
    return {"sqitch.plan": PLAN + "".join(lines)}


SQITCH = Toolchain(
    name="Sqitch",
    framework="Sqitch",
    packages=cache.debian(
        "sqitch",
        "libdbd-pg-perl",
        environment={"PERL5LIB": ("usr/share/perl5", "usr/lib/*/perl5/*")},
    ),
    app={"sqitch.conf": "[core]\n\tengine = pg\n"},
    first={**_sqitch("courses"), "deploy/courses.sql": COURSES},
    good={**_sqitch("courses", "price"), "deploy/price.sql": PRICE},
    # It reverts by itself what it has deployed in a run that failed; what was deleted stays so.
    broken={
        **_sqitch("courses", "price", "tidy", "typo"),
        "deploy/tidy.sql": TIDY,
        "revert/tidy.sql": "SELECT 1;\n",
        "deploy/typo.sql": TYPO,
    },
    unloadable={"sqitch.plan": "no plan\n"},
    answers={
        Situation.UNREACHABLE: (2, Meaning.STOPPED),
        Situation.FRESH: (1, Meaning.PENDING),
        Situation.NOTHING: (0, Meaning.NOTHING),
        Situation.UNLOADABLE: (2, Meaning.STOPPED),
        Situation.PENDING: (0, Meaning.PENDING),
        Situation.AHEAD: (2, Meaning.NOTHING),
    },
)

# Rails.

RAILS = """#!/usr/bin/env ruby
APP_PATH = File.expand_path("../config/application", __dir__)
require "rails/commands"
"""
RAKEFILE = """require_relative "config/application"
Rails.application.load_tasks
"""
APPLICATION = """require "rails"
require "active_record/railtie"

class Courses < Rails::Application
  config.root = File.expand_path("..", __dir__)
  config.load_defaults 6.1
  config.eager_load = false
  config.logger = Logger.new(nil)
  config.secret_key_base = "of a test"
  config.active_record.dump_schema_after_migration = false
end
"""
ENVIRONMENT = """require_relative "application"
Rails.application.initialize!
"""


def _rails(version: int, name: str, sql: str) -> dict[str, str]:
    text = (
        f"class {name.title().replace('_', '')} < ActiveRecord::Migration[6.1]\n"
        f"  def up\n    execute {sql.strip()!r}\n  end\nend\n"
    )
    return {f"db/migrate/{version}_{name}.rb": text}


RAILS_APP = Toolchain(
    name="Rails",
    framework="Rails",
    packages=cache.debian(
        "ruby",
        "ruby-railties",
        "ruby-activerecord",
        "ruby-pg",
        "ruby-minitest",
        environment={
            "LD_LIBRARY_PATH": ("usr/lib/*-linux-gnu",),
            "RUBYLIB": (
                "usr/lib/ruby/vendor_ruby",
                "usr/lib/*/ruby/vendor_ruby/*",
                "usr/lib/ruby/[0-9]*",
                "usr/lib/*/ruby/[0-9]*",
            ),
            "GEM_PATH": ("usr/share/rubygems-integration/*", "usr/lib/*/rubygems-integration/*"),
        },
    ),
    settings={"RAILS_ENV": "production"},
    app={
        "bin/rails": RAILS,
        "Rakefile": RAKEFILE,
        "config/application.rb": APPLICATION,
        "config/environment.rb": ENVIRONMENT,
        "config/database.yml": "production:\n  adapter: postgresql\n",
    },
    first=_rails(20260101000000, "make_courses", COURSES),
    good=_rails(20260102000000, "add_price", PRICE),
    broken={**_rails(20260103000000, "tidy", TIDY), **_rails(20260104000000, "typo", TYPO)},
    unloadable={"config/environment.rb": 'require "no_such_library"\n'},
    answers={
        Situation.UNREACHABLE: (1, Meaning.STOPPED),
        Situation.FRESH: (1, Meaning.PENDING),
        Situation.NOTHING: (0, Meaning.NOTHING),
        Situation.UNLOADABLE: (1, Meaning.STOPPED),
        Situation.PENDING: (1, Meaning.PENDING),
        Situation.AHEAD: (0, Meaning.NOTHING),
    },
)

# Laravel.

ARTISAN = """#!/usr/bin/env php
<?php

require 'Illuminate/autoload.php';
$app = require __DIR__.'/bootstrap/app.php';
$input = new Symfony\\Component\\Console\\Input\\ArgvInput;
$output = new Symfony\\Component\\Console\\Output\\ConsoleOutput;
exit($app->make(Illuminate\\Contracts\\Console\\Kernel::class)->handle($input, $output));
"""
BOOTSTRAP = """<?php

use Illuminate\\Contracts\\Console\\Kernel;
use Illuminate\\Contracts\\Debug\\ExceptionHandler;

$app = new Illuminate\\Foundation\\Application(dirname(__DIR__));
$app->singleton(Kernel::class, Illuminate\\Foundation\\Console\\Kernel::class);
$app->singleton(ExceptionHandler::class, Illuminate\\Foundation\\Exceptions\\Handler::class);

return $app;
"""
APP = """<?php

return ['env' => 'production', 'timezone' => 'UTC', 'locale' => 'en', 'aliases' => [], 'providers' => [
    Illuminate\\Cache\\CacheServiceProvider::class,
    Illuminate\\Database\\DatabaseServiceProvider::class,
    Illuminate\\Database\\MigrationServiceProvider::class,
    Illuminate\\Filesystem\\FilesystemServiceProvider::class,
    Illuminate\\Foundation\\Providers\\ConsoleSupportServiceProvider::class,
    Illuminate\\Queue\\QueueServiceProvider::class,
    Illuminate\\View\\ViewServiceProvider::class,
]];
"""
DATABASE = """<?php

return [
    'default' => 'pgsql',
    'connections' => ['pgsql' => ['driver' => 'pgsql', 'url' => getenv('DATABASE_URL')]],
    'migrations' => 'migrations',
];
"""
LOGGING = """<?php

return ['default' => 'errors', 'channels' => ['errors' => ['driver' => 'errorlog']]];
"""
EXTENSIONS = ("mbstring", "ctype", "tokenizer", "pdo", "pdo_pgsql", "iconv", "intl")
PHP_INI = (
    'include_path = "${PHP_LIBRARIES}"\nextension_dir = "${PHP_EXTENSIONS}"\n'
    + "".join(f"extension = {name}\n" for name in EXTENSIONS)
)  # fmt: skip


def _laravel(name: str, sql: str) -> dict[str, str]:
    text = (
        "<?php\n\nreturn new class extends Illuminate\\Database\\Migrations\\Migration\n{\n"
        "    public function up()\n    {\n"
        f"        Illuminate\\Support\\Facades\\DB::statement({sql.strip()!r});\n    }}\n}};\n"
    )
    return {f"database/migrations/{name}.php": text}


LARAVEL = Toolchain(
    name="Laravel",
    framework="Laravel",
    packages=cache.debian(
        "php-cli",
        "php-pgsql",
        "php-intl",
        "php-mbstring",
        "php-laravel-framework",
        programs={"php": "usr/bin/php[0-9]*"},
        environment={"PHP_LIBRARIES": ("usr/share/php",), "PHP_EXTENSIONS": ("usr/lib/php/2*",)},
    ),
    settings={"PHPRC": ".", "PHP_INI_SCAN_DIR": ""},
    app={
        "artisan": ARTISAN,
        "php.ini": PHP_INI,
        "bootstrap/app.php": BOOTSTRAP,
        "bootstrap/cache/kept": "",
        "config/app.php": APP,
        "config/database.php": DATABASE,
        "config/logging.php": LOGGING,
    },
    first=_laravel("2026_01_01_000000_courses", COURSES),
    good=_laravel("2026_01_02_000000_price", PRICE),
    broken={**_laravel("2026_01_03_000000_tidy", TIDY), **_laravel("2026_01_04_000000_typo", TYPO)},
    unloadable={"bootstrap/app.php": "<?php require 'no_such_file.php';\n"},
    answers={
        Situation.UNREACHABLE: (1, Meaning.STOPPED),
        Situation.FRESH: (1, Meaning.PENDING),
        Situation.NOTHING: (0, Meaning.NOTHING),
        Situation.UNLOADABLE: (255, Meaning.STOPPED),
        Situation.PENDING: (0, Meaning.PENDING),
        Situation.AHEAD: (0, Meaning.NOTHING),
    },
)

# Plain scripts for psql, with commands of one's own.

PSQL_MIGRATE = """#!/bin/sh
set -eu
psql -Xq -c "CREATE TABLE IF NOT EXISTS landed (name text PRIMARY KEY)" "$DATABASE_URL"
for file in sql/*.sql; do
  landed=$(psql -XAtq -c "SELECT 1 FROM landed WHERE name = '$file'" "$DATABASE_URL")
  [ -n "$landed" ] || psql -Xq -v ON_ERROR_STOP=1 -f "$file" -c "INSERT INTO landed VALUES ('$file')" "$DATABASE_URL"
done
"""
PSQL_PENDING = """#!/bin/sh
[ "$(psql -XAtq -c "SELECT count(*) FROM landed" "$DATABASE_URL")" = "$(ls sql/*.sql | wc -l)" ]
"""

PSQL = Toolchain(
    name="psql",
    framework=None,
    settings={"RELEASE_MIGRATE_COMMAND": "./migrate", "RELEASE_PENDING_COMMAND": "./pending"},
    app={"migrate": PSQL_MIGRATE, "pending": PSQL_PENDING},
    first={"sql/1_courses.sql": COURSES},
    good={"sql/2_price.sql": PRICE},
    broken={"sql/3_tidy.sql": TIDY, "sql/4_typo.sql": TYPO},
)

TOOLCHAINS = (RAILS_APP, SQITCH, PSQL, LARAVEL)
