-- The histories of several frameworks beside each other
CREATE TABLE schema_migrations (version varchar PRIMARY KEY);
INSERT INTO schema_migrations VALUES ('20240101000000');
CREATE TABLE ar_internal_metadata (key varchar PRIMARY KEY, value varchar);
INSERT INTO ar_internal_metadata VALUES ('environment', 'production');
CREATE TABLE django_migrations (id serial PRIMARY KEY, app text, name text, applied timestamptz DEFAULT now());
INSERT INTO django_migrations (app, name) VALUES ('auth', '0001_initial');
CREATE TABLE knex_migrations (id serial PRIMARY KEY, name text, batch integer, migration_time timestamptz);
INSERT INTO knex_migrations (name, batch) VALUES ('1_a.js', 1);
