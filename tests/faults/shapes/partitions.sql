-- Partitions by range, list and hash, with sub-partitions, a default, and one that was detached
CREATE TABLE logs (id bigint GENERATED ALWAYS AS IDENTITY, at date NOT NULL, kind text) PARTITION BY RANGE (at);
CREATE TABLE logs_2023 PARTITION OF logs FOR VALUES FROM ('2023-01-01') TO ('2024-01-01');
CREATE TABLE logs_2024 PARTITION OF logs FOR VALUES FROM ('2024-01-01') TO ('2025-01-01') PARTITION BY LIST (kind);
CREATE TABLE logs_2024_a PARTITION OF logs_2024 FOR VALUES IN ('a', NULL);
CREATE TABLE logs_2024_rest PARTITION OF logs_2024 DEFAULT;
CREATE TABLE logs_rest PARTITION OF logs DEFAULT;
CREATE INDEX logs_kind ON logs (kind);
INSERT INTO logs (at, kind) VALUES ('2023-02-02', 'a'), ('2024-02-02', 'a'), ('2024-02-03', 'b'), ('1999-01-01', 'c');
ALTER TABLE logs DETACH PARTITION logs_2023;
CREATE TABLE buckets (id integer PRIMARY KEY) PARTITION BY HASH (id);
SELECT format('CREATE TABLE buckets_%s PARTITION OF buckets FOR VALUES WITH (MODULUS 3, REMAINDER %s)', n, n) FROM generate_series(0, 2) AS n \gexec
INSERT INTO buckets SELECT generate_series(1, 30);
CREATE TABLE drops (bucket integer REFERENCES buckets);
INSERT INTO drops VALUES (3), (7);
CREATE TABLE none_yet (id integer) PARTITION BY LIST (id);
