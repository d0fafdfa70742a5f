-- One of everything that a user of a Heroku database can make, with the expressions that print differently after a
-- dump was loaded. Run by the owner of the database, who is no superuser.
CREATE EXTENSION citext;
CREATE EXTENSION hstore;
CREATE SCHEMA "Odd ""Schema";
CREATE SCHEMA audit;
CREATE SCHEMA apart;
CREATE EXTENSION ltree SCHEMA apart;
CREATE EXTENSION cube;
COMMENT ON SCHEMA audit IS 'who did what';

CREATE TYPE public.mood AS ENUM ('sad', 'ok', 'it''s "fine"');
ALTER TYPE public.mood ADD VALUE 'so-so' BEFORE 'ok';
-- A new label cannot be used in the transaction that made it.
-- next transaction
CREATE TYPE public.address AS (street text, number integer, town varchar(40) COLLATE "C");
CREATE TYPE public.price AS RANGE (subtype = numeric, multirange_type_name = public.prices);
CREATE DOMAIN public.email AS citext CHECK (VALUE ~ '^[^@\s]+@[^@\s]+$') NOT NULL;
CREATE DOMAIN public.rating AS integer DEFAULT 3 CONSTRAINT in_range CHECK (VALUE BETWEEN 1 AND 5 AND VALUE <> 4);
COMMENT ON TYPE public.mood IS 'of learners';
COMMENT ON DOMAIN public.rating IS 'stars';
CREATE COLLATION public.plain_order FROM "C";

CREATE FUNCTION public.double(value integer, times integer DEFAULT 1 + 1) RETURNS integer
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE COST 7 SET search_path = pg_catalog AS 'SELECT value * times';
CREATE FUNCTION public.double(value text) RETURNS text LANGUAGE sql IMMUTABLE BEGIN ATOMIC
    SELECT value || value WHERE value IN ('a', 'b') AND length(value) BETWEEN 1 AND 2 AND value <> ''; END;
CREATE PROCEDURE audit.forget(before timestamptz) LANGUAGE plpgsql AS $$ BEGIN PERFORM 1; END $$;
CREATE AGGREGATE public.product(numeric) (sfunc = numeric_mul, stype = numeric, initcond = '1');
CREATE FUNCTION public.touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := now(); -- a back\slash, a	tab and a 'quote'
    RETURN NEW;
END $$;
COMMENT ON FUNCTION public.double(integer, integer) IS 'two arguments';
CREATE OPERATOR public.=== (leftarg = integer, rightarg = integer, function = int4eq, commutator = OPERATOR(public.===));

CREATE TABLE public.learners (
    id bigint GENERATED ALWAYS AS IDENTITY (START WITH 100 INCREMENT BY 5) PRIMARY KEY,
    code serial UNIQUE,
    name varchar(100) NOT NULL DEFAULT 'nobody',
    nickname text COLLATE "C",
    email public.email,
    mood public.mood DEFAULT 'ok',
    address public.address,
    stars public.rating,
    kind varchar(10) NOT NULL DEFAULT 'a' CHECK (kind IN ('a', 'b', 'it''s [c], (d)')),
    flags integer[] DEFAULT '{}'::integer[],
    tags varchar[] DEFAULT ARRAY['x', 'y'],
    extra jsonb DEFAULT '{"a": [1, 2]}',
    attributes hstore,
    balance numeric(10, 2) DEFAULT 0,
    negative integer DEFAULT -1,
    since timestamptz DEFAULT '2020-01-01 00:00+02',
    born date DEFAULT CURRENT_DATE - 10,
    every interval DEFAULT '1 month 2 days',
    raw bytea DEFAULT '\x00ff',
    nothing varchar(5) DEFAULT NULL::varchar,
    token uuid DEFAULT gen_random_uuid(),
    updated_at timestamptz,
    shout text GENERATED ALWAYS AS (upper(name) || coalesce(nickname, '')) STORED,
    CONSTRAINT "Odd name" CHECK (balance BETWEEN 0 AND 100 AND negative < 0),
    CONSTRAINT nested CHECK ((balance > 1 OR negative < 1 OR code IN (1, 2)) AND (code > 0 AND (code < 100 AND code <> 77))),
    CONSTRAINT maths CHECK ((code + 1) * 2 > code + 1 * 2),
    CONSTRAINT unlike CHECK (kind NOT IN ('x', 'y') AND kind LIKE '%' AND NOT kind BETWEEN 'k' AND 'l' OR code = ANY ('{1,2}')),
    CONSTRAINT cases CHECK (CASE kind WHEN 'a' THEN balance >= 0 WHEN 'b' THEN true ELSE kind IS NOT NULL END)
);
ALTER TABLE public.learners ALTER COLUMN name SET STATISTICS 500;
ALTER TABLE public.learners ALTER COLUMN nickname SET STORAGE EXTERNAL;
ALTER TABLE public.learners ALTER COLUMN name SET (n_distinct = 5);
ALTER TABLE public.learners ADD COLUMN gone integer;
ALTER TABLE public.learners DROP COLUMN gone;
ALTER TABLE public.learners ADD COLUMN late text DEFAULT 'late';
ALTER TABLE public.learners SET (fillfactor = 70, autovacuum_enabled = true, toast.autovacuum_enabled = false);
ALTER TABLE public.learners REPLICA IDENTITY FULL;
COMMENT ON TABLE public.learners IS E'people\nwho learn \\ "well"';
COMMENT ON COLUMN public.learners.name IS 'as they like it';
COMMENT ON CONSTRAINT "Odd name" ON public.learners IS 'why';
CREATE INDEX learners_name ON public.learners (name, nickname DESC);
CREATE INDEX learners_pattern ON public.learners (name varchar_pattern_ops, nickname COLLATE "POSIX" NULLS FIRST)
    WITH (fillfactor = 60);
CREATE INDEX learners_lower ON public.learners (lower(name), (code + 1)) WHERE kind IN ('a', 'b') AND balance BETWEEN 1 AND 2 AND code > 0;
CREATE UNIQUE INDEX learners_unique ON public.learners (email) INCLUDE (code) NULLS NOT DISTINCT;
CREATE INDEX learners_gin ON public.learners USING gin (attributes, extra jsonb_path_ops) WITH (fastupdate = off);
ALTER TABLE public.learners CLUSTER ON learners_name;
COMMENT ON INDEX public.learners_name IS 'sorted';
CREATE STATISTICS public.learners_statistics (ndistinct, mcv) ON name, lower(nickname) FROM public.learners;
CREATE TRIGGER touch BEFORE UPDATE OF name ON public.learners FOR EACH ROW
    WHEN (OLD.kind IN ('a', 'b') AND NEW.name IS DISTINCT FROM OLD.name) EXECUTE FUNCTION public.touch('a', 'b''c');
CREATE TRIGGER asleep BEFORE INSERT ON public.learners FOR EACH ROW EXECUTE FUNCTION public.touch();
ALTER TABLE public.learners DISABLE TRIGGER asleep;
CREATE CONSTRAINT TRIGGER later AFTER DELETE ON public.learners DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION public.touch();
COMMENT ON TRIGGER touch ON public.learners IS 'keeps time';

CREATE TABLE "Odd ""Schema"."odd.table" (
    "Column ""1" integer,
    "tab	and space" text,
    learner bigint REFERENCES public.learners ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
    during tstzrange,
    room integer,
    CONSTRAINT overlap EXCLUDE USING gist (during WITH &&),
    CONSTRAINT later_checked CHECK ("Column ""1" > 0) NO INHERIT
);
ALTER TABLE "Odd ""Schema"."odd.table" ADD CONSTRAINT unchecked FOREIGN KEY (room) REFERENCES public.learners (code) NOT VALID;
CREATE RULE quiet AS ON DELETE TO "Odd ""Schema"."odd.table" WHERE OLD.room IN (1, 2) DO INSTEAD NOTHING;
ALTER TABLE "Odd ""Schema"."odd.table" ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON "Odd ""Schema"."odd.table" USING (room BETWEEN 1 AND 5 AND room <> 2) WITH CHECK (room IS NOT NULL);
CREATE POLICY readers ON "Odd ""Schema"."odd.table" AS RESTRICTIVE FOR SELECT TO PUBLIC USING (true);
COMMENT ON POLICY mine ON "Odd ""Schema"."odd.table" IS 'rooms';

CREATE UNLOGGED TABLE audit.scratch (id integer PRIMARY KEY) WITH (fillfactor = 50);
CREATE TABLE audit.parent (id integer NOT NULL, note text CHECK (note <> ''));
CREATE TABLE audit.child (more text) INHERITS (audit.parent);
ALTER TABLE audit.parent ADD COLUMN added integer DEFAULT 1;
CREATE TABLE audit.typed OF public.address (PRIMARY KEY (street));

CREATE TABLE public.events (
    id bigint GENERATED BY DEFAULT AS IDENTITY, at date NOT NULL, learner bigint REFERENCES public.learners, kind varchar(5),
    PRIMARY KEY (id, at), CHECK (kind IN ('x', 'y'))
) PARTITION BY RANGE (at);
CREATE TABLE public.events_2024 PARTITION OF public.events FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE public.events_rest PARTITION OF public.events DEFAULT PARTITION BY LIST (at);
CREATE TABLE public.events_rest_x PARTITION OF public.events_rest FOR VALUES IN ('2022-02-02');
CREATE TABLE public.events_attached (kind varchar(5), at date NOT NULL, learner bigint, id bigint NOT NULL, CONSTRAINT events_kind_check CHECK (kind IN ('x', 'y')),
    CONSTRAINT own_name FOREIGN KEY (learner) REFERENCES public.learners);
ALTER TABLE public.events ATTACH PARTITION public.events_attached FOR VALUES FROM ('2023-01-01') TO ('2024-01-01');
CREATE INDEX events_learner ON public.events (learner);
CREATE INDEX events_only ON ONLY public.events (kind);
CREATE TRIGGER each_event AFTER DELETE ON public.events FOR EACH ROW EXECUTE FUNCTION public.touch();
CREATE TABLE public.grades (id integer PRIMARY KEY, event bigint, at date, FOREIGN KEY (event, at) REFERENCES public.events);

CREATE SEQUENCE audit.counter AS smallint INCREMENT -2 MINVALUE -100 MAXVALUE 10 START 4 CACHE 3 CYCLE;
CREATE VIEW public.happy WITH (security_barrier = true) AS
    SELECT l.*, count(*) OVER (PARTITION BY l.kind ORDER BY l.id ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS rank
    FROM public.learners l LEFT JOIN audit.parent p USING (id)
    WHERE l.mood IN ('ok', 'so-so') AND l.kind IN ('a', 'b') AND l.code BETWEEN 1 AND 5 AND NOT (l.stars = 1 OR l.stars = 2);
CREATE VIEW public.sums AS SELECT kind, sum(balance) FILTER (WHERE balance > 0) AS total, max(since) - interval '1 day' AS day,
    extract(year FROM min(since)) AS year, string_agg(name, ', ' ORDER BY name), array_agg(DISTINCT code) AS codes
    FROM public.learners GROUP BY 1 HAVING count(*) BETWEEN 1 AND 1000 AND max(code) > 0 UNION ALL
    SELECT 'none', 0, NULL, 1, '', '{}' ORDER BY 1 LIMIT 10;
CREATE VIEW public.writable AS SELECT id, name FROM public.learners WHERE id > 0 WITH CASCADED CHECK OPTION;
ALTER VIEW public.writable ALTER COLUMN name SET DEFAULT 'from the view';
CREATE VIEW public.numbers AS WITH RECURSIVE up (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM up WHERE n < 3) SELECT n FROM up;
CREATE MATERIALIZED VIEW public.totals AS SELECT kind, count(*) FROM public.learners GROUP BY kind;
CREATE UNIQUE INDEX totals_kind ON public.totals (kind);
CREATE MATERIALIZED VIEW public.never AS SELECT 1 AS one WITH NO DATA;
COMMENT ON VIEW public.happy IS 'smiles';
CREATE TEXT SEARCH DICTIONARY public.plain (template = simple);
CREATE TEXT SEARCH CONFIGURATION public.words (copy = simple);
ALTER TEXT SEARCH CONFIGURATION public.words ALTER MAPPING FOR asciiword WITH public.plain, simple;
CREATE CAST (public.address AS public.mood) WITH INOUT;
CREATE PUBLICATION outside FOR TABLE public.learners, audit.parent;
CREATE PUBLICATION filtered FOR TABLE public.learners (id, name, kind) WHERE (id IN (1, 2) AND id BETWEEN 1 AND 5 AND id <> 3 AND kind = 'a'),
    audit.parent WHERE (note <> E'a\nb\\c') WITH (publish = 'insert, delete', publish_via_partition_root);

-- Operators of extensions, in a schema that is on the usual search path and in one that is not, where they print.
CREATE TABLE audit.places (
    email citext DEFAULT 'Nobody'::citext || '', path apart.ltree CHECK (path OPERATOR(apart.<@) 'top'), point cube,
    known boolean GENERATED ALWAYS AS (email = 'a'::citext OR email IN ('b', 'c')) STORED,
    CONSTRAINT named CHECK (email LIKE 'a%' AND email BETWEEN 'a' AND 'z' AND email <> ALL ('{x,y}') OR NOT email ~ 'q')
);
CREATE UNIQUE INDEX ON audit.places (email, path) WHERE email <> '' AND path OPERATOR(apart.<>) 'x';
CREATE INDEX ON audit.places ((path OPERATOR(apart.||) 'x'));
CREATE FUNCTION audit.same(citext) RETURNS boolean LANGUAGE sql BEGIN ATOMIC SELECT $1 = 'x'::citext; END;
CREATE DOMAIN audit.short AS citext CHECK (VALUE < 'k'::citext);
CREATE VIEW audit.sorted AS SELECT DISTINCT email, count(*) FROM audit.places WHERE email = 'x'::citext
    AND email IN (SELECT email FROM public.learners) AND point = '(1,2)' AND (email = ANY (ARRAY['a'::citext]) OR email > 'a')
    GROUP BY email HAVING max(email) = 'x' UNION SELECT email, 1 FROM public.learners ORDER BY 1;
CREATE MATERIALIZED VIEW audit.paths AS SELECT a.path FROM audit.places a JOIN audit.places b ON a.path OPERATOR(apart.=) b.path
    WHERE a.path OPERATOR(apart.@>) 'x' AND a.path OPERATOR(apart.~) '*.x' ORDER BY a.path;
CREATE POLICY own ON audit.places USING (email = CURRENT_USER::citext) WITH CHECK (email <> 'x');
CREATE RULE never AS ON UPDATE TO audit.places WHERE OLD.email <> NEW.email DO INSTEAD NOTHING;
CREATE TRIGGER other BEFORE UPDATE ON audit.places FOR EACH ROW WHEN (OLD.email <> NEW.email) EXECUTE FUNCTION public.touch();
CREATE STATISTICS audit.how ON (email = 'x'::citext), email FROM audit.places;

CREATE TABLE public.django_migrations (id serial PRIMARY KEY, app text, name text, applied timestamptz DEFAULT now());
INSERT INTO public.django_migrations (app, name) VALUES ('learners', '0001_initial'), ('auth', '0001_initial');
CREATE TABLE audit.alembic_version (version_num varchar(32) PRIMARY KEY);
INSERT INTO audit.alembic_version VALUES ('ae1027a6acf');
CREATE TABLE public._prisma_migrations (id text, checksum text, finished_at timestamptz, migration_name text, logs text, rolled_back_at timestamptz, started_at timestamptz);
INSERT INTO public._prisma_migrations VALUES ('1', 'c0ffee', now(), '20240101_init', NULL, NULL, now()), ('2', 'beef', NULL, '20240102_bad', NULL, now(), now());
INSERT INTO public.learners (name, email, kind) SELECT 'n' || n, 'n' || n || '@example.org', 'a' FROM generate_series(1, 20) n;
INSERT INTO public.events (at) VALUES ('2024-05-05'), ('2023-05-05');
REFRESH MATERIALIZED VIEW public.totals;
SELECT lo_create(0), lo_create(0);
