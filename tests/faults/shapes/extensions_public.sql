-- Extensions in public, and what leans on them
CREATE EXTENSION citext;
CREATE EXTENSION hstore;
CREATE EXTENSION pg_trgm;
CREATE EXTENSION btree_gist;
CREATE TABLE people (id serial PRIMARY KEY, email citext UNIQUE, facts hstore DEFAULT 'a=>1', room integer, during tsrange,
    EXCLUDE USING gist (room WITH =, during WITH &&));
CREATE INDEX people_email ON people USING gin ((email::text) gin_trgm_ops);
CREATE INDEX people_facts ON people USING gin (facts);
INSERT INTO people (email, room, during) VALUES ('Ann@x.org', 1, '[2024-01-01,2024-01-02)'), ('Bob@x.org', 1, '[2024-01-03,)');
