-- Constraints: exclusion, deferred, not valid, self-referencing, circular, nulls not distinct
CREATE TABLE rooms (id integer PRIMARY KEY, during tsrange, EXCLUDE USING gist (during WITH &&));
INSERT INTO rooms VALUES (1, '[2024-01-01,2024-01-02)'), (2, NULL);
CREATE TABLE staff (id integer PRIMARY KEY, boss integer REFERENCES staff, deputy integer UNIQUE DEFERRABLE INITIALLY DEFERRED);
INSERT INTO staff VALUES (1, 2, 1), (2, 1, 2);
CREATE TABLE egg (id integer PRIMARY KEY, hen integer NOT NULL);
CREATE TABLE hen (id integer PRIMARY KEY, egg integer NOT NULL REFERENCES egg DEFERRABLE INITIALLY DEFERRED);
ALTER TABLE egg ADD FOREIGN KEY (hen) REFERENCES hen DEFERRABLE INITIALLY DEFERRED;
BEGIN;
INSERT INTO egg VALUES (1, 1);
INSERT INTO hen VALUES (1, 1);
COMMIT;
CREATE TABLE old (id integer, room integer, n integer);
INSERT INTO old VALUES (1, 4711, -1);
ALTER TABLE old ADD CONSTRAINT old_room FOREIGN KEY (room) REFERENCES rooms ON DELETE SET NULL (room) NOT VALID;
ALTER TABLE old ADD CONSTRAINT old_n CHECK (n > 0) NOT VALID;
CREATE UNIQUE INDEX old_once ON old (id, n) NULLS NOT DISTINCT;
ALTER TABLE old ADD CONSTRAINT old_key UNIQUE USING INDEX old_once;
